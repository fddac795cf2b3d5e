// SPDX-License-Identifier: GPL-3.0-or-later
// Frames as the tests send them, and what a search makes of them.
#pragma once

#include <algorithm>
#include <array>
#include <numbers>
#include <span>
#include <stdexcept>

#include "frames/frame_search.h"
#include "tests/frames/random_values.h"

namespace kaq_test {

using Complex = std::complex<float>;
using ComplexDouble = std::complex<double>;

// As gr_kaq has them: a preamble of 10 periods, 14 symbols.
inline kaq::FrameLayout layout_of(int fft_size) {
    return {.fft_size = fft_size,
            .cp_length = fft_size / 4,
            .timing_advance = fft_size / 16,
            .delay_window = fft_size / 4 - fft_size / 16,
            .num_symbols = 14,
            .period = fft_size / 4,
            .num_periods = 10};
}

// What streams send: a preamble of equal periods, random samples otherwise. flat: the spectrum of these periods is.
struct Sent {
    kaq::FrameLayout layout;
    int num_tx;
    std::vector<std::vector<Complex>> streams;
    std::vector<Complex> known; // each of unit energy

    Sent(int fft_size, int num_tx, Generator &random, bool flat = false) : layout(layout_of(fft_size)), num_tx(num_tx) {
        for (int s = 0; s < num_tx; ++s) {
            streams.push_back(normals(layout.frame_length(), random));
            for (int n = 0; flat && n < layout.period; ++n)
                streams.back()[n] = Complex(std::polar(1.0, std::numbers::pi * n * n / layout.period));
            for (int n = layout.period; n < layout.preamble_length(); ++n)
                streams.back()[n] = streams.back()[n - layout.period];
            double energy = 0;
            for (int n = 0; n < layout.known_length(); ++n)
                energy += std::norm(ComplexDouble(streams.back()[n]));
            for (int n = 0; n < layout.known_length(); ++n)
                known.push_back(streams.back()[n] * static_cast<float>(1 / std::sqrt(energy)));
        }
    }

    kaq::FrameSearch search(int num_rx) const {
        return {layout, num_rx, {known.data(), num_tx, layout.known_length()}};
    }
};

// What antennas receive, [num_rx][length].
struct Received {
    int num_rx, length;
    std::vector<Complex> values;

    Received(int num_rx, int length) : num_rx(num_rx), length(length), values(num_rx * length) {}

    Received(int num_rx, int length, double noise_var, Generator &random) : Received(num_rx, length) {
        for (Complex &each : values)
            each = static_cast<float>(std::sqrt(noise_var)) * normal(random);
    }

    kaq::ArrayView<const Complex, 2> view() const { return {values.data(), num_rx, length}; }
    std::span<Complex> antenna(int a) { return std::span(values).subspan(std::size_t(a) * length, length); }

    // A frame from `start` on over gains [num_rx][num_tx]; what is outside is cut off.
    void add(const Sent &sent, int start, std::span<const ComplexDouble> gains, double carrier_offset = 0) {
        for (int a = 0; a < num_rx; ++a)
            for (int n = std::max(0, -start); n < std::min(sent.layout.frame_length(), length - start); ++n) {
                ComplexDouble sum = 0;
                for (int s = 0; s < sent.num_tx; ++s)
                    sum += gains[a * sent.num_tx + s] * ComplexDouble(sent.streams[s][n]);
                const double angle = 2 * std::numbers::pi * carrier_offset * (start + n);
                antenna(a)[start + n] += Complex(sum * std::polar(1.0, angle));
            }
    }
};

// Gains of a flat channel, [num_rx][num_tx], by which each antenna receives unit power.
inline std::vector<ComplexDouble> flat_channel(int num_rx, int num_tx, Generator &random) {
    auto gains = normals<double>(num_rx * num_tx, random);
    for (int a = 0; a < num_rx; ++a) {
        double power = 0;
        for (int s = 0; s < num_tx; ++s)
            power += std::norm(gains[a * num_tx + s]);
        for (int s = 0; s < num_tx; ++s)
            gains[a * num_tx + s] /= std::sqrt(power);
    }
    return gains;
}

// A frame with memory of its own.
struct Kept {
    std::int64_t start;
    double carrier_offset, metric;
    bool overlapping;
    std::vector<Complex> windows;
    std::vector<std::uint8_t> dead, saturated;

    bool operator==(const Kept &) const = default;
};

class Collector : public kaq::FrameSink {
public:
    explicit Collector(const kaq::FrameSearch &search)
        : next_(search.layout().num_symbols * search.num_rx() * search.layout().fft_size) {}

    std::span<Complex> windows() override { return next_; }
    void take(const kaq::FoundFrame &frame) override {
        const std::span<const Complex> windows = frame.windows.flat();
        frames.push_back({frame.start,
                          frame.carrier_offset,
                          frame.metric,
                          frame.overlapping,
                          {windows.begin(), windows.end()},
                          {frame.dead.begin(), frame.dead.end()},
                          {frame.saturated.begin(), frame.saturated.end()}});
    }

    std::vector<Kept> frames;

private:
    std::vector<Complex> next_;
};

// Takes no frame.
class Unwilling : public Collector {
public:
    using Collector::Collector;
    void take(const kaq::FoundFrame &) override { throw std::runtime_error("not now"); }
};

// Samples [num_rx][any number], without an allocation.
inline std::size_t push(kaq::FrameSearch &search, kaq::ArrayView<const Complex, 2> samples, kaq::FrameSink &sink) {
    std::array<const Complex *, 256> antennas{};
    for (std::size_t a = 0; a < samples.extent(0); ++a)
        antennas.at(a) = samples.row(a).data();
    return search.push({antennas.data(), samples.extent(0)}, samples.extent(1), sink);
}

} // namespace kaq_test
