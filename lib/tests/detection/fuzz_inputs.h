// SPDX-License-Identifier: GPL-3.0-or-later
// What the fuzz target passes to plans: shapes, channels, noise, samples in any layout, and what it checks of outputs.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/choices.h"
#include "tests/detection/links.h"

namespace kaq_test {

inline std::string name_of(const kaq::Network &net) {
    const std::string type = net.type == kaq::NetworkType::admm ? "ADMM" : "PGD";
    return type + " of " + std::to_string(net.layers.size()) + " layers";
}
inline std::string name_of(const kaq::ListNetwork &net) {
    return "list of " + std::to_string(net.survivors) + " with " + std::to_string(net.layers.size()) + " layers";
}
inline std::string name_of(const kaq::LinearNetwork &net) {
    return net.type == kaq::LinearNetwork::Type::lmmse ? "LMMSE" : "zero forcing";
}

template <typename AnyPlan>
[[noreturn]] void fail(const char *what, const AnyPlan &plan) {
    const auto &net = plan.network();
    std::fprintf(stderr, "%s: %s, %s, %d bits, %d channels of %dx%d\n", what, plan.kernel().name, name_of(net).c_str(),
                 net.bits_per_dimension, plan.num_channels(), plan.num_rx(), plan.num_tx());
    std::abort();
}

struct Shape {
    int channels, vectors, num_rx, num_tx;
};

// Channels of one kind each: full rank, of low rank, zero, of any scale.
inline std::vector<Complex> random_channels(Choices &choices, Random &random, const Shape &shape, bool finite) {
    const std::size_t size = static_cast<std::size_t>(shape.num_rx) * shape.num_tx;
    std::vector<Complex> h(shape.channels * size);
    const Values values = finite ? static_cast<Values>(choices.between(0, 4)) : Values::not_finite;
    const int structure = choices.between(0, 7);
    const float scale = choices.yes() ? std::ldexp(1.0f, choices.between(-70, 70)) : 1.0f;
    for (int c = 0; c < shape.channels; ++c) {
        Complex *of = h.data() + c * size;
        const Values here = random.one_in(3) ? Values::ordinary : values;
        for (std::size_t i = 0; i < size; ++i)
            of[i] = {random_value(random, here) * scale, random_value(random, here) * scale};
        const int kind = random.one_in(2) ? structure : 0;
        for (int r = 0; r < shape.num_rx; ++r)
            for (int j = 0; j < shape.num_tx; ++j) {
                Complex &entry = of[r * shape.num_tx + j];
                if (kind == 1)
                    entry = 0;
                else if (kind == 2) // all streams from one direction
                    entry = of[r * shape.num_tx];
                else if (kind == 3 && j) // nearly so
                    entry = of[r * shape.num_tx] * (1.0f + 1e-6f * static_cast<float>(j));
                else if (kind == 4) // streams of very different strength
                    entry *= std::ldexp(1.0f, -j);
                else if (kind == 5 && j % 2) // streams that do not arrive
                    entry = 0;
                else if (kind == 6 && r) // one antenna that works
                    entry = 0;
                if (finite && !(std::isfinite(entry.real()) && std::isfinite(entry.imag())))
                    entry = 1;
            }
    }
    return h;
}

inline std::vector<double> random_noise(Choices &choices, Random &random, int channels) {
    const double kinds[] = {0, 1e-3, 1, std::pow(10, random.uniform(-30, 30)), 5e-324, 1e300};
    const double value = kinds[choices.between(0, 5)];
    std::vector<double> noise(choices.yes() ? channels : 1, value);
    for (double &of_channel : noise)
        if (random.one_in(2))
            of_channel *= random.uniform(0, 1);
    return noise;
}

// Complex or real numbers of several ports (antennas, streams), each [channels][vectors][width], in one of the layouts
// that callers use; exactly as much memory as that takes, at any address that the type allows.
template <typename T>
class Ports {
public:
    static constexpr int floats = sizeof(T) / sizeof(float);

    Ports(Choices &choices, int ports, int channels, int vectors, int width)
        : width_(width), interleaved_(choices.yes()) {
        const bool by_channel = choices.yes();
        const std::ptrdiff_t item = width * (interleaved_ ? ports : 1) + choices.between(0, 3);
        const std::ptrdiff_t outer = (by_channel ? vectors : channels) * item + choices.between(0, 5);
        channel_stride = by_channel ? outer : item;
        vector_stride = by_channel ? item : outer;
        const std::size_t offset = choices.between(0, 17); // in floats: half a complex number, too
        const std::ptrdiff_t last = (channels - 1) * channel_stride + (vectors - 1) * vector_stride + width;
        const std::size_t count = vectors ? last + (interleaved_ ? (ports - 1) * width : 0) : 0;
        for (int i = 0; i < (interleaved_ ? 1 : ports); ++i)
            memory_.emplace_back(offset + count * floats, guard());
        for (int i = 0; i < ports; ++i)
            pointers_.push_back(reinterpret_cast<T *>(memory_[interleaved_ ? 0 : i].data() + offset) +
                                (interleaved_ && vectors ? i * width : 0));
    }

