// SPDX-License-Identifier: GPL-3.0-or-later
// Microbenchmarks: what this machine itself reaches, in the run that is compared with it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace speed {

// An instruction that multiplies and adds.
struct DotProduct {
    std::string name;  // operand and instruction, as "int8 vpdpbusd, 512 bits"
    int multiply_adds; // of one iteration of the loop that times it
    bool available;    // on this processor
};

// All that this build knows of.
std::vector<DotProduct> dot_products();

// Seconds of so many iterations with instruction `index` of dot_products(), with enough independent accumulators that
// only its throughput counts.
double time_dot_product(std::size_t index, long iterations);

// Clock in Hz, from a chain of dependent additions.
double clock_rate(long iterations);

// Bytes per second when a buffer of `bytes` is read again and again, `total` bytes in all.
double read_bandwidth(std::size_t bytes, std::size_t total);

} // namespace speed
