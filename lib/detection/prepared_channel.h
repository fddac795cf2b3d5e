// SPDX-License-Identifier: GPL-3.0-or-later
// One channel as a detection reads it, and as `prepare` writes it: views into the arrays of a plan.
// docs/internals/integer-model.md states widths and scales.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "detection/size.h"
#include "support/views.h"

namespace kaq {

// What may be done with what a view shows.
enum class Access { read, write };

template <typename T, Access access>
using Accessible = std::conditional_t<access == Access::read, const T, T>;

// The values of the layers. K layers; where several vectors are in the registers, `positions` repeats the rows of one.
template <Access access>
struct IntegerChannelOf {
    template <typename T>
    using Array = std::span<Accessible<T, access>>;

    Array<std::byte> packed;          // the matrix [n][n] with zero diagonal, and rescale [K][n], Q12 (packed_matrix.h)
    Array<std::int16_t> diagonal;     // [K][positions], Q15
    Array<std::int16_t> slope;        // [K][positions], Q9
    Array<std::int16_t> inverse_step; // [K][positions], Q15
    Array<std::int16_t> threshold;    // [K], state units
    Array<std::int16_t> first_gain;   // [K], Q15
    Array<std::int16_t> second_gain;  // [K][positions], Q15
    Array<float> llr_scale;           // [positions]
};

// How received samples become b: m = M^H y, then b = scale m, or b = inverse m.
template <Access access>
struct FilterOf {
    template <typename T>
    using Array = std::span<Accessible<T, access>>;

    Array<std::complex<float>> first;   // M: [num_rx][stream_stride]
    Array<std::complex<float>> inverse; // [num_tx][stream_stride], Hermitian; empty: b = scale m
    Array<float> scale;                 // [1]; empty: 1
};

template <Access access>
struct ChannelOf {
    FilterOf<access> filter;
    IntegerChannelOf<access> integers;
};

using IntegerChannel = IntegerChannelOf<Access::read>;
using Filter = FilterOf<Access::read>;
using PreparedChannel = ChannelOf<Access::read>;
using ChannelToPrepare = ChannelOf<Access::write>;

// A matrix and the factors of its rows in plain order: what tests read and write.
template <Access access>
struct PlainMatrixOf {
    Size size;
    ArrayView<Accessible<std::int8_t, access>, 2> matrix;   // [rows][positions]
    ArrayView<Accessible<std::int32_t, access>, 2> rescale; // [num_rescales][positions]
};

using PlainMatrix = PlainMatrixOf<Access::read>;
using PlainMatrixToFill = PlainMatrixOf<Access::write>;

} // namespace kaq
