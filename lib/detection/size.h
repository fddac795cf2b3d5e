// SPDX-License-Identifier: GPL-3.0-or-later
// The size of a channel, and how its rows are padded for vector registers.
#pragma once

namespace kaq {

// Rows are padded with zeros to whole vector registers of int16, so that every kernel works on full registers. Few rows
// are padded to a power of two, and the registers then hold several vectors, one after the other.
inline constexpr int row_multiple = 32;
inline constexpr int max_streams = 64;
inline constexpr int max_rows = 2 * max_streams;

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

} // namespace kaq
