// SPDX-License-Identifier: GPL-3.0-or-later
// Where the stages of prepare_channels.h leave their results for each other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "detection/kernel.h"
#include "detection/size.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

// The rows of a Hermitian matrix without its diagonal, each quantized with its own step.
struct QuantizedRows {
    float *diagonal;          // [n][lane]
    float *step;              // [n][lane]
    std::int32_t *entries[2]; // [n][n][lane], real and imaginary parts
    std::int32_t *sum[2];     // [n][lane], of rows i and n + i of the real-valued model
};

// Where everything lies in the scratch, [..][lane].
struct Scratch {
    Matrix h, gram, inverse;
    Matrix direct; // H A, where that is the filter
    QuantizedRows rows;
    float *precision, *relative, *stream_scale, *column_scale; // [n][lane]
    float *by_channel;                                         // [lane][row_kinds][padded_streams]
    std::size_t floats = 0;                                    // of all

    // from == nullptr: only `floats` is of use.
    Scratch(const Size &size, float *from);
};

// What is scattered to each channel's own rows.
enum RowKind { of_diagonal, of_step, of_precision, of_stream_scale, row_kinds };

// Streams, padded to whole vector registers of any kernel.
inline int padded_streams(const Size &size) { return (size.num_tx + max_lanes - 1) / max_lanes * max_lanes; }

inline Scratch::Scratch(const Size &size, float *from) {
    const std::size_t n = size.num_tx, square = n * n * native_lanes, tall = size.num_rx * n * native_lanes;
    const auto take = [&](std::size_t count) {
        float *taken = from ? from + floats : nullptr;
        floats += (count + max_lanes - 1) / max_lanes * max_lanes;
        return taken;
    };
    const auto matrix = [&](std::size_t count) { return Matrix{take(count), take(count), static_cast<int>(n)}; };
    h = matrix(tall);
    gram = matrix(square);
    inverse = matrix(square);
    direct = matrix(tall);
    rows.diagonal = take(n * native_lanes);
    rows.step = take(n * native_lanes);
    for (int part = 0; part < 2; ++part) {
        rows.entries[part] = reinterpret_cast<std::int32_t *>(take(square));
        rows.sum[part] = reinterpret_cast<std::int32_t *>(take(n * native_lanes));
    }
    precision = take(n * native_lanes);
    relative = take(n * native_lanes);
    stream_scale = take(n * native_lanes);
    column_scale = take(n * native_lanes);
    by_channel = take(static_cast<std::size_t>(native_lanes) * row_kinds * padded_streams(size));
}

inline std::size_t scratch_floats(const Size &size) { return Scratch(size, nullptr).floats; }

// The rows of one channel after they were scattered.
inline float *rows_of(const Scratch &scratch, const Size &size, int lane) {
    return scratch.by_channel + static_cast<std::size_t>(lane) * row_kinds * padded_streams(size);
}

} // namespace
} // namespace kaq
