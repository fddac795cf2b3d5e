// SPDX-License-Identifier: GPL-3.0-or-later
// Counts what is allocated. allocations.cc replaces operator new: not for sanitizers, which have one of their own.
#pragma once

namespace kaq_test {

void start_counting();
int stop_counting(); // how often memory was allocated since, on any thread

// How often work() allocates memory.
template <typename Work>
int allocations_of(const Work &work) {
    start_counting();
    work();
    return stop_counting();
}

} // namespace kaq_test
