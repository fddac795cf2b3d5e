// SPDX-License-Identifier: GPL-3.0-or-later
// Channels to the lanes of vector registers, and back. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <complex>
#include <cstddef>
#include <span>

#include "detection/kernel.h"
#include "detection/prepare_scratch.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

// Channels' matrices [rows][n], times their gain, to lanes; unused lanes repeat the last channel.
inline void load_channels(std::span<const Estimate> estimates, int num_rows, int n, const Matrix &to) {
    const int count = static_cast<int>(estimates.size());
    Lanes gain;
    for (int l = 0; l < native_lanes; ++l)
        gain[l] = estimates[std::min(l, count - 1)].gain;
    constexpr int per_vector = native_lanes / 2; // complex numbers
    const std::size_t total = static_cast<std::size_t>(num_rows) * n;
    std::size_t i = 0;
    for (; i + per_vector <= total; i += per_vector) {
        Lanes block[native_lanes];
        for (int l = 0; l < native_lanes; ++l)
            block[l] = *reinterpret_cast<const LooseLanes *>(estimates[std::min(l, count - 1)].h.data() + i);
        transpose(block);
        for (int e = 0; e < per_vector; ++e)
            at(to.re, i + e) = block[2 * e] * gain, at(to.im, i + e) = block[2 * e + 1] * gain;
    }
    for (; i < total; ++i)
        for (int l = 0; l < native_lanes; ++l) {
            const std::complex<float> entry = estimates[std::min(l, count - 1)].h[i];
            to.re[i * native_lanes + l] = entry.real() * gain[l];
            to.im[i * native_lanes + l] = entry.imag() * gain[l];
        }
}

// Rows of n complex numbers, times a gain, to rows with padding.
inline void copy_channel(const std::complex<float> *from, float gain, const Size &size, std::complex<float> *to) {
    const int n = size.num_tx, stride = size.stream_stride();
    for (int r = 0; r < size.num_rx; ++r)
        for (int j = 0; j < n; ++j)
            to[static_cast<std::size_t>(r) * stride + j] = gain * from[static_cast<std::size_t>(r) * n + j];
}

// Back to each channel, times a factor: to(l) is that of lane l, [rows][stream_stride], whose padding is set to zero.
template <typename To>
inline void store_channels(const Matrix &from, int num_rows, const Size &size, const Lanes &factor, int count, To to) {
    constexpr int per_vector = native_lanes / 2;
    const int n = size.num_tx, stride = size.stream_stride();
    for (int row = 0; row < num_rows; ++row)
        for (int j = 0; j < stride; j += per_vector) {
            Lanes block[native_lanes];
            for (int e = 0; e < per_vector; ++e) {
                const bool inside = j + e < n;
                block[2 * e] = inside ? from.real(row, j + e) * factor : Lanes{};
                block[2 * e + 1] = inside ? from.imag(row, j + e) * factor : Lanes{};
            }
            transpose(block);
            for (int l = 0; l < count; ++l)
                *reinterpret_cast<LooseLanes *>(to(l) + static_cast<std::size_t>(row) * stride + j) = block[l];
        }
}

// Row i of each lane's channel to rows of its own.
inline void scatter_rows(const float *from, RowKind kind, const Size &size, float *by_channel) {
    const int padded = padded_streams(size);
    for (int i = 0; i < size.num_tx; i += native_lanes) {
        Lanes block[native_lanes];
        for (int e = 0; e < native_lanes; ++e)
            block[e] = i + e < size.num_tx ? at(from, i + e) : Lanes{};
        transpose(block);
        for (int l = 0; l < native_lanes; ++l)
            *reinterpret_cast<Lanes *>(by_channel + (static_cast<std::size_t>(l) * row_kinds + kind) * padded + i) =
                block[l];
    }
}

} // namespace
} // namespace kaq
