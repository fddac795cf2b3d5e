// SPDX-License-Identifier: GPL-3.0-or-later
// Stages that compilers vectorise well, shared by the kernels. Each kernel_*.cc includes this file and is compiled for
// its own instruction set, so everything here has internal linkage. No operation is contracted or reordered
// (-ffp-contract=off), so the floating-point filter gives the same bits everywhere, too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernel.h"

namespace kaq {
namespace {

// Round half to even for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction.
inline std::int32_t round_to_int(float x) {
    constexpr float magic = 12582912.0f;
    return static_cast<std::int32_t>((x + magic) - magic);
}

template <int Rows, int Vectors>
inline void filter_block(const float *filter, int num_rx, int stride, const ReceivedView &received, std::int16_t *b,
                         bool *finite) {
    for (int row = 0; row < stride; row += Rows) {
        float sum[Vectors][Rows] = {};
        for (int r = 0; r < num_rx; ++r) {
            const float *in_phase = filter + (2 * r) * stride + row;
            const float *quadrature = in_phase + stride;
            for (int v = 0; v < Vectors; ++v) {
                const std::complex<float> y = received.antennas[r][received.offset + v * received.stride];
                for (int i = 0; i < Rows; ++i) {
                    sum[v][i] += in_phase[i] * y.real();
                    sum[v][i] += quadrature[i] * y.imag();
                }
            }
        }
        for (int v = 0; v < Vectors; ++v) {
            bool all_finite = true;
            for (int i = 0; i < Rows; ++i)
                all_finite &= std::fabs(sum[v][i]) <= std::numeric_limits<float>::max();
            finite[v] = (row == 0 || finite[v]) && all_finite;
            for (int i = 0; i < Rows; ++i) {
                // in this order, max takes NaN to -32768, which fits an int16
                const float clipped = std::min(std::max(-32768.0f, sum[v][i]), 32767.0f);
                b[v * stride + row + i] = static_cast<std::int16_t>(round_to_int(clipped));
            }
        }
    }
    for (int v = 0; v < Vectors; ++v)
        if (!finite[v])
            std::fill_n(b + v * stride, stride, std::int16_t{0});
}

void generic_filter(const float *filter, int num_rx, int stride, const ReceivedView &received, int num_vectors,
                    std::int16_t *b, bool *finite) {
    int v = 0;
    for (; v + 4 <= num_vectors; v += 4)
        filter_block<row_multiple, 4>(filter, num_rx, stride, received.from(v), b + v * stride, finite + v);
    for (; v < num_vectors; ++v)
        filter_block<row_multiple, 1>(filter, num_rx, stride, received.from(v), b + v * stride, finite + v);
}

// The PAM level, an odd integer, nearest to t.
inline std::int32_t nearest_level(std::int32_t t, int num_levels) {
    return std::clamp((t >> 9) | 1, -(num_levels - 1), num_levels - 1);
}

int generic_second_guesses(const Network &network, const IntegerChannel &channel, const std::int16_t *t, Pin *pins) {
    constexpr int half = state_half_distance;
    constexpr std::int32_t taken = std::numeric_limits<std::int32_t>::max();
    const std::int16_t *slope = channel.slope + (network.num_layers() - 1) * channel.stride;
    const int outermost = network.num_levels() - 1;
    std::int32_t reliability[max_rows], second[max_rows];
    for (int i = 0; i < channel.rows; ++i) {
        const std::int32_t level = nearest_level(t[i], network.num_levels());
        const std::int32_t towards = t[i] >= half * level ? 2 : -2;
        const bool outside = level + towards > outermost || level + towards < -outermost;
        second[i] = level + (outside ? -towards : towards);
        const std::int32_t distance = std::abs(t[i] - half / 2 * (level + second[i]));
        reliability[i] = std::min(distance, 32767) * slope[i];
    }
    const int count = std::min(network.candidates, channel.rows);
    for (int m = 0; m < count; ++m) {
        std::int32_t least = taken;
        for (int i = 0; i < channel.rows; ++i)
            least = std::min(least, reliability[i]);
        int row = 0;
        while (reliability[row] != least)
            ++row;
        pins[m] = {row, static_cast<std::int16_t>(half * second[row])};
        reliability[row] = taken;
    }
    return count;
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

template <int Bits>
void llrs_of(int stride, const std::int16_t *t, std::int32_t *llr) {
    constexpr int num_levels = 1 << Bits;
    for (int i = 0; i < stride; ++i) {
        std::int32_t nearest[Bits][2];
        for (int bit = 0; bit < Bits; ++bit)
            nearest[bit][0] = nearest[bit][1] = std::numeric_limits<std::int32_t>::max();
        for (int index = 0; index < num_levels; ++index) {
            const int level = 2 * index - (num_levels - 1);
            // ((t - 512 level)^2 - t^2) / 2^10
            const std::int32_t distance = level * (state_half_distance / 2 * level - t[i]);
            for (int bit = 0; bit < Bits; ++bit) {
                std::int32_t &side = nearest[bit][level_bit(num_levels, index, bit)];
                side = std::min(side, distance);
            }
        }
        for (int bit = 0; bit < Bits; ++bit)
            llr[bit * stride + i] = (nearest[bit][0] - nearest[bit][1]) >> 1;
    }
}

void generic_llrs(const Network &network, int stride, const std::int16_t *t, std::int32_t *llr) {
    switch (network.bits_per_dimension) {
    case 1:
        return llrs_of<1>(stride, t, llr);
    case 2:
        return llrs_of<2>(stride, t, llr);
    case 3:
        return llrs_of<3>(stride, t, llr);
    default:
        return llrs_of<4>(stride, t, llr);
    }
}

} // namespace
} // namespace kaq
