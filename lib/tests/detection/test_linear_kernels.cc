// SPDX-License-Identifier: GPL-3.0-or-later
// What the plan of a linear detector promises: the same bits on every instruction set that fuses products, and in every
// layout, whatever the channels and samples are; the sanitizers run this too. How near it is to LAPACK is tested in
// tests/detection/test_linear_kernel.py.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/detection/hard_links.h"

using namespace kaq_test;

namespace {

using Type = kaq::LinearNetwork::Type;

const double weak_noise = 1e-3;

// Every kernel and both layouts give this, if they agree; with one matrix, or with two.
Output agreed(const kaq::LinearNetwork &net, const Link &link, const kaq::Noise &noise, bool one_matrix = true) {
    Output expected;
    for (const kaq::Kernel *kernel : linear_kernels()) {
        kaq::LinearPlan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
        plan.prepare(link.h, noise, one_matrix ? link.num_rx + 1 : 1);
        const Output out = link.detect(plan), streams = detect_streams(link, plan);
        if (kernel == linear_kernels().front())
            expected = out;
        const char *name = kernel->name;
        if (has_fused_products(*kernel))
            BOOST_TEST(same_bits(out, expected), name << ": " << link.channels << " channels, " << link.vectors
                                                      << " vectors, " << link.num_rx << "x" << link.num_tx << ", "
                                                      << net.bits_per_dimension << " bits");
        BOOST_TEST(same_bits(streams, out), name << ", channels next to each other: " << link.channels);
        BOOST_TEST(all_finite(out));
    }
    return expected;
}

Output agreed(const kaq::LinearNetwork &net, const Link &link) {
    return agreed(net, link, kaq::Noise::of_variance({&weak_noise, 1}));
}

} // namespace

BOOST_AUTO_TEST_CASE(linear_kernels_and_layouts_agree_at_every_size) {
    int i = 0;
    for (const Type type : {Type::lmmse, Type::zero_forcing})
        for (const bool one_matrix : {false, true})
            for (int num_tx = 1; num_tx <= 20; ++num_tx) {
                ++i;
                const kaq::LinearNetwork net = linear_network(type, 1 + i % 4);
                const int channels = 1 + (7 * i) % 23, vectors = 1 + (3 * i) % 11;
                const Link link(net, channels, vectors, num_tx + (5 * i) % 12, num_tx, i);
                const double noise_var = std::ldexp(1.0, -2 * (i % 24));
                agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}), one_matrix);
            }
}

BOOST_AUTO_TEST_CASE(linear_detectors_take_every_number_of_channels) {
    for (int channels = 1; channels <= 40; ++channels)
        for (const int vectors : {1, 3, 33}) {
            const kaq::LinearNetwork net = linear_network(channels % 2 ? Type::lmmse : Type::zero_forcing, 2);
            agreed(net, Link(net, channels, vectors, 3 + channels % 2, 2 + channels % 2, channels));
        }
}

BOOST_AUTO_TEST_CASE(linear_detectors_detect_without_noise) {
    for (const Type type : {Type::lmmse, Type::zero_forcing})
        for (const bool one_matrix : {false, true})
            for (const int num_tx : {1, 2, 4, 5, 16, 40}) {
                const kaq::LinearNetwork net = linear_network(type, 2);
                const Link link(net, 9, 5, 2 * num_tx, num_tx);
                const double noise_var = 1e-8;
                const Output out = agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}), one_matrix);
                BOOST_TEST(out.num_invalid == 0u);
                BOOST_TEST(worst_error(link, out) < 1e-5f, num_tx << " streams");
            }
}

// Two streams from about one direction, beside channels that are easy.
BOOST_AUTO_TEST_CASE(channels_that_need_more_than_single_precision) {
    for (const Type type : {Type::lmmse, Type::zero_forcing})
        for (const bool one_matrix : {false, true})
            for (const int channels : {1, 3, 20})
                for (const float distance : {1e-2f, 1e-3f, 1e-4f}) {
                    const kaq::LinearNetwork net = linear_network(type, 1);
                    Link link(net, channels, 4, 8, 4, channels);
                    for (int r = 0; r < 8; ++r) { // of the last channel; y follows it
                        Complex *row = link.h.data() + (channels - 1) * 32 + r * 4;
                        row[2] = row[1] + distance * row[2];
                        for (int v = 0; v < 4; ++v) {
                            const Complex *x = link.x.data() + ((channels - 1) * 4 + v) * 4;
                            link.y[((channels - 1) * 4 + v) * 8 + r] =
                                row[0] * x[0] + row[1] * x[1] + row[2] * x[2] + row[3] * x[3];
                        }
                    }
                    const double noise_var = 1e-12;
                    const Output out = agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}), one_matrix);
                    // the samples themselves are only known to a part of 2^-24
                    BOOST_TEST(worst_error(link, out) < 1e-5f + 5e-6f / distance, distance);
                }
}

BOOST_AUTO_TEST_CASE(linear_detectors_at_the_ends_of_what_a_float_holds) {
    for (const Type type : {Type::lmmse, Type::zero_forcing})
        for (const int num_tx : {1, 2, 3, 4, 8}) {
            const kaq::LinearNetwork net = linear_network(type, 2);
            for_each_extreme_link(net, num_tx, [&](const Link &link, const double &noise_var) {
                for (const bool one_matrix : {false, true})
                    agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}), one_matrix);
            });
        }
}

