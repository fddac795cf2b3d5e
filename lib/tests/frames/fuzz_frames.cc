// SPDX-License-Identifier: GPL-3.0-or-later
// Any layout and stream, however it is cut and interrupted: nothing is read or written outside of what there is, what
// is found does not depend on the pieces, and is what a frame may be. One input in two is for fuzz_grids.cc.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "tests/frames/fuzz_grids.h"
#include "tests/frames/sent_frames.h"

namespace {

using namespace kaq_test;

constexpr float loud = 1e38f; // a rotation of two such parts may overflow

[[noreturn]] void fail(const char *what, const kaq::FrameLayout &of) {
    std::fprintf(stderr, "%s: %d symbols of %d + %d samples, %d early, behind %d periods of %d\n", what, of.num_symbols,
                 of.cp_length, of.fft_size, of.timing_advance, of.num_periods, of.period);
    std::abort();
}

int any_number(Choices &choices, Random &random) {
    const int ends[] = {0, -1, 4, 16, 64, 1 << 16, (1 << 16) + 4, 100, 2147483647, -2147483647 - 1};
    return choices.yes() ? ends[choices.between(0, 9)] : random.between(-10, 1000);
}

kaq::FrameLayout random_layout(Choices &choices, Random &random) {
    kaq::FrameLayout layout{};
    layout.period = 16 * choices.between(1, 5);
    layout.num_periods = choices.between(6, 12);
    layout.num_symbols = choices.between(1, 15);
    const int symbol = 2 * layout.preamble_length() / 3 / 4; // in units of 4 samples
    const int cp = choices.between(2, symbol - 1);
    layout.cp_length = 4 * cp;
    layout.timing_advance = 4 * choices.between(1, cp - 1);
    layout.fft_size = 4 * choices.between(1, symbol - cp);
    layout.delay_window = 4 * choices.between(1, cp);
    if (choices.seldom())
        for (int *number : {&layout.fft_size, &layout.cp_length, &layout.timing_advance, &layout.delay_window,
                            &layout.num_symbols, &layout.period, &layout.num_periods})
            if (choices.yes())
                *number = any_number(choices, random);
    return layout;
}

// What streams send, each as long as a frame: [num_tx][frame_length].
std::vector<Complex> random_streams(Choices &choices, Random &random, const kaq::FrameLayout &layout, int num_tx) {
    const int length = layout.frame_length();
    std::vector<Complex> streams;
    const Values values = choices.seldom() ? static_cast<Values>(choices.between(0, 5)) : Values::ordinary;
    for (int t = 0; t < num_tx; ++t) {
        const std::size_t first = streams.size();
        for (int n = 0; n < length; ++n)
            streams.push_back(n >= layout.period && n < layout.preamble_length()
                                  ? streams[first + n - layout.period]
                                  : Complex(random_value(random, values), random_value(random, values)));
    }
    return streams;
}

// What antennas receive: parts of noise, frames, periods, constants, tones, and anything. [num_rx][length]
std::vector<std::vector<Complex>> random_stream(Choices &choices, Random &random, const kaq::FrameLayout &layout,
                                                const std::vector<Complex> &streams, int num_tx, int num_rx) {
    const int frame = layout.frame_length();
    std::vector<std::vector<Complex>> received(num_rx);
    for (int parts = choices.between(1, 4); parts > 0 && received[0].size() < 20000; --parts) {
        const int kind = choices.between(0, 9), begin = static_cast<int>(received[0].size());
        const int length = kind < 4 ? random.between(frame / 2, frame + 50) : random.between(0, frame);
        const float noise = choices.yes() ? 0.05f : choices.yes() ? 1.0f : 0.0f;
        const double offset = random.uniform(-0.6, 0.6) / layout.period;
        const Values values = static_cast<Values>(choices.between(0, 5));
        for (int a = 0; a < num_rx; ++a) {
            std::vector<Complex> gains;
            for (int t = 0; t < num_tx; ++t)
                gains.emplace_back(random.normal(), random.normal());
            const float level = random.one_in(6) ? 0.0f : random.one_in(6) ? 1e-3f : 1.0f;
            for (int n = 0; n < length; ++n) {
                Complex sample{};
                if (kind == 4)
                    sample = {random_value(random, values), random_value(random, values)};
                else if (kind == 5)
                    sample = {3, -1};
                else if (kind != 6) // noise only
                    for (int t = 0; t < num_tx; ++t) {
                        const int place = kind == 7 ? n % layout.period : n;
                        if (place < frame)
                            sample += gains[t] * streams[static_cast<std::size_t>(t) * frame + place];
                    }
                sample *= level * Complex(std::polar(1.0, 2 * std::numbers::pi * offset * (begin + n)));
                sample += noise * Complex(random.normal(), random.normal());
                if (kind == 8 && random.one_in(50))
                    sample = {random_value(random, values), random_value(random, values)};
                if (kind == 9) // saturated
                    sample = {std::clamp(sample.real(), -0.5f, 0.5f), std::clamp(sample.imag(), -0.5f, 0.5f)};
                received[a].push_back(sample);
            }
        }
    }
    return received;
}

struct Found {
    std::vector<Kept> frames;
    std::vector<std::size_t> lost; // by each interruption
    std::size_t invalid = 0;

