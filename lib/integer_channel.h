// SPDX-License-Identifier: GPL-3.0-or-later
// One channel as integers; docs/integer-model.md states widths and scales.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kaq {

// Rows are padded with zeros to whole vector registers of int16, so that every kernel works on full registers.
inline constexpr int row_multiple = 32;
inline constexpr int max_rows = 128;

constexpr int padded_rows(int rows) { return (rows + row_multiple - 1) / row_multiple * row_multiple; }

// Views into the arrays of one channel. `stride` is padded_rows(rows).
struct IntegerChannel {
    int rows;                         // n = 2 num_tx
    int stride;                       // rows with padding
    const std::int8_t *matrix;        // [rows][stride], zero diagonal
    const std::int16_t *diagonal;     // [K][stride], Q15
    const std::int32_t *rescale;      // [K][stride], Q12
    const std::int16_t *slope;        // [K][stride], Q9
    const std::int16_t *inverse_step; // [K][stride], Q15
    const std::int16_t *threshold;    // [K], state units
    const std::int16_t *first_gain;   // [K], Q15
    const std::int16_t *second_gain;  // [K][stride], Q15
};

// The metric that tells candidates apart, for one channel.
struct IntegerMetric {
    int rows;
    int stride;
    const std::int8_t *matrix;    // [rows][stride], zero diagonal
    const std::int32_t *rescale;  // [stride], Q12
    const std::int16_t *diagonal; // [stride], gradient units
};

// A matrix, and the factors of its rows that go with it: what a kernel packs.
struct RescaledMatrix {
    int rows;
    int stride;
    const std::int8_t *matrix;   // [rows][stride]
    const std::int32_t *rescale; // [num_rescales][stride]
    int num_rescales;
};

} // namespace kaq
