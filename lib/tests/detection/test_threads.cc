// SPDX-License-Identifier: GPL-3.0-or-later
// A plan with threads gives the bits of one without, whatever the shape and however often; run under ThreadSanitizer
// too.
#include <boost/test/unit_test.hpp>

#include <thread>
#include <tuple>
#include <vector>

#include "detection/instruction_sets.h"
#include "tests/detection/links.h"

using namespace kaq_test;

namespace {

struct Shape {
    int channels, vectors;
};

struct Unfolded {
    using Plan = kaq::Plan;
    static std::vector<const kaq::Kernel *> kernels() { return kaq_test::kernels(); }
    static std::vector<kaq::Network> networks() {
        kaq::Network in_fp32 = network(kaq::NetworkType::admm, 2, 3);
        in_fp32.precision = kaq::Precision::fp32;
        return {network(kaq::NetworkType::admm, 2, 3), in_fp32, network(kaq::NetworkType::pgd, 1, 3)};
    }
};

struct List {
    using Plan = kaq::ListPlan;
    static std::vector<const kaq::Kernel *> kernels() { return list_kernels(); }
    static std::vector<kaq::ListNetwork> networks() { return {list_network(2, 8, 1), list_network(1, 16, 1)}; }
};

struct Linear {
    using Plan = kaq::LinearPlan;
    using Type = kaq::LinearNetwork::Type;
    static std::vector<const kaq::Kernel *> kernels() { return linear_kernels(); }
    static std::vector<kaq::LinearNetwork> networks() {
        return {linear_network(Type::lmmse, 2), linear_network(Type::zero_forcing, 1)};
    }
};

using Detectors = std::tuple<Unfolded, List, Linear>;

} // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(any_number_of_threads_gives_the_same_bits, Detector, Detectors) {
    for (const kaq::Kernel *kernel : Detector::kernels())
        for (const auto &net : Detector::networks())
            // also more threads than channels, one channel for all, none of the vectors
            for (const Shape shape : {Shape{1, 1}, {1, 300}, {3, 7}, {40, 5}, {33, 70}, {64, 14}, {2, 0}}) {
                const Link link(net, shape.channels, shape.vectors, 8, 4);
                typename Detector::Plan alone(net, *kernel, shape.channels, 8, 4);
                const Output expected = link.run(alone);
                for (const int threads : {1, 2, 3, 7}) {
                    typename Detector::Plan plan(net, *kernel, shape.channels, 8, 4, threads);
                    for (int cycle = 0; cycle < 3; ++cycle)
                        BOOST_TEST((link.run(plan) == expected),
                                   kernel->name << " " << threads << " threads, " << shape.channels << " channels");
                }
            }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(many_short_cycles, Detector, Detectors) {
    const auto net = Detector::networks().back();
    const kaq::Kernel &kernel = kaq::select_kernel();
    for (const int channels : {6, 17}) {
        const Link links[] = {{net, channels, 3, 2, 2, 1}, {net, channels, 3, 2, 2, 2}};
        typename Detector::Plan alone(net, kernel, channels, 2, 2), plan(net, kernel, channels, 2, 2, 3);
        const Output expected[] = {links[0].run(alone), links[1].run(alone)};
        BOOST_TEST(!(expected[0] == expected[1]));
        int wrong = 0;
        for (int cycle = 0; cycle < 1000; ++cycle)
            wrong += !(links[cycle % 2].run(plan) == expected[cycle % 2]);
        BOOST_TEST(wrong == 0);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(several_estimates_before_a_detection_and_several_detections_after_one, Detector,
                              Detectors) {
    const auto net = Detector::networks().front();
    const Link first(net, 20, 4, 4, 4, 1), second(net, 20, 4, 4, 4, 2);
    typename Detector::Plan alone(net, kaq::select_kernel(), 20, 4, 4), plan(net, kaq::select_kernel(), 20, 4, 4, 4);
    const Output expected = second.run(alone);
    for (int cycle = 0; cycle < 20; ++cycle) {
        first.prepare(plan);
        second.prepare(plan);
        for (int again = 0; again < 3; ++again)
            BOOST_TEST((second.detect(plan) == expected));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(plans_of_several_threads_do_not_meet, Detector, Detectors) {
    const auto net = Detector::networks().front();
    const Link link(net, 18, 6, 4, 4);
    typename Detector::Plan alone(net, kaq::select_kernel(), 18, 4, 4);
    const Output expected = link.run(alone);
    std::vector<int> wrong(3);
    std::vector<std::thread> users;
    for (int &count : wrong)
        users.emplace_back([&] {
            for (int plans = 0; plans < 10; ++plans) {
                typename Detector::Plan plan(net, kaq::select_kernel(), 18, 4, 4, 1 + plans % 4);
                for (int cycle = 0; cycle < 10; ++cycle)
                    count += !(link.run(plan) == expected);
            }
        });
    for (std::thread &user : users)
        user.join();
    for (const int count : wrong)
        BOOST_TEST(count == 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_plan_may_end_at_any_time, Detector, Detectors) {
    const auto net = Detector::networks().front();
    const Link link(net, 5, 2, 4, 4);
    for (int cycle = 0; cycle < 50; ++cycle) {
        typename Detector::Plan plan(net, kaq::select_kernel(), 5, 4, 4, 1 + cycle % 8);
        if (cycle % 3)
            link.prepare(plan);
        if (cycle % 3 == 2)
            link.detect(plan);
    }
}