    bool operator==(const Found &) const = default;
};

// In pieces of up to `piece` samples, and interrupted at these places.
Found find(kaq::FrameSearch &&search, const std::vector<std::vector<Complex>> &received, int piece,
           const std::vector<int> &interruptions, Random &random) {
    Found found;
    Collector collector(search);
    const int length = static_cast<int>(received[0].size());
    for (int first = 0; first < length;) {
        int end = std::min(length, first + random.between(1, piece));
        for (const int place : interruptions)
            if (place > first && place < end)
                end = place;
        std::vector<Complex> part; // of just this size
        for (const auto &of_antenna : received)
            part.insert(part.end(), of_antenna.begin() + first, of_antenna.begin() + end);
        part.shrink_to_fit();
        found.invalid += push(search, {part.data(), received.size(), end - first}, collector);
        first = end;
        if (std::ranges::find(interruptions, end) != interruptions.end())
            found.lost.push_back(search.interrupt());
    }
    if (search.position() != length)
        fail("another position than samples", search.layout());
    found.frames = collector.frames;
    return found;
}

void check_frames(const kaq::FrameLayout &layout, const std::vector<Kept> &frames, int length, bool moderate) {
    // what one period and several tell; a turn per period more; and half of one, as the place that was compared and the
    // start that was found may differ
    const double greatest = (0.5 + 0.5 / kaq::lag_periods + 1 + 0.5) / layout.period + 1e-9;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const Kept &frame = frames[i];
        if (frame.start + layout.frame_length() - layout.timing_advance > length)
            fail("a frame whose end has not come", layout);
        if (i && frame.start <= frames[i - 1].start)
            fail("frames out of order", layout);
        if (!(std::abs(frame.carrier_offset) <= greatest))
            fail("a carrier offset out of range", layout);
        if (!(frame.metric > 0 && frame.metric <= 1))
            fail("a metric out of range", layout);
        for (const Complex each : frame.windows)
            if (moderate && !(std::isfinite(each.real()) && std::isfinite(each.imag())))
                fail("a window that is not finite", layout);
    }
}

void fuzz_search(Choices &choices, Random &random) {
    const kaq::FrameLayout layout = random_layout(choices, random);
    try {
        kaq::check(layout);
    } catch (const std::invalid_argument &) {
        return;
    }
    if (layout.frame_length() > 20000) // what takes long finds no more
        return;
    const int num_tx = choices.between(1, kaq::max_frame_streams), num_rx = choices.between(1, 5);
    const auto streams = random_streams(choices, random, layout, num_tx);
    std::vector<Complex> known;
    for (int t = 0; t < num_tx; ++t) {
        const auto begin = streams.begin() + static_cast<std::ptrdiff_t>(t) * layout.frame_length();
        double energy = 0;
        for (auto each = begin; each != begin + layout.known_length(); ++each)
            energy += std::norm(ComplexDouble(*each));
        for (auto each = begin; each != begin + layout.known_length(); ++each)
            known.push_back(*each * static_cast<float>(1 / std::sqrt(energy)));
    }
    const auto received = random_stream(choices, random, layout, streams, num_tx, num_rx);
    const int length = static_cast<int>(received[0].size());
    std::size_t invalid = 0;
    bool moderate = true;
    for (const auto &of_antenna : received)
        for (const Complex each : of_antenna) {
            const bool finite = std::isfinite(each.real()) && std::isfinite(each.imag());
            invalid += !finite;
            moderate &= !finite || (std::abs(each.real()) < loud && std::abs(each.imag()) < loud);
        }
    std::vector<int> interruptions;
    for (int count = choices.between(0, 5) - 3; count > 0; --count)
        interruptions.push_back(random.between(1, std::max(1, length)));
    const auto search = [&] { return kaq::FrameSearch(layout, num_rx, {known.data(), num_tx, layout.known_length()}); };
    const Found whole = find(search(), received, std::max(1, 2 * length), interruptions, random);
    if (whole.invalid != invalid)
        fail("not all samples that are no numbers were counted", layout);
    check_frames(layout, whole.frames, length, moderate);
    const int pieces[] = {17, 300, 5000, 20000};
    if (!(find(search(), received, pieces[choices.between(0, 3)], interruptions, random) == whole))
        fail("the pieces change what is found", layout);
    if (choices.yes() && length) { // what a sink throws passes through, and the search goes on
        kaq::FrameSearch other = search();
        Unwilling unwilling(other);
        Collector willing(other);
        std::vector<Complex> all;
        for (const auto &of_antenna : received)
            all.insert(all.end(), of_antenna.begin(), of_antenna.end());
        try {
            push(other, {all.data(), num_rx, length}, unwilling);
        } catch (const std::runtime_error &) {
        }
        const std::int64_t before = other.position();
        push(other, {all.data(), num_rx, length}, willing);
        check_frames(layout, willing.frames, static_cast<int>(before) + length, moderate);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Choices choices(data, size);
    Random random(choices.byte() | choices.byte() << 8);
    if (choices.yes())
        fuzz_search(choices, random);
    else
        fuzz_grids(choices, random);
    return 0;
}