BOOST_AUTO_TEST_CASE(nearly_singular_channels_of_linear_detectors_at_any_snr) {
    for (const Type type : {Type::lmmse, Type::zero_forcing})
        for (const int num_tx : {2, 8, 16})
            for (const float distance : {0.0f, 1e-6f, 1e-3f})
                for (const double snr_db : {-40, 40, 60, 90}) {
                    const kaq::LinearNetwork net = linear_network(type, 2);
                    Link link(net, 5, 2, 64, num_tx); // many antennas round more
                    come_from_one_direction(link, distance);
                    agreed(net, link, kaq::Noise::of_snr_db({&snr_db, 1}));
                }
}

BOOST_AUTO_TEST_CASE(linear_detectors_count_vectors_that_are_not_finite) {
    const kaq::LinearNetwork net = linear_network(Type::lmmse, 2);
    check_invalid_vectors(net, [&](const Link &link) { return agreed(net, link); });
}

BOOST_AUTO_TEST_CASE(linear_detectors_say_nothing_of_channels_and_streams_of_zeros) {
    for (const Type type : {Type::lmmse, Type::zero_forcing}) {
        const kaq::LinearNetwork net = linear_network(type, 3);
        Link link(net, 18, 2, 3, 2);
        std::fill_n(link.h.begin() + 17 * 6, 6, Complex{});
        for (int r = 0; r < 3; ++r) // one stream of another channel
            link.h[16 * 6 + 2 * r] = 0;
        const Output out = agreed(net, link);
        BOOST_TEST(out.num_invalid == 0u);
        for (std::size_t i = 0; i < out.symbols.size(); ++i) {
            const bool unknown = i / 4 == 17 || (i / 4 == 16 && i % 2 == 0);
            BOOST_TEST((out.symbols[i] == Complex{}) == unknown);
            for (std::size_t bit = 6 * i; unknown && bit < 6 * i + 6; ++bit)
                BOOST_TEST(out.llrs[bit] == 0);
        }
    }
}

BOOST_AUTO_TEST_CASE(linear_detectors_do_not_depend_on_the_gain_of_the_radio) {
    for (const Type type : {Type::lmmse, Type::zero_forcing})
        for (const bool one_matrix : {false, true}) {
            const kaq::LinearNetwork net = linear_network(type, 2);
            Output expected;
            for (const int exponent : {0, -45, -10, 10, 50, 90}) {
                Link link(net, 3, 9, 6, 3);
                set_radio_gain(link, exponent);
                const double noise_var = std::ldexp(1e-3, 2 * exponent);
                const Output out = agreed(net, link, kaq::Noise::of_variance({&noise_var, 1}), one_matrix);
                if (!exponent)
                    expected = out;
                BOOST_TEST(same_bits(out, expected), "2^" << exponent);
            }
        }
}

BOOST_AUTO_TEST_CASE(channels_of_linear_detectors_do_not_meet) {
    const kaq::LinearNetwork net = linear_network(Type::lmmse, 2);
    Link link(net, 21, 7, 5, 4);
    std::copy_n(link.h.begin(), 5, link.h.begin() + 7 * 20);
    for (int r = 0; r < 5; ++r) // channel 7 is singular, and its neighbours are not
        link.h[7 * 20 + r * 4] = link.h[7 * 20 + r * 4 + 1];
    const double noise_var = 1e-6;
    const kaq::Noise noise = kaq::Noise::of_variance({&noise_var, 1});
    for (const bool one_matrix : {false, true}) {
        const Output all = agreed(net, link, noise, one_matrix);
        for (const int channel : {0, 6, 7, 8, 20})
            check_channel_alone(link, all, channel,
                                [&](const Link &one) { return agreed(net, one, noise, one_matrix); });
    }
}

BOOST_AUTO_TEST_CASE(symbols_of_linear_detectors_do_not_depend_on_whether_llrs_are_wanted) {
    check_symbols_alone<kaq::LinearPlan>(linear_network(Type::lmmse, 2), linear_kernels());
}

BOOST_AUTO_TEST_CASE(a_linear_plan_refuses_channels_that_are_not_finite) {
    check_refuses_channels<kaq::LinearPlan>(linear_network(Type::lmmse, 1), linear_kernels());
}

BOOST_AUTO_TEST_CASE(a_linear_plan_says_what_is_wrong) {
    const auto message = [](int bits, float half_distance, int channels, int num_rx, int num_tx, int threads) {
        return message_of([&] {
            kaq::LinearPlan({Type::lmmse, bits, half_distance}, *linear_kernels().front(), channels, num_rx, num_tx,
                            threads);
        });
    };
    BOOST_TEST(message(0, 0.5f, 1, 1, 1, 1) == "bits_per_dimension is 0; 1 to 4 expected");
    BOOST_TEST(message(5, 0.5f, 1, 1, 1, 1) == "bits_per_dimension is 5; 1 to 4 expected");
    BOOST_TEST(message(2, 0, 1, 1, 1, 1) == "half_distance is 0; above 0 and up to 1 expected");
    BOOST_TEST(message(2, NAN, 1, 1, 1, 1) == "half_distance is nan; above 0 and up to 1 expected");
    BOOST_TEST(message(2, 0.5f, 0, 1, 1, 1) == "num_channels is 0; at least 1 expected");
    BOOST_TEST(message(2, 0.5f, 1, 0, 1, 1) == "num_rx is 0; at least 1 expected");
    BOOST_TEST(message(2, 0.5f, 1, 1, -1, 1) == "num_tx is -1; at least 1 expected");
    BOOST_TEST(message(2, 0.5f, 1, 1, 1, 0) == "num_threads is 0; 1 to 1024 expected");
}
