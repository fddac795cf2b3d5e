// SPDX-License-Identifier: GPL-3.0-or-later
// What is refused, and that the message names what was given and what is expected.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <functional>
#include <string>

#include "tests/detection/links.h"

using namespace kaq_test;

namespace {

struct Refused {
    const char *text; // of the message
    kaq::NetworkType type;
    std::function<void(kaq::Network &)> spoil;
};

std::string message_of_plan(int num_channels, int num_rx, int num_tx, int num_threads) {
    return message_of([&] {
        kaq::Plan(network(kaq::NetworkType::admm, 1, 1), *kernels().front(), num_channels, num_rx, num_tx, num_threads);
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(a_network_says_what_is_wrong_with_it) {
    using enum kaq::NetworkType;
    const Refused all[] = {
        {"bits_per_dimension is 5; 1 to 4 expected", admm, [](auto &net) { net.bits_per_dimension = 5; }},
        {"bits_per_dimension is 0; 1 to 4 expected", pgd, [](auto &net) { net.bits_per_dimension = 0; }},
        {"half_distance is 0; above 0 expected", admm, [](auto &net) { net.half_distance = 0; }},
        {"half_distance is nan; above 0 expected", admm, [](auto &net) { net.half_distance = NAN; }},
        {"layer 1: activation_max is 128; 1 to 127 expected", admm,
         [](auto &net) { net.layers[1].activation_max = 128; }},
        {"matrix_max is 0; 1 to 127 expected", admm, [](auto &net) { net.matrix_max = 0; }},
        {"matrix_clip is 1.5; above 0, and at most 1 expected", admm, [](auto &net) { net.matrix_clip = 1.5f; }},
        {"output_spread is -1; at least 0 expected", admm, [](auto &net) { net.output_spread = -1; }},
        {"layer 0: activation_max is 6; an odd number expected, as midrise is true", admm,
         [](auto &net) { net.midrise = true, net.layers[0].activation_max = 6; }},
        {"matrix_max is 2; an odd number expected", admm, [](auto &net) { net.midrise = true, net.matrix_max = 2; }},
        {"midrise is true; a PGD-Net starts from 0", pgd, [](auto &net) { net.midrise = true; }},
        {"stream_steps is true; a PGD-Net", pgd, [](auto &net) { net.stream_steps = true; }},
        {"the network has 0 layers; 1 to 32 expected", admm, [](auto &net) { net.layers.clear(); }},
        {"the network has 33 layers; 1 to 32 expected", pgd, [](auto &net) { net.layers.resize(33); }},
        {"snr_low_db is 31; at most snr_high_db, 30, expected", admm, [](auto &net) { net.snr_low_db = 31; }},
        {"layer 1 has no ramp", admm, [](auto &net) { net.layers[1].prox = kaq::Prox::none; }},
        {"layer 2: step may be as low as 0; ", pgd, [](auto &net) { net.layers[2].step = {}; }},
        {"layer 0: variance may be as low as 0; ", admm, [](auto &net) { net.layers[0].variance = {}; }},
        {"output_variance may be as low as 0; ", admm, [](auto &net) { net.output_variance = {}; }},
        {"regularization may be as low as -1; ", pgd, [](auto &net) { net.regularization.low = -1; }},
    };
    for (const Refused &refused : all) {
        kaq::Network net = network(refused.type, 2, 3);
        net.check();
        refused.spoil(net);
        const std::string message = message_of([&] { net.check(); });
        BOOST_TEST(message.find(refused.text) == 0u, message << " instead of " << refused.text);
        // a plan takes no other
        BOOST_TEST(message_of([&] { kaq::Plan(net, *kernels().front(), 1, 1, 1); }) == message);
    }
}

BOOST_AUTO_TEST_CASE(a_plan_says_what_it_has_no_room_for) {
    BOOST_TEST(message_of_plan(1, 64, 64, 1) == "nothing was thrown");
    BOOST_TEST(message_of_plan(1, 72, 72, 1) == "num_tx is 72; 1 to 64 expected");
    BOOST_TEST(message_of_plan(1, 1, 0, 1) == "num_tx is 0; 1 to 64 expected");
    BOOST_TEST(message_of_plan(0, 1, 1, 1) == "num_channels is 0; at least 1 expected");
    BOOST_TEST(message_of_plan(1, -3, 1, 1) == "num_rx is -3; at least 1 expected");
    BOOST_TEST(message_of_plan(1, 1, 1, 0) == "num_threads is 0; 1 to 1024 expected");
    BOOST_TEST(message_of_plan(1, 1, 1, 1025) == "num_threads is 1025; 1 to 1024 expected");
}
