// SPDX-License-Identifier: GPL-3.0-or-later
// After the first call, and with list detectors and linear ones from the first one on, neither an estimate nor a
// detection allocates memory.
#include <boost/test/unit_test.hpp>

#include "detection/instruction_sets.h"
#include "tests/allocations.h"
#include "tests/detection/links.h"

using namespace kaq_test;

BOOST_AUTO_TEST_CASE(plans_allocate_nothing_after_the_first_call) {
    for (const kaq::Kernel *kernel : kernels())
        for (const kaq::NetworkType type : {kaq::NetworkType::admm, kaq::NetworkType::pgd})
            for (const int threads : {1, 3})
                for (const int num_tx : {2, 16, 33}) {
                    kaq::Network net = network(type, 2, 3);
                    net.stream_steps = type == kaq::NetworkType::admm;
                    kaq::Plan plan(net, *kernel, 19, 2 * num_tx, num_tx, threads);
                    const Link link(net, 19, 40, 2 * num_tx, num_tx);
                    Output output = link.output();
                    link.prepare(plan);
                    link.detect(plan, output, 1);
                    const int allocations = allocations_of([&] {
                        for (const int vectors : {1, 40, 0, 7}) {
                            link.prepare(plan);
                            link.detect(plan, output, vectors);
                        }
                    });
                    BOOST_TEST(allocations == 0, kernel->name << ", " << static_cast<int>(type) << ", " << threads
                                                              << " threads, " << num_tx << " streams: " << allocations);
                }
}

BOOST_AUTO_TEST_CASE(plans_of_list_detectors_allocate_nothing_after_their_construction) {
    for (const kaq::Kernel *kernel : list_kernels())
        for (const int survivors : {8, 16})
            for (const int threads : {1, 3})
                for (const int num_tx : {2, 7}) {
                    const kaq::ListNetwork net = list_network(2, survivors, 2);
                    kaq::ListPlan plan(net, *kernel, 19, 2 * num_tx, num_tx, threads);
                    const Link link(net, 19, 20, 2 * num_tx, num_tx);
                    Output output = link.output();
                    const int allocations = allocations_of([&] {
                        for (const int vectors : {1, 20, 0, 7}) {
                            link.prepare(plan);
                            link.detect(plan, output, vectors);
                        }
                    });
                    BOOST_TEST(allocations == 0, kernel->name << ", " << survivors << " survivors, " << threads
                                                              << " threads, " << num_tx << " streams: " << allocations);
                }
}

BOOST_AUTO_TEST_CASE(plans_of_linear_detectors_allocate_nothing_after_their_construction) {
    using Type = kaq::LinearNetwork::Type;
    for (const kaq::Kernel *kernel : linear_kernels())
        for (const Type type : {Type::lmmse, Type::zero_forcing})
            for (const int threads : {1, 3})
                for (const int num_tx : {2, 7}) {
                    kaq::LinearPlan plan(linear_network(type, 2), *kernel, 19, 2 * num_tx, num_tx, threads);
                    Link link(plan.network(), 19, 20, 2 * num_tx, num_tx);
                    for (int r = 0; r < link.num_rx; ++r) // needs more than single precision
                        link.h[r * num_tx] = link.h[r * num_tx + 1];
                    Output output = link.output();
                    const int allocations = allocations_of([&] {
                        for (const int vectors : {1, 20, 0, 7}) {
                            link.prepare(plan);
                            link.detect(plan, output, vectors);
                        }
                    });
                    BOOST_TEST(allocations == 0, kernel->name << ", " << threads << " threads, " << num_tx
                                                              << " streams: " << allocations);
                }
}