    T *at(int port, int channel, int vector) const {
        return pointers_[port] + channel * channel_stride + vector * vector_stride;
    }

    // Some channels and vectors; To: T, or const T.
    template <typename To = T>
    kaq::PortView<To> view(int first_channel, int num_channels, int first_vector, int num_vectors) const {
        return {.ports = pointers_,
                .num_channels = num_channels,
                .num_vectors = num_vectors,
                .channel_stride = channel_stride,
                .vector_stride = vector_stride,
                .width = width_,
                .offset = first_channel * channel_stride + first_vector * vector_stride};
    }

    // The values of some channels and vectors, in one order whatever the layout is; the guard takes their place.
    std::vector<T> take(int first_channel, int num_channels, int first_vector, int num_vectors) {
        std::vector<T> values;
        for (int c = first_channel; c < first_channel + num_channels; ++c)
            for (int v = first_vector; v < first_vector + num_vectors; ++v)
                for (std::size_t port = 0; port < pointers_.size(); ++port)
                    for (int i = 0; i < width_; ++i) {
                        T &value = at(static_cast<int>(port), c, v)[i];
                        values.push_back(value);
                        std::fill_n(reinterpret_cast<float *>(&value), floats, guard());
                    }
        return values;
    }

    // Whether the guard is everywhere: after `take`, whether nothing else was written.
    bool untouched() const {
        for (const std::vector<float> &of : memory_)
            for (const float value : of)
                if (std::bit_cast<std::uint32_t>(value) != std::bit_cast<std::uint32_t>(guard()))
                    return false;
        return true;
    }

    std::ptrdiff_t channel_stride, vector_stride;

private:
    static float guard() { return std::bit_cast<float>(std::uint32_t{0x7fdeadbe}); } // a NaN that no sum gives

    int width_;
    bool interleaved_;
    std::vector<std::vector<float>> memory_;
    std::vector<T *> pointers_;
};

struct Buffers {
    Ports<Complex> received, symbols;
    Ports<float> llrs;
    bool with_llrs;

    Buffers(Choices &choices, const Shape &shape, int bits)
        : received(choices, shape.num_rx, shape.channels, shape.vectors, 1),
          symbols(choices, shape.num_tx, shape.channels, shape.vectors, 1),
          llrs(choices, shape.num_tx, shape.channels, shape.vectors, bits), with_llrs(!choices.seldom()) {}

