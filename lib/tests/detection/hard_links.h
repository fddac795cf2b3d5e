// SPDX-License-Identifier: GPL-3.0-or-later
// Links that the plans of all detectors are tried with, and what all have to do with them.
#pragma once

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/detection/links.h"

namespace kaq_test {

inline constexpr float infinity = std::numeric_limits<float>::infinity();

inline float worst_error(const Link &link, const Output &out) {
    float worst = 0;
    for (std::size_t i = 0; i < link.x.size(); ++i)
        worst = std::max(worst, std::abs(out.symbols[i] - link.x[i]));
    return worst;
}

// call(link, noise_var) with values at the ends of what a float holds, here and there.
template <typename AnyNetwork, typename Call>
void for_each_extreme_link(const AnyNetwork &net, int num_tx, Call call) {
    const float values[] = {
        0,         -0.0f, std::numeric_limits<float>::denorm_min(), 1e-40f, 1e-30f, 1e18f, 1e38f, 3e38f, infinity,
        -infinity, NAN};
    const double noises[] = {0, 5e-324, 1e-12, 1, 1e300};
    std::size_t place = 0;
    for (const float value : values) {
        Link link(net, 7, 3, num_tx + 1, num_tx);
        for (int again = 0; again < 6; ++again) {
            place += 37;
            link.y[place % link.y.size()] = {value, again % 2 ? 0 : -value};
            if (std::isfinite(value)) {
                link.h[place % link.h.size()] = {again % 3 ? value : 0, value};
                for (int r = 0; again == 5 && r <= num_tx; ++r) // all of one stream
                    link.h[r * num_tx] = value;
            }
        }
        call(link, noises[place % 5]);
    }
}

// All streams of each antenna become about the same.
inline void come_from_one_direction(Link &link, float distance) {
    const std::size_t n = link.num_tx;
    for (std::size_t i = 0; i < link.h.size(); ++i)
        link.h[i] = link.h[i - i % n] + (i % n ? distance : 0) * link.h[i];
}

inline void set_radio_gain(Link &link, int exponent) {
    for (std::vector<Complex> *values : {&link.h, &link.y})
        for (Complex &value : *values)
            value *= std::ldexp(1.0f, exponent);
}

// What `all` has of a channel is what detect(link with this channel only) gives.
template <typename Detect>
void check_channel_alone(const Link &link, const Output &all, int channel, Detect detect) {
    const auto part = [channel](const auto &of, std::size_t size) {
        return std::decay_t<decltype(of)>(of.begin() + channel * size, of.begin() + (channel + 1) * size);
    };
    const std::size_t symbols = static_cast<std::size_t>(link.vectors) * link.num_tx;
    Link one = link;
    one.channels = 1;
    one.h = part(link.h, static_cast<std::size_t>(link.num_rx) * link.num_tx);
    one.y = part(link.y, static_cast<std::size_t>(link.vectors) * link.num_rx);
    one.x.resize(symbols);
    const Output out = detect(one);
    BOOST_TEST(same_bits(out.symbols, part(all.symbols, symbols)));
    BOOST_TEST(same_bits(out.llrs, part(all.llrs, symbols * link.bits)));
}

// A vector that is not finite is zero and counted, and leaves the others alone.
template <typename AnyNetwork, typename Detect>
void check_invalid_vectors(const AnyNetwork &net, Detect detect) {
    for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
        Link link(net, 3, 6, 4, 4);
        const Output before = detect(link);
        link.y[3] = {0, bad}; // vector 0
        link.y[7 * 4] = {bad, 0};
        const Output out = detect(link);
        BOOST_TEST(out.num_invalid == 2u);
        for (std::size_t i = 0; i < out.symbols.size(); ++i) {
            const bool invalid = i / 4 == 0 || i / 4 == 7;
            BOOST_TEST(out.symbols[i] == (invalid ? Complex{} : before.symbols[i]));
            for (std::size_t bit = 4 * i; bit < 4 * i + 4; ++bit)
                BOOST_TEST(out.llrs[bit] == (invalid ? 0 : before.llrs[bit]));
        }
    }
}

// Channels that are not finite are refused, and the plan goes on.
template <typename AnyPlan, typename AnyNetwork>
void check_refuses_channels(const AnyNetwork &net, const std::vector<const kaq::Kernel *> &kernels) {
    for (const kaq::Kernel *kernel : kernels)
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity})
            for (const std::size_t place : {0, 7, 41, 69}) {
                Link link(net, 7, 2, 5, 2);
                link.h[place].imag(bad);
                AnyPlan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
                BOOST_CHECK_THROW(link.prepare(plan), std::invalid_argument);
                link.h[place].imag(0);
                BOOST_TEST(link.run(plan).num_invalid == 0u);
            }
}

// Whether LLRs are wanted changes no symbol.
template <typename AnyPlan, typename AnyNetwork>
void check_symbols_alone(const AnyNetwork &net, const std::vector<const kaq::Kernel *> &kernels) {
    for (const kaq::Kernel *kernel : kernels) {
        const Link link(net, 5, 7, 4, 4);
        AnyPlan plan(net, *kernel, 5, 4, 4);
        link.prepare(plan);
        BOOST_TEST(same_bits(detect_streams(link, plan, false).symbols, link.detect(plan).symbols));
    }
}

} // namespace kaq_test
