// SPDX-License-Identifier: GPL-3.0-or-later
// Which list detectors are refused, and that the message names what was given and what is expected.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "tests/detection/links.h"

using namespace kaq_test;

namespace {

struct Refused {
    const char *text; // of the message
    std::function<void(kaq::ListNetwork &)> spoil;
};

std::string message_of_plan(int num_channels, int num_rx, int num_tx, int num_threads) {
    return message_of([&] {
        kaq::ListPlan(list_network(1, 8, 1), *list_kernels().front(), num_channels, num_rx, num_tx, num_threads);
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(a_list_network_says_what_is_wrong_with_it) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const Refused all[] = {
        {"bits_per_dimension is 5; 1 to 4 expected", [](auto &net) { net.bits_per_dimension = 5; }},
        {"bits_per_dimension is 0; 1 to 4 expected", [](auto &net) { net.bits_per_dimension = 0; }},
        {"half_distance is 0; a positive number expected", [](auto &net) { net.half_distance = 0; }},
        {"half_distance is nan; a positive number expected", [](auto &net) { net.half_distance = NAN; }},
        {"half_distance is inf; a positive number expected", [](auto &net) { net.half_distance = infinity; }},
        {"half_distance is 3e+38; a positive number expected", [](auto &net) { net.half_distance = 3e38f; }},
        {"survivors is 12; 8 or 16 expected", [](auto &net) { net.survivors = 12; }},
        {"largest_entry is 0; 1 to 32639 expected", [](auto &net) { net.largest_entry = 0; }},
        {"largest_entry is 32640; 1 to 32639 expected", [](auto &net) { net.largest_entry = 32640; }},
        {"the step's alpha and gamma are -1 and ", [](auto &net) { net.step_alpha = -1; }},
        {"the step's alpha and gamma are 0.0625 and nan; ", [](auto &net) { net.step_gamma = NAN; }},
        {"the step's alpha and gamma are inf and ", [](auto &net) { net.step_alpha = infinity; }},
        {"5 layers; 4 at most expected", [](auto &net) { net.layers.resize(5, net.layers[0]); }},
        {"damping is 1.5; 0 to 1 expected", [](auto &net) { net.layers[1].damping = 1.5f; }},
        {"damping is nan; 0 to 1 expected", [](auto &net) { net.layers[0].damping = NAN; }},
        {"least_variance is 0; a positive number expected", [](auto &net) { net.layers[1].least_variance = 0; }},
        {"least_variance is inf; a positive ", [](auto &net) { net.layers[0].least_variance = infinity; }},
        {"0 knots; 1 to 16 expected", [](auto &net) { net.knots.clear(); }},
        {"17 knots; 1 to 16 expected", [](auto &net) { net.knots.resize(17, 1); }},
        {"knot 0 is 0; a finite number above 0 expected", [](auto &net) { net.knots[0] = 0; }},
        {"knot 1 is nan; a finite number above 1 expected", [](auto &net) { net.knots[1] = NAN; }},
        {"knot 2 is 4; a finite number above 4 expected", [](auto &net) { net.knots[2] = 4; }},
        {"knot 2 is inf; a finite number above 4 expected", [](auto &net) { net.knots[2] = infinity; }},
        {"a weight of the fusion is nan; ", [](auto &net) { net.fusion[0].list_narrow[1][2] = NAN; }},
        {"no weights of the fusion; ", [](auto &net) { net.fusion.clear(); }},
        {"curves of 1 kinds of bits; 2 expected", [](auto &net) { net.fusion[1].propagation_wide.pop_back(); }},
        {"2 weights of a curve; one for each of the 3 ", [](auto &net) { net.fusion[0].list_wide[1].pop_back(); }},
    };
    for (const Refused &refused : all) {
        kaq::ListNetwork net = list_network(2, 8, 2);
        net.check();
        refused.spoil(net);
        const std::string message = message_of([&] { net.check(); });
        BOOST_TEST(message.find(refused.text) == 0u, message << " instead of " << refused.text);
        // a plan takes no other
        BOOST_TEST(message_of([&] { kaq::ListPlan(net, *list_kernels().front(), 1, 1, 1); }) == message);
    }
}

BOOST_AUTO_TEST_CASE(a_list_plan_says_what_it_has_no_room_for) {
    BOOST_TEST(message_of_plan(1, 64, 16, 1) == "nothing was thrown");
    BOOST_TEST(message_of_plan(1, 17, 17, 1) == "num_tx is 17; 1 to 16 expected");
    BOOST_TEST(message_of_plan(1, 1, 0, 1) == "num_tx is 0; 1 to 16 expected");
    BOOST_TEST(message_of_plan(1, 65, 1, 1) == "num_rx is 65; 1 to 64 expected");
    BOOST_TEST(message_of_plan(1, -3, 1, 1) == "num_rx is -3; 1 to 64 expected");
    BOOST_TEST(message_of_plan(0, 1, 1, 1) == "num_channels is 0; at least 1 expected");
    BOOST_TEST(message_of_plan(1, 1, 1, 0) == "num_threads is 0; 1 to 1024 expected");
    BOOST_TEST(message_of_plan(1, 1, 1, 1025) == "num_threads is 1025; 1 to 1024 expected");
}

BOOST_AUTO_TEST_CASE(the_weights_follow_the_number_of_streams) {
    const kaq::ListNetwork net = list_network(2, 8, 1);
    BOOST_TEST(&net.fusion_for(1) == &net.fusion[0]);
    BOOST_TEST(&net.fusion_for(2) == &net.fusion[0]);
    BOOST_TEST(&net.fusion_for(3) == &net.fusion[1]);
    BOOST_TEST(&net.fusion_for(16) == &net.fusion[1]);
}

BOOST_AUTO_TEST_CASE(a_kernel_of_another_build_is_refused) {
    const kaq::Kernel other = *list_kernels().front();
    BOOST_CHECK_THROW(kaq::list_kernel_of(other), std::invalid_argument);
}