    // Vectors first..first + count of the plan's channels, which are those from `channel` on
    template <typename AnyPlan>
    Output detect(AnyPlan &plan, int channel, int first, int count) {
        const int channels = plan.num_channels();
        Output out;
        kaq::DetectedView detected{.symbols = symbols.view(channel, channels, first, count)};
        if (with_llrs)
            detected.llrs = llrs.view(channel, channels, first, count);
        out.num_invalid = plan.detect(received.view<const Complex>(channel, channels, first, count), detected);
        out.symbols = symbols.take(channel, plan.num_channels(), first, count);
        out.llrs = llrs.take(channel, plan.num_channels(), first, count);
        if (!symbols.untouched() || !llrs.untouched())
            fail("written outside of the outputs", plan);
        return out;
    }
};

// Received vectors: of the channel with and without noise, or anything.
template <typename AnyNetwork>
void fill_received(Choices &choices, Random &random, const Shape &shape, const AnyNetwork &net,
                   const std::vector<Complex> &h, Buffers &buffers) {
    const Values values = static_cast<Values>(choices.between(0, 5));
    const float noise = choices.yes() ? 0.1f : 0.0f;
    const bool anything = choices.yes();
    std::vector<Complex> x(shape.num_tx);
    for (int c = 0; c < shape.channels; ++c)
        for (int v = 0; v < shape.vectors; ++v) {
            const auto level = [&] {
                const int num_levels = 1 << net.bits_per_dimension;
                return static_cast<float>(2 * random.between(0, num_levels - 1) - num_levels + 1) * net.half_distance;
            };
            for (Complex &symbol : x)
                symbol = {level(), level()};
            const bool here = anything && random.one_in(4);
            for (int r = 0; r < shape.num_rx; ++r) {
                Complex y{random.normal() * noise, random.normal() * noise};
                for (int j = 0; j < shape.num_tx; ++j)
                    y += h[(static_cast<std::size_t>(c) * shape.num_rx + r) * shape.num_tx + j] * x[j];
                if (here)
                    y = {random_value(random, values), random_value(random, values)};
                *buffers.received.at(r, c, v) = y;
            }
        }
}

// What `detect` gives for one channel and some vectors, out of what it gave for all; but for the number of invalid
// ones.
inline Output part_of(const Output &all, const Shape &shape, int bits, int channel, int first, int count) {
    const std::size_t place = static_cast<std::size_t>(channel) * shape.vectors + first, width = shape.num_tx;
    const auto part = [&](const auto &of, std::size_t size) {
        return std::decay_t<decltype(of)>(of.begin() + place * size, of.begin() + (place + count) * size);
    };
    return {part(all.symbols, width), part(all.llrs, width * bits), 0};
}

inline void prepare_plan(kaq::Plan &plan, std::span<const Complex> h, const kaq::Noise &noise,
                         int vectors_per_estimate) {
    plan.prepare(h, noise, vectors_per_estimate);
}
inline void prepare_plan(kaq::LinearPlan &plan, std::span<const Complex> h, const kaq::Noise &noise,
                         int vectors_per_estimate) {
    plan.prepare(h, noise, vectors_per_estimate);
}
inline void prepare_plan(kaq::ListPlan &plan, std::span<const Complex> h, const kaq::Noise &noise, int) {
    plan.prepare(h, noise);
}

// Any channels and samples: on every kernel, neither threads, nor an earlier estimate, nor the other vectors and
// channels change an output. done(plan, output) checks more; what is not written holds zeros there.
template <typename AnyPlan, typename AnyNetwork, typename Done>
void check_detection(Choices &choices, Random &random, const AnyNetwork &net, const Shape &shape,
                     const std::vector<const kaq::Kernel *> &kernels, const Done &done) {
    const std::vector<Complex> h = random_channels(choices, random, shape, !choices.seldom());
    const bool finite = std::all_of(
        h.begin(), h.end(), [](Complex entry) { return std::isfinite(entry.real()) && std::isfinite(entry.imag()); });
    const std::vector<double> noise = random_noise(choices, random, shape.channels);
    const bool per_channel = noise.size() > 1, is_snr_db = choices.yes();
    const int bits = 2 * net.bits_per_dimension;
    Buffers buffers(choices, shape, bits);
    fill_received(choices, random, shape, net, h, buffers);
    const int threads = choices.between(1, 5), vectors_per_estimate = choices.between(0, 1) * shape.vectors;
    const int channel = choices.between(0, shape.channels - 1);
    const int first = shape.vectors ? choices.between(0, shape.vectors - 1) : 0;
    const int count = choices.between(0, shape.vectors - first);
    // at any address that the type allows, of exactly the size needed
    const std::size_t offset = choices.between(0, 5), size = static_cast<std::size_t>(shape.num_rx) * shape.num_tx;
    std::vector<float> memory(offset + 2 * h.size());
    Complex *estimate = reinterpret_cast<Complex *>(memory.data() + offset);
    const auto prepare = [&](AnyPlan &plan, int from) {
        const std::size_t num_channels = plan.num_channels();
        prepare_plan(plan, {estimate + from * size, num_channels * size},
                     {.kind = is_snr_db ? kaq::Noise::Kind::snr_db : kaq::Noise::Kind::variance,
                      .values = {noise.data() + (per_channel ? from : 0), per_channel ? num_channels : 1}},
                     vectors_per_estimate);
    };

    for (const kaq::Kernel *kernel : kernels) {
        AnyPlan plan(net, *kernel, shape.channels, shape.num_rx, shape.num_tx);
        std::copy(h.begin(), h.end(), estimate);
        try {
            prepare(plan, 0);
        } catch (const std::invalid_argument &) {
            if (finite)
                fail("finite channels are refused", plan);
            continue;
        }
        if (!finite)
            fail("channels that are not finite are taken", plan);
        const Output expected = buffers.detect(plan, 0, 0, shape.vectors);

        AnyPlan threaded(net, *kernel, shape.channels, shape.num_rx, shape.num_tx, threads);
        std::fill_n(estimate, h.size(), Complex{1, 2});
        prepare(threaded, 0);
        buffers.detect(threaded, 0, first, count);
        std::copy(h.begin(), h.end(), estimate);
        prepare(threaded, 0);
        if (!same_bits(buffers.detect(threaded, 0, 0, shape.vectors), expected))
            fail("threads or an earlier estimate change the outputs", threaded);

        // where they have an SNR of their own, not even the other channels
        if (per_channel || shape.channels == 1) {
            AnyPlan single(net, *kernel, 1, shape.num_rx, shape.num_tx);
            prepare(single, channel);
            Output part = buffers.detect(single, channel, first, count);
            part.num_invalid = 0;
            if (!same_bits(part, part_of(expected, shape, bits, channel, first, count)))
                fail("the other channels and vectors change the outputs", single);
        }
        Output written = expected;
        if (!buffers.with_llrs)
            std::fill(written.llrs.begin(), written.llrs.end(), 0.0f);
        done(plan, written);
    }
}

// fuzz_list.cc: any list detector. fuzz_linear.cc: LMMSE and zero forcing.
void fuzz_list(Choices &choices, Random &random);
void fuzz_linear(Choices &choices, Random &random);

} // namespace kaq_test
