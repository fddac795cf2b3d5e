// SPDX-License-Identifier: GPL-3.0-or-later
// Matrices of channels, one in each lane, to int8, and to the layout that they are multiplied in. Compiled for the
// instruction set of each kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "detection/packed_matrix.h"
#include "detection/prepare_scratch.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

constexpr float stream_scale_limit = 8; // as in quantization.py

// Each row of scale * matrix, without its diagonal, in steps of clip times its largest entry over `largest`. Column j
// is multiplied by column_scale[j] first; nullptr: by 1.
inline void quantize_rows(int n, const Matrix &matrix, const Lanes &scale, const float *column_scale, float clip,
                          int matrix_max, const QuantizedRows &out) {
    const float largest = static_cast<float>(matrix_max);
    for (int i = 0; i < n; ++i) {
        Lanes peak{};
        for (int j = 0; j < n; ++j) {
            if (j == i)
                continue;
            Lanes entry = maximum(magnitude(matrix.real(i, j)), magnitude(matrix.imag(i, j)));
            if (column_scale)
                entry *= at(column_scale, j);
            peak = maximum(peak, entry);
        }
        peak *= clip;
        at(out.diagonal, i) = scale * matrix.real(i, i);
        at(out.step, i) = scale * peak / largest;
        const Lanes per_step = largest / (peak > 0 ? peak : all(1));
        LanesInt sums[2] = {};
        for (int j = 0; j < n; ++j)
            for (int part = 0; part < 2; ++part) {
                Lanes entry = part ? matrix.imag(i, j) : matrix.real(i, j);
                if (column_scale)
                    entry *= at(column_scale, j);
                entry = maximum(minimum(entry * per_step, all(largest)), all(-largest));
                const LanesInt rounded = i == j ? LanesInt{} : round_to_int(entry);
                sums[part] += rounded;
                at(out.entries[part], static_cast<std::size_t>(i) * n + j) = rounded;
            }
        at(out.sum[0], i) = sums[0] - sums[1];
        at(out.sum[1], i) = sums[0] + sums[1];
    }
}

// What a stream's activation step is divided by: sqrt of its diagonal entry over their mean. And its inverse.
inline void stream_scales(int n, const Matrix &matrix, float *scale, float *inverse) {
    Lanes mean{};
    for (int i = 0; i < n; ++i)
        mean += matrix.real(i, i);
    mean /= static_cast<float>(n);
    for (int i = 0; i < n; ++i) {
        const Lanes relative = matrix.real(i, i) / (mean > 0 ? mean : all(1));
        at(scale, i) = maximum(minimum(square_root(relative), all(stream_scale_limit)), all(1 / stream_scale_limit));
        at(inverse, i) = 1.0f / at(scale, i);
    }
}

// Words of the packed matrix of `count` channels, from [..][lane].
template <typename Layout, typename To>
inline void pack_channels(const QuantizedRows &from, const Size &size, int num_rescales, int count, To to) {
    const int n = size.num_tx, positions = size.positions(), num_rows = size.rows();
    // what row r of the real-valued model has in column j
    const auto entry = [&](int r, int j) {
        if (r >= num_rows || j >= num_rows)
            return LanesInt{};
        const std::size_t place = static_cast<std::size_t>(r < n ? r : r - n) * n + (j < n ? j : j - n);
        if ((r < n) == (j < n))
            return at(from.entries[0], place);
        return r < n ? -at(from.entries[1], place) : at(from.entries[1], place);
    };
    const auto store = [&](LanesInt(&block)[native_lanes], std::size_t place) {
        transpose(block);
        for (int l = 0; l < count; ++l)
            *reinterpret_cast<LooseLanesInt *>(to(l) + 4 * place) = block[l];
    };
    constexpr int width = 32 / Layout::columns; // of an entry in bits
    for (int p = 0; p < positions; p += native_lanes) {
        LanesInt block[native_lanes];
        if (Layout::offset) {
            for (int q = 0; q < native_lanes; ++q) {
                const int r = Layout::row(size, p + q);
                block[q] = r < num_rows ? -Layout::offset * at(from.sum[r >= n], r < n ? r : r - n) : LanesInt{};
            }
            store(block, p);
        }
        for (int column = 0; column < num_rows; column += Layout::columns) {
            for (int q = 0; q < native_lanes; ++q) {
                const int r = Layout::row(size, p + q);
                LanesInt word = entry(r, column + Layout::columns - 1) << (32 - width);
#pragma GCC unroll 4
                for (int e = 0; e < Layout::columns - 1; ++e)
                    word |= (entry(r, column + e) & ((1 << width) - 1)) << (e * width);
                block[q] = word;
            }
            store(block, Layout::matrix(num_rescales, positions) +
                             static_cast<std::size_t>(column / Layout::columns) * positions + p);
        }
    }
}

} // namespace
} // namespace kaq
