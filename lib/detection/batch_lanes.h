// SPDX-License-Identifier: GPL-3.0-or-later
// The array of a batch as vectors of lanes. Compiled for the instruction set of each kernel.
#pragma once

#include <cstddef>

#include "support/linear_algebra.h"

namespace kaq {
namespace {

// Values begin at a number of vectors; integers share the array.
struct BatchLanes {
    float *data;

    Lanes &operator()(std::size_t begin, std::size_t index = 0) const { return at(data, begin + index); }
    LanesInt &integer(std::size_t begin, std::size_t index = 0) const {
        return reinterpret_cast<LanesInt *>(data)[begin + index];
    }
    // [rows][columns], real parts first, then imaginary parts.
    Matrix matrix(std::size_t begin, int rows, int columns) const {
        float *re = data + begin * native_lanes;
        return {re, re + static_cast<std::size_t>(rows) * columns * native_lanes, columns};
    }
};

} // namespace
} // namespace kaq
