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

#include "tests/detection/hard_links.h"

using namespace kaq_test;

namespace {

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

const double weak_noise = 1e-3;

kaq::Noise weak() { return kaq::Noise::of_variance({&weak_noise, 1}); }

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
            agreed(net, link, weak());
        }
    }
}

BOOST_AUTO_TEST_CASE(many_vectors_of_few_channels) {
    const kaq::ListNetwork net = list_network(2, 8, 1);
    for (const int channels : {1, 2, 3, 5, 17})
        agreed(net, Link(net, channels, 100, 4, 4), weak());
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
    for (const int bits : {1, 2, 4})
        for (const int num_tx : {1, 2, 3, 4, 8}) {
            const kaq::ListNetwork net = list_network(bits, 8, 2);
            for_each_extreme_link(net, num_tx, [&](const Link &link, const double &noise_var) {
                agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}));
            });
        }
}

// In single precision their Cholesky factors overflow, unless the Gram matrix is loaded by more than rounding takes.
BOOST_AUTO_TEST_CASE(nearly_singular_channels_at_any_snr) {
    const kaq::ListNetwork net = list_network(2, 8, 2);
    for (const int num_tx : {2, 8, 12, 16})
        for (const float distance : {0.0f, 1e-6f, 1e-3f})
            for (const double snr_db : {40, 60, 90}) {
                Link link(net, 20, 2, 64, num_tx); // many antennas round more
                come_from_one_direction(link, distance);
                agreed(net, link, kaq::Noise::of_snr_db({&snr_db, 1}));
            }
}

BOOST_AUTO_TEST_CASE(a_vector_that_is_not_finite_is_zero_and_counted) {
    const kaq::ListNetwork net = list_network(2, 8, 1);
    check_invalid_vectors(net, [&](const Link &link) { return agreed(net, link, weak()); });
}

BOOST_AUTO_TEST_CASE(a_channel_of_zeros_gives_zeros) {
    const kaq::ListNetwork net = list_network(3, 8, 2);
    Link link(net, 18, 2, 3, 2);
    std::fill_n(link.h.begin() + 17 * 6, 6, Complex{});
    const Output out = agreed(net, link, weak());
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
        set_radio_gain(link, exponent);
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
    const Output all = agreed(net, link, weak());
    for (const int channel : {0, 7, 20})
        check_channel_alone(link, all, channel, [&](const Link &one) { return agreed(net, one, weak()); });
}

BOOST_AUTO_TEST_CASE(symbols_do_not_depend_on_whether_llrs_are_wanted) {
    check_symbols_alone<kaq::ListPlan>(list_network(2, 8, 2), list_kernels());
}

BOOST_AUTO_TEST_CASE(a_list_plan_refuses_channels_that_are_not_finite) {
    check_refuses_channels<kaq::ListPlan>(list_network(1, 8, 1), list_kernels());
}
