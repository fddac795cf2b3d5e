// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/allocations.h"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

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

namespace kaq_test {

void start_counting() {
    allocations = 0;
    counting = true;
}

int stop_counting() {
    counting = false;
    return allocations;
}

} // namespace kaq_test

namespace {

// Whose address is looked at cannot be optimized away.
template <typename T>
T *seen(T *pointer) {
    [[maybe_unused]] static void *volatile last;
    last = pointer;
    return pointer;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_counter_counts) {
    struct alignas(64) Line {
        int value[16];
    };
    const int count = kaq_test::allocations_of([] {
        delete seen(new int);
        delete[] seen(new int[3]);
        delete seen(new Line);
        delete[] seen(new Line[3]);
        delete seen(new (std::nothrow) int);
    });
    BOOST_TEST(count == 5);
}
