// SPDX-License-Identifier: GPL-3.0-or-later
// After the first call, neither an estimate nor a detection allocates memory.
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "detection/instruction_sets.h"
#include "tests/detection/links.h"

using namespace kaq_test;

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void *allocate(std::size_t size, std::size_t alignment) {
    if (counting)
        ++allocations;
    if (void *memory = std::aligned_alloc(alignment, (size + alignment) / alignment * alignment))
        return memory;
    throw std::bad_alloc();
}

} // namespace

#pragma GCC diagnostic ignored "-Wmismatched-new-delete" // new and delete are these
void *operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void *operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
// Of arrays, and those that do not throw: the library's call the ones above.

BOOST_AUTO_TEST_CASE(the_counter_counts) {
    counting = true;
    delete new int;
    delete[] new int[3];
    struct alignas(64) Line {
        int value[16];
    };
    delete new Line;
    delete[] new Line[3];
    delete new (std::nothrow) int;
    counting = false;
    BOOST_TEST(allocations == 5);
}

BOOST_AUTO_TEST_CASE(nothing_is_allocated_after_the_first_call) {
    for (const kaq::Kernel *kernel : kernels())
        for (const int candidates : {-1, 0, 3}) // -1: PGD-Net
            for (const int threads : {1, 3})
                for (const int num_tx : {2, 16, 33}) {
                    kaq::Network net = network(candidates < 0 ? kaq::NetworkType::pgd : kaq::NetworkType::admm, 2, 3);
                    net.candidates = std::max(candidates, 0);
                    net.stream_steps = candidates > 0;
                    kaq::Plan plan(net, *kernel, 19, 2 * num_tx, num_tx, threads);
                    const Link link(net, 19, 40, 2 * num_tx, num_tx);
                    Output output = link.output();
                    link.prepare(plan);
                    link.detect(plan, output, 1);
                    allocations = 0;
                    counting = true;
                    for (const int vectors : {1, 40, 0, 7}) {
                        link.prepare(plan);
                        link.detect(plan, output, vectors);
                    }
                    counting = false;
                    BOOST_TEST(allocations == 0, kernel->name << ", " << candidates << " candidates, " << threads
                                                              << " threads, " << num_tx << " streams: " << allocations);
                }
}
