// SPDX-License-Identifier: GPL-3.0-or-later
// What the plan of a list detector promises: the same bits on every instruction set and in every layout, whatever the
// channels and samples are; the sanitizers run this too. That these are the bits of the reference is tested in
// tests/detection/test_list_kernel.py.
#include <boost/test/unit_test.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "tests/detection/links.h"

using namespace kaq_test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// Every kernel and both layouts give this, if they agree.
Output agreed(const kaq::ListNetwork &net, const Link &link, const kaq::Noise &noise) {
    Output expected;
    for (const kaq::Kernel *kernel : list_kernels()) {
        kaq::ListPlan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
        plan.prepare(link.h, noise);
        const Output out = link.detect(plan), streams = detect_streams(link, plan);
        if (kernel == list_kernels().front())
            expected = out;
        const char *name = kernel->name;
        BOOST_TEST(same_bits(out, expected), name << ": " << link.channels << " channels, " << link.vectors
                                                  << " vectors, " << link.num_rx << "x" << link.num_tx << ", "
                                                  << net.bits_per_dimension << " bits, " << net.survivors);
        BOOST_TEST(same_bits(streams, expected), name << ", channels next to each other: " << link.channels);
    }
    BOOST_TEST(all_finite(expected));
    return expected;
}

float worst_error(const Link &link, const Output &out) {
    float worst = 0;
    for (std::size_t i = 0; i < link.x.size(); ++i)
        worst = std::max(worst, std::abs(out.symbols[i] - link.x[i]));
    return worst;
}

const double weak_noise = 1e-3;

} // namespace

BOOST_AUTO_TEST_CASE(kernels_and_layouts_agree_at_every_size) {
    int i = 0;
    for (const int bits : {1, 2, 3, 4})
        for (const int survivors : {8, 16})
            for (int num_tx = 1; num_tx <= 16; ++num_tx) {
                ++i;
                const kaq::ListNetwork net = list_network(bits, survivors, 1 + i % 3);
                const int channels = 1 + (7 * i) % 23, vectors = 1 + 6 / channels;
                const Link link(net, channels, vectors, std::min(64, num_tx + (5 * i) % 12), num_tx, i);
                // from what is all noise to rows of two bytes
                const double noise_var = std::ldexp(1.0, -i % 24);
                agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}));
            }
}

BOOST_AUTO_TEST_CASE(every_number_of_channels) {
    for (int channels = 1; channels <= 40; ++channels) {
        const kaq::ListNetwork net = list_network(1 + channels % 4, channels % 3 ? 8 : 16, 1);
        for (const int vectors : {1, 3}) {
            const Link link(net, channels, vectors, 3 + channels % 2, 2 + channels % 2, channels);
            agreed(net, link, kaq::Noise::of_variance({&weak_noise, 1}));
        }
    }
}

BOOST_AUTO_TEST_CASE(many_vectors_of_few_channels) {
    const kaq::ListNetwork net = list_network(2, 8, 1);
    for (const int channels : {1, 2, 3, 5, 17})
        agreed(net, Link(net, channels, 100, 4, 4), kaq::Noise::of_variance({&weak_noise, 1}));
}

BOOST_AUTO_TEST_CASE(detects_without_noise) {
    for (const int bits : {1, 2, 3, 4})
        for (const int num_tx : {1, 2, 4, 5, 16}) {
            const kaq::ListNetwork net = list_network(bits, 16, 1);
            const Link link(net, 9, 5, 2 * num_tx, num_tx);
            const double noise_var = 1e-4;
            const Output out = agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}));
            BOOST_TEST(out.num_invalid == 0u);
            BOOST_TEST(worst_error(link, out) < 1e-5f, bits << " bits, " << num_tx << " streams");
        }
}

BOOST_AUTO_TEST_CASE(values_at_the_ends_of_what_a_float_holds) {
    const float values[] = {
        0,         -0.0f, std::numeric_limits<float>::denorm_min(), 1e-40f, 1e-30f, 1e18f, 1e38f, 3e38f, infinity,
        -infinity, NAN};
    const double noises[] = {0, 5e-324, 1e-12, 1, 1e300};
    for (const int bits : {1, 2, 4})
        for (const int num_tx : {1, 2, 3, 4, 8}) {
            const kaq::ListNetwork net = list_network(bits, 8, 2);
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
                const double noise_var = noises[place % 5];
                agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}));
            }
        }
}

// In single precision their Cholesky factors overflow, unless the Gram matrix is loaded by more than rounding takes.
BOOST_AUTO_TEST_CASE(nearly_singular_channels_at_any_snr) {
    const kaq::ListNetwork net = list_network(2, 8, 2);
    for (const int num_tx : {2, 8, 12, 16})
        for (const float distance : {0.0f, 1e-6f, 1e-3f})
            for (const double snr_db : {40, 60, 90}) {
                Link link(net, 20, 2, 64, num_tx);              // many antennas round more
                for (std::size_t i = 0; i < link.h.size(); ++i) // all streams from about one direction
                    link.h[i] = link.h[i - i % num_tx] + (i % num_tx ? distance : 0) * link.h[i];
                agreed(net, link, kaq::Noise::of_snr_db({&snr_db, 1}));
            }
}

