// SPDX-License-Identifier: GPL-3.0-or-later
// What a plan promises, at the edges of its buffers and of its arguments; the sanitizers run this too. That every
// kernel gives the bits of the reference is tested in tests/detection/test_native_kernel.py and
// tests/detection/test_replay.py.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "tests/detection/hard_links.h"

using namespace kaq_test;

BOOST_AUTO_TEST_CASE(detects_without_noise_at_every_size) {
    for (const kaq::Kernel *kernel : kernels())
        for (const int bits : {1, 2, 3, 4})
            for (const int num_tx : {1, 2, 5, 16, 17, 33, 48, 64}) {
                const auto net = network(kaq::NetworkType::admm, bits, 3);
                const Link link(net, num_tx > 16 ? 3 : 18, num_tx > 16 ? 5 : 35, 2 * num_tx, num_tx);
                kaq::Plan plan(net, *kernel, link.channels, link.num_rx, num_tx);
                const Output out = link.run(plan);
                BOOST_TEST(out.num_invalid == 0u);
                BOOST_TEST(worst_error(link, out) < 0.5f * net.half_distance,
                           kernel->name << " " << bits << " " << num_tx);
            }
}

BOOST_AUTO_TEST_CASE(clips_and_steps_of_streams_keep_what_is_right) {
    for (const kaq::Kernel *kernel : kernels())
        for (const int num_tx : {1, 2, 5, 17, 48, 64}) {
            auto net = network(kaq::NetworkType::admm, 2, 3);
            net.stream_steps = true;
            net.matrix_clip = 0.8f;
            const Link link(net, 3, 5, 2 * num_tx, num_tx);
            kaq::Plan plan(net, *kernel, link.channels, link.num_rx, num_tx);
            BOOST_TEST(worst_error(link, link.run(plan)) < 0.5f * net.half_distance);
        }
}

BOOST_AUTO_TEST_CASE(runs_every_layer_type) {
    for (const kaq::Kernel *kernel : kernels())
        for (const kaq::Prox prox : {kaq::Prox::none, kaq::Prox::soft_threshold, kaq::Prox::ramp}) {
            auto net = network(kaq::NetworkType::pgd, 2, 4);
            for (kaq::Layer &layer : net.layers)
                layer.prox = prox;
            const Link link(net, 2, 7, 12, 5);
            kaq::Plan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
            for (const float llr : link.run(plan).llrs)
                BOOST_TEST(std::isfinite(llr));
        }
}

BOOST_AUTO_TEST_CASE(a_vector_with_nan_is_zero_and_counted) {
    for (const kaq::Kernel *kernel : kernels()) {
        const auto net = network(kaq::NetworkType::admm, 2, 3);
        Link link(net, 2, 6, 4, 4);
        link.y[0] = {NAN, 0};
        kaq::Plan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
        const Output out = link.run(plan);
        BOOST_TEST(out.num_invalid == 1u);
        for (int j = 0; j < 4; ++j)
            BOOST_TEST(out.symbols[j] == Complex{});
        for (int i = 0; i < 4 * 4; ++i)
            BOOST_TEST(out.llrs[i] == 0.0f);
        BOOST_TEST(out.symbols[4] != Complex{});
    }
}

BOOST_AUTO_TEST_CASE(detects_whatever_the_gain_of_the_radio) {
    for (const kaq::Kernel *kernel : kernels())
        for (const int exponent : {-45, -10, 10, 50, 100}) {
            const auto net = network(kaq::NetworkType::admm, 2, 3);
            Link link(net, 3, 9, 6, 3);
            set_radio_gain(link, exponent);
            kaq::Plan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
            const double snr_db = 30;
            plan.prepare(link.h, kaq::Noise::of_snr_db({&snr_db, 1}));
            BOOST_TEST(worst_error(link, link.detect(plan)) < 0.5f * net.half_distance,
                       kernel->name << " 2^" << exponent);
        }
}

BOOST_AUTO_TEST_CASE(any_noise_gives_finite_llrs) {
    for (const kaq::Kernel *kernel : kernels())
        for (const kaq::NetworkType type : {kaq::NetworkType::admm, kaq::NetworkType::pgd})
            for (const double noise_var : {0.0, 5e-324, 1e30, 1e300}) {
                const auto net = network(type, 2, 3);
                const Link link(net, 3, 9, 6, 3);
                kaq::Plan plan(net, *kernel, link.channels, link.num_rx, link.num_tx);
                plan.prepare(link.h, kaq::Noise::of_variance({&noise_var, 1}));
                for (const float llr : link.detect(plan).llrs)
                    BOOST_TEST(std::isfinite(llr));
            }
}

BOOST_AUTO_TEST_CASE(refuses_what_it_has_no_room_for) {
    const auto net = network(kaq::NetworkType::admm, 1, 1);
    const auto &kernel = *kernels().front();
    BOOST_CHECK_THROW(kaq::Plan(net, kernel, 1, 65, 65), std::invalid_argument);
    BOOST_CHECK_THROW(kaq::Plan(net, kernel, 0, 1, 1), std::invalid_argument);
    BOOST_CHECK_THROW(kaq::Plan(net, kernel, 1, 0, 1), std::invalid_argument);
    BOOST_CHECK_THROW(kaq::Plan(net, kernel, 1, 1, 0), std::invalid_argument);
    BOOST_CHECK_THROW(kaq::Plan(net, kernel, 1, 1, 1, 0), std::invalid_argument);
    BOOST_CHECK_THROW(kaq::Plan(net, kernel, 1, 1, 1, -1), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(refuses_channels_that_are_not_finite) {
    const auto net = network(kaq::NetworkType::admm, 1, 1);
    check_refuses_channels<kaq::Plan>(net, kernels());
}

BOOST_AUTO_TEST_CASE(the_environment_names_the_kernel) {
    for (const kaq::Kernel *kernel : kaq::available_kernels()) {
        setenv("GR_KAQ_INSTRUCTION_SET", kernel->name, 1);
        BOOST_TEST(&kaq::select_kernel() == kernel);
    }
    setenv("GR_KAQ_INSTRUCTION_SET", "z80", 1);
    BOOST_CHECK_THROW(kaq::select_kernel(), std::invalid_argument);
    unsetenv("GR_KAQ_INSTRUCTION_SET");
    BOOST_TEST(&kaq::select_kernel() == kaq::available_kernels().front());
}
