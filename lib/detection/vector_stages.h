// SPDX-License-Identifier: GPL-3.0-or-later
// What happens to a received vector before and after the integer layers: filter, LLRs, output. Compiled for the
// instruction set of each kernel, so everything here has internal linkage.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>

#include "detection/fixed_point.h"
#include "detection/kernel.h"
#include "detection/kernel_arguments.h"
#include "support/lanes.h"

namespace kaq {
namespace {

// Vectors that are filtered together, so that the matrix is loaded once for all: as many as there are registers for.
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int filtered_together = 2;
#else
constexpr int filtered_together = 4;
#endif

// Complex vectors on their way through the filter, real and imaginary parts apart.
struct Streams {
    alignas(64) float re[filtered_together][max_rows / 2 + max_lanes];
    alignas(64) float im[filtered_together][max_rows / 2 + max_lanes];
};

// Entries first.. of M^H x for the M [num_inputs][stride]; `input(k, v)` is entry k of vector v.
template <int Vectors, int Registers, typename Input>
inline void conjugate_product_block(const std::complex<float> *matrix, int num_inputs, int stride, int first,
                                    Input input, Streams &out) {
    Lanes by_re[Vectors][Registers] = {}, by_im[Vectors][Registers] = {};
    const float *row = reinterpret_cast<const float *>(matrix + first);
    for (int k = 0; k < num_inputs; ++k, row += 2 * stride) {
        Lanes entries[Registers];
        for (int r = 0; r < Registers; ++r)
            entries[r] = at(row, r);
        for (int v = 0; v < Vectors; ++v) {
            const std::complex<float> x = input(k, v);
            for (int r = 0; r < Registers; ++r) {
                by_re[v][r] = plus_product(by_re[v][r], entries[r], all(x.real()));
                by_im[v][r] = plus_product(by_im[v][r], entries[r], all(x.imag()));
            }
        }
    }
    for (int v = 0; v < Vectors; ++v)
        for (int r = 0; r < Registers; r += 2) {
            // with one register, the second half is there twice, and is not used
            const int next = r + 1 < Registers ? r + 1 : r, place = first + r * native_lanes / 2;
            const Lanes &a = by_re[v][r], &b = by_re[v][next], &c = by_im[v][r], &d = by_im[v][next];
            *reinterpret_cast<LooseLanes *>(out.re[v] + place) = evens(a, b) + odds(c, d);
            *reinterpret_cast<LooseLanes *>(out.im[v] + place) = evens(c, d) - odds(a, b);
        }
}

template <int Vectors, typename Input>
inline void conjugate_product(const std::complex<float> *matrix, int num_inputs, int stride, Input input,
                              Streams &out) {
    constexpr int per_register = native_lanes / 2;
    int first = 0;
    for (; first + 2 * per_register <= stride; first += 2 * per_register)
        conjugate_product_block<Vectors, 2>(matrix, num_inputs, stride, first, input, out);
    if (first < stride)
        conjugate_product_block<Vectors, 1>(matrix, num_inputs, stride, first, input, out);
}

// Rows j and n + j of the real-valued model from complex entry j times `scale`, rounded and saturated: `rows` has room
// for max_lanes more. Returns 0, or NaN if any was NaN or Inf.
inline Lanes to_rows(const float *re, const float *im, float scale, const Size &size, std::int16_t *rows) {
    const int n = size.num_tx;
    Lanes finite{};
    int first = 0;
    for (const float *part : {re, im}) {
        for (int j = 0; j < size.stream_stride(); j += native_lanes) {
            const Lanes value = scale * at(part + j, 0);
            finite += value - value;
            // in this order, the maximum takes NaN to -32768, which fits an int16
            const Lanes clipped = minimum(maximum(value, all(-32768.0f)), all(32767.0f));
            *reinterpret_cast<LooseLanesShort *>(rows + first + j) =
                __builtin_convertvector(round_to_int(clipped), LanesShort);
        }
        first = n;
    }
    return finite;
}

// `stride` rows: a multiple of 32, or 4, 8 or 16.
inline void copy_rows(const std::int16_t *from, int stride, std::int16_t *to) {
    if (stride < row_multiple)
        for (int r = 0; r < stride; r += 4)
            std::memcpy(to + r, from + r, 8);
    else
        for (int r = 0; r < stride; r += row_multiple)
            std::memcpy(to + r, from + r, 2 * row_multiple);
}

inline bool is_zero(const Lanes &x) {
    float sum = 0;
    for (int l = 0; l < native_lanes; ++l)
        sum += x[l];
    return sum == 0;
}

// The vectors first.. of those received.
template <int Vectors>
inline void filter_block(const Size &size, const Filter &filter, const ReceivedView &received, int first_vector,
                         std::int16_t *b, bool *finite) {
    Streams first, second;
    const Streams *estimate = &first;
    const int stride = size.stride();
    const std::complex<float> *const *antennas = received.ports.data();
    const std::ptrdiff_t step = received.vector_stride, offset = received.offset + first_vector * step;
    conjugate_product<Vectors>(
        filter.first.data(), size.num_rx, size.stream_stride(),
        [&](int r, int v) { return antennas[r][offset + v * step]; }, first);
    if (!filter.inverse.empty()) {
        estimate = &second;
        conjugate_product<Vectors>(
            filter.inverse.data(), size.num_tx, size.stream_stride(),
            [&](int k, int v) { return std::complex<float>(first.re[v][k], first.im[v][k]); }, second);
    }
    alignas(64) std::int16_t rows[max_rows + 2 * max_lanes];
    for (int r = 0; r < size.positions(); r += native_lanes)
        *reinterpret_cast<LanesShort *>(rows + r) = LanesShort{};
    const float scale = filter.scale.empty() ? 1.0f : filter.scale[0];
    Lanes all_finite{}, of_vector[Vectors];
    for (int v = 0; v < Vectors; ++v) {
        of_vector[v] = to_rows(estimate->re[v], estimate->im[v], scale, size, rows);
        copy_rows(rows, stride, b + v * stride);
        all_finite += of_vector[v];
        finite[v] = true;
    }
    if (is_zero(all_finite))
        return;
    for (int v = 0; v < Vectors; ++v) {
        finite[v] = is_zero(of_vector[v]);
        if (!finite[v])
            std::fill_n(b + v * stride, stride, std::int16_t{0});
    }
}

void filter(const Size &size, const Filter &filter, const ReceivedView &received, const Rows &b,
            std::span<bool> finite) {
    assert_filter(size, filter, received, b, finite);
    const int stride = size.stride(), num_vectors = received.num_vectors;
    int v = 0;
    const auto repeat = [&](auto block, int count) {
        for (; v + count <= num_vectors; v += count)
            block(size, filter, received, v, b.data() + v * stride, finite.data() + v);
    };
    repeat(filter_block<filtered_together>, filtered_together);
    repeat(filter_block<2>, 2);
    repeat(filter_block<1>, 1);
}

// Bit `bit` of the level at `index` from below, after TS 38.211 section 5.1 (see constellation.py).
constexpr bool level_bit(int num_levels, int index, int bit) {
    int level = 2 * index - (num_levels - 1);
    bool value = level < 0;
    int amplitude = level < 0 ? -level : level;
    for (int i = 1, centre = num_levels / 2; i <= bit; ++i, centre /= 2) {
        value = amplitude > centre;
        amplitude = value ? amplitude - centre : centre - amplitude;
    }
    return value;
}

// Integer LLRs of the bits of PAM symbols: ((t - 512 level)^2 - t^2) / 2^10 is level (256 level - t).
template <int Bits>
inline void integer_llrs(const LanesInt &t, LanesInt (&llr)[Bits]) {
    constexpr int num_levels = 1 << Bits;
    LanesInt nearest[Bits][2];
    for (int bit = 0; bit < Bits; ++bit)
        nearest[bit][0] = nearest[bit][1] = LanesInt{} + std::numeric_limits<std::int32_t>::max();
#pragma GCC unroll 16
    for (int index = 0; index < num_levels; ++index) {
        const int level = 2 * index - (num_levels - 1);
        const LanesInt distance = level * (state_half_distance / 2 * level - t);
        for (int bit = 0; bit < Bits; ++bit) {
            LanesInt &side = nearest[bit][level_bit(num_levels, index, bit)];
            side = distance < side ? distance : side;
        }
    }
    for (int bit = 0; bit < Bits; ++bit)
        llr[bit] = (nearest[bit][0] - nearest[bit][1]) >> 1;
}

inline LanesInt load_rows(const std::int16_t *t) {
    return __builtin_convertvector(*reinterpret_cast<const LooseLanesShort *>(t), LanesInt);
}

// Real and imaginary part of every stream next to each other.
inline void store_pairs(const Lanes &re, const Lanes &im, float *to) {
    *reinterpret_cast<LooseLanes *>(to) = interleave_low(re, im);
    *reinterpret_cast<LooseLanes *>(to + native_lanes) = interleave_high(re, im);
}

template <int Bits>
void output_of(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *t,
               std::span<const bool> finite, const DetectedView &to) {
    const int num_vectors = static_cast<int>(finite.size());
    const bool with_llrs = !to.llrs.ports.empty();
    std::complex<float> *const *symbols = to.symbols.ports.data();
    float *const *llrs = to.llrs.ports.data();
    const int n = size.num_tx, stride = size.stride();
    const float unit = network.half_distance / static_cast<float>(state_half_distance);
    alignas(64) float pairs[max_rows + 2 * max_lanes], llr_pairs[Bits][max_rows + 2 * max_lanes];
    for (int v = 0; v < num_vectors; ++v, t += stride) {
        const float scale = finite[v] ? unit : 0.0f;
        // rows beyond the last are read and written, and not used
        for (int j = 0; j < n; j += native_lanes)
            store_pairs(__builtin_convertvector(load_rows(t + j), Lanes) * scale,
                        __builtin_convertvector(load_rows(t + n + j), Lanes) * scale, pairs + 2 * j);
        const std::ptrdiff_t place = to.symbols.offset + v * to.symbols.vector_stride;
        for (int j = 0; j < n; ++j)
            std::memcpy(static_cast<void *>(symbols[j] + place), pairs + 2 * j, 2 * sizeof(float));
        if (!with_llrs)
            continue;
        for (int j = 0; j < n; j += native_lanes) {
            LanesInt re[Bits], im[Bits];
            integer_llrs<Bits>(load_rows(t + j), re);
            integer_llrs<Bits>(load_rows(t + n + j), im);
            const LooseLanes &scale_re = *reinterpret_cast<const LooseLanes *>(channel.llr_scale.data() + j);
            const LooseLanes &scale_im = *reinterpret_cast<const LooseLanes *>(channel.llr_scale.data() + n + j);
            for (int bit = 0; bit < Bits; ++bit)
                store_pairs(__builtin_convertvector(re[bit], Lanes) * scale_re,
                            __builtin_convertvector(im[bit], Lanes) * scale_im, llr_pairs[bit] + 2 * j);
        }
        if (!finite[v])
            std::memset(llr_pairs, 0, sizeof(llr_pairs));
        const std::ptrdiff_t llr_place = to.llrs.offset + v * to.llrs.vector_stride;
        for (int j = 0; j < n; ++j)
            for (int bit = 0; bit < Bits; ++bit)
                std::memcpy(llrs[j] + llr_place + 2 * bit, llr_pairs[bit] + 2 * j, 2 * sizeof(float));
    }
}

// call(std::integral_constant<int, bits_per_dimension>)
template <typename Call>
inline void with_bits(const Network &network, Call call) {
    switch (network.bits_per_dimension) {
    case 1:
        return call(std::integral_constant<int, 1>());
    case 2:
        return call(std::integral_constant<int, 2>());
    case 3:
        return call(std::integral_constant<int, 3>());
    default:
        return call(std::integral_constant<int, 4>());
    }
}

void llrs(const Network &network, const Size &size, std::span<const std::int16_t> t,
          const ArrayView<std::int32_t, 2> &llr) {
    assert_llrs(network, size, t, llr);
    with_bits(network, [&](auto bits) {
        alignas(64) std::int16_t rows[max_rows] = {};
        std::copy_n(t.data(), size.rows(), rows);
        for (int i = 0; i < size.rows(); i += native_lanes) {
            LanesInt values[bits];
            integer_llrs<bits>(load_rows(rows + i), values);
            for (int bit = 0; bit < bits; ++bit)
                for (int l = 0; l < native_lanes && i + l < size.rows(); ++l)
                    llr(bit, i + l) = values[bit][l];
        }
    });
}

void output(const Network &network, const Size &size, const IntegerChannel &channel, const ConstRows &t,
            std::span<const bool> finite, const DetectedView &to) {
    assert_output(network, size, channel, t, finite, to);
    with_bits(network, [&](auto bits) { output_of<bits>(network, size, channel, t.data(), finite, to); });
}

} // namespace
} // namespace kaq
