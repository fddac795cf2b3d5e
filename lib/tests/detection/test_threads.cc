// SPDX-License-Identifier: GPL-3.0-or-later
// A plan with threads gives the bits of one without, whatever the shape and however often; run under ThreadSanitizer
// too.
#include <boost/test/unit_test.hpp>

#include <thread>
#include <vector>

#include "detection/instruction_sets.h"
#include "tests/detection/links.h"

using namespace kaq_test;

namespace {

struct Shape {
    int channels, vectors;
};

std::vector<kaq::Network> networks() {
    return {network(kaq::NetworkType::admm, 2, 3), network(kaq::NetworkType::pgd, 1, 3)};
}

} // namespace

BOOST_AUTO_TEST_CASE(any_number_of_threads_gives_the_same_bits) {
    for (const kaq::Kernel *kernel : kernels())
        for (const kaq::Network &net : networks())
            // also more threads than channels, one channel for all, none of the vectors
            for (const Shape shape : {Shape{1, 1}, {1, 300}, {3, 7}, {40, 5}, {64, 14}, {2, 0}}) {
                const Link link(net, shape.channels, shape.vectors, 8, 4);
                kaq::Plan alone(net, *kernel, shape.channels, 8, 4);
                const Output expected = link.run(alone);
                for (const int threads : {1, 2, 3, 7}) {
                    kaq::Plan plan(net, *kernel, shape.channels, 8, 4, threads);
                    for (int cycle = 0; cycle < 3; ++cycle)
                        BOOST_TEST((link.run(plan) == expected),
                                   kernel->name << " " << threads << " threads, " << shape.channels << " channels");
                }
            }
}

BOOST_AUTO_TEST_CASE(many_short_cycles) {
    const kaq::Network net = network(kaq::NetworkType::admm, 1, 2);
    const kaq::Kernel &kernel = kaq::select_kernel();
    const Link links[] = {{net, 6, 3, 2, 2, 1}, {net, 6, 3, 2, 2, 2}};
    kaq::Plan alone(net, kernel, 6, 2, 2), plan(net, kernel, 6, 2, 2, 3);
    const Output expected[] = {links[0].run(alone), links[1].run(alone)};
    BOOST_TEST(!(expected[0] == expected[1]));
    int wrong = 0;
    for (int cycle = 0; cycle < 1000; ++cycle)
        wrong += !(links[cycle % 2].run(plan) == expected[cycle % 2]);
    BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(several_estimates_before_a_detection_and_several_detections_after_one) {
    const kaq::Network net = network(kaq::NetworkType::admm, 2, 2);
    const Link first(net, 20, 4, 4, 4, 1), second(net, 20, 4, 4, 4, 2);
    kaq::Plan alone(net, kaq::select_kernel(), 20, 4, 4), plan(net, kaq::select_kernel(), 20, 4, 4, 4);
    const Output expected = second.run(alone);
    for (int cycle = 0; cycle < 20; ++cycle) {
        first.prepare(plan);
        second.prepare(plan);
        for (int again = 0; again < 3; ++again)
            BOOST_TEST((second.detect(plan) == expected));
    }
}

BOOST_AUTO_TEST_CASE(plans_of_several_threads_do_not_meet) {
    const kaq::Network net = network(kaq::NetworkType::admm, 2, 2);
    const Link link(net, 16, 6, 4, 4);
    kaq::Plan alone(net, kaq::select_kernel(), 16, 4, 4);
    const Output expected = link.run(alone);
    std::vector<int> wrong(3);
    std::vector<std::thread> users;
    for (int &count : wrong)
        users.emplace_back([&] {
            for (int plans = 0; plans < 10; ++plans) {
                kaq::Plan plan(net, kaq::select_kernel(), 16, 4, 4, 2);
                for (int cycle = 0; cycle < 10; ++cycle)
                    count += !(link.run(plan) == expected);
            }
        });
    for (std::thread &user : users)
        user.join();
    for (const int count : wrong)
        BOOST_TEST(count == 0);
}

BOOST_AUTO_TEST_CASE(a_plan_may_end_at_any_time) {
    const kaq::Network net = network(kaq::NetworkType::admm, 2, 2);
    const Link link(net, 5, 2, 4, 4);
    for (int cycle = 0; cycle < 50; ++cycle) {
        kaq::Plan plan(net, kaq::select_kernel(), 5, 4, 4, 1 + cycle % 8);
        if (cycle % 3)
            link.prepare(plan);
        if (cycle % 3 == 2)
            link.detect(plan);
    }
}

BOOST_AUTO_TEST_CASE(any_number_of_threads_gives_the_same_list) {
    const kaq::ListNetwork net = list_network(2, 8, 1);
    for (const kaq::Kernel *kernel : list_kernels())
        for (const Shape shape : {Shape{1, 1}, {1, 300}, {3, 7}, {40, 5}, {33, 70}, {2, 0}}) {
            const Link link(net, shape.channels, shape.vectors, 6, 4);
            kaq::ListPlan alone(net, *kernel, shape.channels, 6, 4);
            const Output expected = link.run(alone);
            for (const int threads : {2, 3, 7}) {
                kaq::ListPlan plan(net, *kernel, shape.channels, 6, 4, threads);
                for (int cycle = 0; cycle < 3; ++cycle)
                    BOOST_TEST((link.run(plan) == expected),
                               kernel->name << " " << threads << " threads, " << shape.channels << " channels");
            }
        }
}

BOOST_AUTO_TEST_CASE(many_short_cycles_of_a_list) {
    const kaq::ListNetwork net = list_network(1, 8, 1);
    const kaq::Kernel &kernel = kaq::select_kernel();
    const Link links[] = {{net, 17, 3, 2, 2, 1}, {net, 17, 3, 2, 2, 2}};
    kaq::ListPlan alone(net, kernel, 17, 2, 2), plan(net, kernel, 17, 2, 2, 3);
    const Output expected[] = {links[0].run(alone), links[1].run(alone)};
    BOOST_TEST(!(expected[0] == expected[1]));
    int wrong = 0;
    for (int cycle = 0; cycle < 1000; ++cycle)
        wrong += !(links[cycle % 2].run(plan) == expected[cycle % 2]);
    BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(list_plans_of_several_threads_do_not_meet_and_may_end_at_any_time) {
    const kaq::ListNetwork net = list_network(2, 16, 1);
    const Link link(net, 18, 6, 4, 4);
    kaq::ListPlan alone(net, kaq::select_kernel(), 18, 4, 4);
    const Output expected = link.run(alone);
    std::vector<int> wrong(3);
    std::vector<std::thread> users;
    for (int &count : wrong)
        users.emplace_back([&] {
            for (int plans = 0; plans < 10; ++plans) {
                kaq::ListPlan plan(net, kaq::select_kernel(), 18, 4, 4, 1 + plans % 4);
                for (int cycle = 0; cycle < plans; ++cycle)
                    count += !(link.run(plan) == expected);
            }
        });
    for (std::thread &user : users)
        user.join();
    for (const int count : wrong)
        BOOST_TEST(count == 0);
}