BOOST_AUTO_TEST_CASE(a_vector_that_is_not_finite_is_zero_and_counted) {
    for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
        const kaq::ListNetwork net = list_network(2, 8, 1);
        Link link(net, 3, 6, 4, 4);
        const Output before = agreed(net, link, kaq::Noise::of_variance({&weak_noise, 1}));
        link.y[3] = {0, bad}; // vector 0
        link.y[7 * 4] = {bad, 0};
        const Output out = agreed(net, link, kaq::Noise::of_variance({&weak_noise, 1}));
        BOOST_TEST(out.num_invalid == 2u);
        for (std::size_t i = 0; i < out.symbols.size(); ++i) {
            const bool invalid = i / 4 == 0 || i / 4 == 7;
            BOOST_TEST(out.symbols[i] == (invalid ? Complex{} : before.symbols[i]));
            for (std::size_t bit = 4 * i; bit < 4 * i + 4; ++bit)
                BOOST_TEST(out.llrs[bit] == (invalid ? 0 : before.llrs[bit]));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_channel_of_zeros_gives_zeros) {
    const kaq::ListNetwork net = list_network(3, 8, 2);
    Link link(net, 18, 2, 3, 2);
    std::fill_n(link.h.begin() + 17 * 6, 6, Complex{});
    const Output out = agreed(net, link, kaq::Noise::of_variance({&weak_noise, 1}));
    BOOST_TEST(out.num_invalid == 0u);
    for (std::size_t i = 0; i < out.symbols.size(); ++i)
        BOOST_TEST((out.symbols[i] == Complex{}) == (i / 4 == 17));
}

BOOST_AUTO_TEST_CASE(detects_whatever_the_gain_of_the_radio_in_a_list) {
    const kaq::ListNetwork net = list_network(2, 8, 1);
    const double snr_db = 30;
    Output expected;
    for (const int exponent : {0, -45, -10, 10, 50, 100}) {
        Link link(net, 3, 9, 6, 3);
        for (std::vector<Complex> *values : {&link.h, &link.y})
            for (Complex &value : *values)
                value *= std::ldexp(1.0f, exponent);
        const Output out = agreed(net, link, kaq::Noise::of_snr_db({&snr_db, 1}));
        BOOST_TEST(worst_error(link, out) < 1e-5f, "2^" << exponent);
        if (!exponent)
            expected = out;
        BOOST_TEST(same_bits(out, expected), "2^" << exponent);
    }
}

BOOST_AUTO_TEST_CASE(channels_do_not_meet) {
    const kaq::ListNetwork net = list_network(2, 16, 2);
    const Link link(net, 21, 7, 5, 4);
    const Output all = agreed(net, link, kaq::Noise::of_variance({&weak_noise, 1}));
    for (const int channel : {0, 7, 20}) {
        Link one = link;
        one.channels = 1;
        one.h.assign(link.h.begin() + channel * 20, link.h.begin() + (channel + 1) * 20);
        one.y.assign(link.y.begin() + channel * 35, link.y.begin() + (channel + 1) * 35);
        one.x.resize(28);
        const Output out = agreed(net, one, kaq::Noise::of_variance({&weak_noise, 1}));
        BOOST_TEST(!std::memcmp(out.symbols.data(), all.symbols.data() + channel * 28, 28 * sizeof(Complex)));
        BOOST_TEST(!std::memcmp(out.llrs.data(), all.llrs.data() + channel * 112, 112 * sizeof(float)));
    }
}

BOOST_AUTO_TEST_CASE(symbols_do_not_depend_on_whether_llrs_are_wanted) {
    for (const kaq::Kernel *kernel : list_kernels()) {
        const kaq::ListNetwork net = list_network(2, 8, 2);
        const Link link(net, 5, 7, 4, 4);
        kaq::ListPlan plan(net, *kernel, 5, 4, 4);
        link.prepare(plan);
        BOOST_TEST(same_bits(detect_streams(link, plan, false).symbols, link.detect(plan).symbols));
    }
}

BOOST_AUTO_TEST_CASE(a_list_plan_refuses_channels_that_are_not_finite) {
    const kaq::ListNetwork net = list_network(1, 8, 1);
    for (const kaq::Kernel *kernel : list_kernels())
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity})
            for (const std::size_t place : {0, 7, 41, 69}) {
                Link link(net, 7, 2, 5, 2);
                link.h[place].imag(bad);
                kaq::ListPlan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
                BOOST_CHECK_THROW(link.prepare(plan), std::invalid_argument);
                link.h[place].imag(0); // and goes on
                BOOST_TEST(link.run(plan).num_invalid == 0u);
            }
}
