// SPDX-License-Identifier: GPL-3.0-or-later
// One channel as integers; docs/internals/integer-model.md states widths and scales.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

namespace kaq {

// Rows are padded with zeros to whole vector registers of int16, so that every kernel works on full registers. Few rows
// are padded to a power of two, and the registers then hold several vectors, one after the other.
inline constexpr int row_multiple = 32;
inline constexpr int max_rows = 128;

// Rows of complex numbers are padded to whole vector registers of float.
inline constexpr int stream_multiple = 8;

constexpr int padded_rows(int rows) {
    for (const int few : {4, 8, 16})
        if (rows <= few)
            return few;
    return (rows + row_multiple - 1) / row_multiple * row_multiple;
}

// Antennas, streams, and the rows of the real-valued model.
struct Size {
    int num_rx;
    int num_tx;

    int rows() const { return 2 * num_tx; }
    int stride() const { return padded_rows(rows()); }                                  // from one vector to the next
    int positions() const { return stride() < row_multiple ? row_multiple : stride(); } // rows of all in the registers
    int stream_stride() const { return (num_tx + stream_multiple - 1) / stream_multiple * stream_multiple; }
};

// A matrix in the layout that its kernel multiplies with: entries, factors of its rows, and a bias if the kernel needs
// one (integer_layers.h). 64-byte aligned.
using PackedMatrix = std::byte;

// Views into the arrays of one channel. Where several vectors are in the registers, `positions` repeats the rows of
// one.
struct IntegerChannel {
    PackedMatrix *packed;       // [n][n] with zero diagonal, and rescale [K][n], Q12
    std::int16_t *diagonal;     // [K][positions], Q15
    std::int16_t *slope;        // [K][positions], Q9
    std::int16_t *inverse_step; // [K][positions], Q15
    std::int16_t *threshold;    // [K], state units
    std::int16_t *first_gain;   // [K], Q15
    std::int16_t *second_gain;  // [K][positions], Q15
    float *llr_scale;           // [stride]
};

// The metric that tells candidates apart, for one channel.
struct IntegerMetric {
    PackedMatrix *packed;   // [n][n] with zero diagonal, and rescale [1][n], Q12
    std::int16_t *diagonal; // [positions], gradient units
    std::uint8_t *soft_first;
    std::uint8_t *searched;
};

// How received samples become b, and the metric's c: m = M^H y, then b = scale m, or b = inverse m.
struct Filter {
    std::complex<float> *first;   // M: [num_rx][stream_stride]
    std::complex<float> *inverse; // [num_tx][stream_stride], Hermitian; nullptr: b = scale m
    float *scale;                 // [1]
    float *matched_scale;         // [1], c = matched_scale m; nullptr: no c
};

// All of a channel.
struct PreparedChannel {
    Filter filter;
    IntegerChannel integers;
    IntegerMetric metric;
};

// A matrix and the factors of its rows in plain order: what tests read and write.
struct PlainMatrix {
    Size size;
    std::int8_t *matrix;   // [rows][positions]
    std::int32_t *rescale; // [num_rescales][positions]
    int num_rescales;
};

} // namespace kaq
