// SPDX-License-Identifier: GPL-3.0-or-later
// The integer layers with AVX-512 VNNI: 32 rows of int16 state per register, four vectors interleaved, so that the
// matrix is loaded once for four and their accumulator chains hide each other's latency.
//
// vpdpbusd multiplies unsigned by signed bytes: activations are offset by 128, and the accumulators start at
// -128 * (sum of the row), which undoes it.

#include "kernel_avx512vnni.h"

#include <immintrin.h>

#include <cstring>

#include "generic_linear_stage.h"

namespace kaq {
namespace {

constexpr int interleave = 4;

// What `pack` writes, in this order; K factors for each row. A group is 32 rows, whose int32 accumulators fill two
// registers: in 128-bit lane L the first holds rows 8L..8L+3, the second 8L+4..8L+7. vpackssdw then restores the order
// of rows, and vpunpck{l,h}wd makes it.
//   int32 bias[groups][2][16]
//   int32 rescale[K][groups][2][16]
//   int8  matrix[stride / 4][groups][2][16][4]     four columns, row, column
struct Packed {
    const __m512i *bias;
    const __m512i *rescale;
    const __m512i *matrix;

    Packed(const std::byte *bytes, int groups, int num_rescales)
        : bias(reinterpret_cast<const __m512i *>(bytes)), rescale(bias + 2 * groups),
          matrix(rescale + 2 * groups * num_rescales) {}
};

int row_in_register(int half, int lane) { return lane / 4 * 8 + half * 4 + lane % 4; }

std::size_t packed_bytes(int num_rescales, int stride) {
    const std::size_t groups = stride / row_multiple;
    return 64 * 2 * groups * (1 + num_rescales + stride / 4);
}

void pack(const RescaledMatrix &from, std::byte *packed) {
    const int groups = from.stride / row_multiple;
    std::int32_t *bias = reinterpret_cast<std::int32_t *>(packed);
    std::int32_t *rescale = bias + 32 * groups;
    std::int32_t *matrix = rescale + 32 * groups * from.num_rescales;
    for (int group = 0; group < groups; ++group)
        for (int half = 0; half < 2; ++half)
            for (int lane = 0; lane < 16; ++lane) {
                const int row = 32 * group + row_in_register(half, lane);
                const int place = (2 * group + half) * 16 + lane;
                for (int k = 0; k < from.num_rescales; ++k)
                    rescale[k * 32 * groups + place] = from.rescale[k * from.stride + row];
                std::int32_t sum = 0;
                for (int quad = 0; quad < from.stride / 4; ++quad) {
                    std::int8_t entries[4] = {};
                    if (row < from.rows)
                        std::memcpy(entries, from.matrix + row * from.stride + 4 * quad, 4);
                    std::memcpy(matrix + quad * 32 * groups + place, entries, 4);
                    sum += entries[0] + entries[1] + entries[2] + entries[3];
                }
                bias[place] = -128 * sum;
            }
}

inline __m512i load16(const std::int16_t *p) { return _mm512_loadu_si512(p); }
inline __m512i clamp16(__m512i x, int low, int high) {
    return _mm512_min_epi16(_mm512_max_epi16(x, _mm512_set1_epi16(static_cast<short>(low))),
                            _mm512_set1_epi16(static_cast<short>(high)));
}
inline __m512i multiply_q15_plus_1(__m512i x, __m512i gain) {
    return _mm512_adds_epi16(x, _mm512_mulhrs_epi16(x, gain));
}

inline __m512i ramp(__m512i t, __m512i slope, int num_levels) {
    constexpr int half = state_half_distance;
    const __m512i nearest =
        _mm512_and_si512(_mm512_adds_epi16(t, _mm512_set1_epi16(half)), _mm512_set1_epi16(-2 * half));
    const __m512i threshold = clamp16(nearest, -(num_levels - 2) * half, (num_levels - 2) * half);
    const __m512i distance = clamp16(_mm512_subs_epi16(t, threshold), -half + 1, half - 1);
    const __m512i product = _mm512_mulhrs_epi16(_mm512_slli_epi16(distance, 6), slope);
    return _mm512_add_epi16(threshold, clamp16(product, -half, half));
}

// Sign-extend int16 rows to the two int32 registers of their group.
inline void widen(__m512i x, __m512i &first, __m512i &second) {
    const __m512i sign = _mm512_srai_epi16(x, 15);
    first = _mm512_unpacklo_epi16(x, sign);
    second = _mm512_unpackhi_epi16(x, sign);
}

inline __m512i rescaled(__m512i accumulator, __m512i rescale) {
    const __m512i rounding = _mm512_set1_epi32(1 << (rescale_shift - 1));
    return _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(accumulator, rescale), rounding), rescale_shift);
}

// sum[v] = matrix activations[v], which are int16 between -128 and 127
template <int Groups, int Vectors>
inline void accumulate(const Packed &packed, int rows, const __m512i (&activations)[Vectors][Groups],
                       __m512i (&sum)[Vectors][2 * Groups]) {
    alignas(64) std::uint8_t bytes[Vectors][Groups * row_multiple];
    for (int v = 0; v < Vectors; ++v)
        for (int g = 0; g < Groups; ++g) {
            const __m512i offset = _mm512_add_epi16(activations[v][g], _mm512_set1_epi16(128));
            _mm256_store_si256(reinterpret_cast<__m256i *>(bytes[v] + g * row_multiple), _mm512_cvtepi16_epi8(offset));
        }
    for (int v = 0; v < Vectors; ++v)
        for (int h = 0; h < 2 * Groups; ++h)
            sum[v][h] = packed.bias[h];
    const int quads = (rows + 3) / 4;
    for (int quad = 0; quad < quads; ++quad) {
        const __m512i *matrix = packed.matrix + quad * 2 * Groups;
        for (int v = 0; v < Vectors; ++v) {
            std::int32_t four;
            std::memcpy(&four, bytes[v] + 4 * quad, 4);
            const __m512i columns = _mm512_set1_epi32(four);
            for (int h = 0; h < 2 * Groups; ++h)
                sum[v][h] = _mm512_dpbusd_epi32(sum[v][h], columns, matrix[h]);
        }
    }
}

// result[v][g] = saturate(linear[v][g] + multiply_q15(state[v][g], diagonal[g]) + rescale (matrix quantize(state)))
template <int Groups, int Vectors>
inline void linear_part(const Network &network, const IntegerChannel &channel, const Packed &packed, int k,
                        const __m512i (&linear)[Vectors][Groups], const __m512i (&state)[Vectors][Groups],
                        __m512i (&result)[Vectors][Groups]) {
    __m512i activations[Vectors][Groups], sum[Vectors][2 * Groups];
    for (int g = 0; g < Groups; ++g) {
        const __m512i inverse_step = load16(channel.inverse_step + k * channel.stride + g * row_multiple);
        for (int v = 0; v < Vectors; ++v)
            activations[v][g] = clamp16(_mm512_mulhrs_epi16(state[v][g], inverse_step), -network.activation_max,
                                        network.activation_max);
    }
    accumulate<Groups, Vectors>(packed, channel.rows, activations, sum);

    const __m512i *rescale = packed.rescale + k * 2 * Groups;
    for (int v = 0; v < Vectors; ++v)
        for (int g = 0; g < Groups; ++g) {
            const __m512i diagonal = load16(channel.diagonal + k * channel.stride + g * row_multiple);
            __m512i linear_first, linear_second, diagonal_first, diagonal_second;
            widen(linear[v][g], linear_first, linear_second);
            widen(_mm512_mulhrs_epi16(state[v][g], diagonal), diagonal_first, diagonal_second);
            const __m512i first = _mm512_add_epi32(_mm512_add_epi32(linear_first, diagonal_first),
                                                   rescaled(sum[v][2 * g], rescale[2 * g]));
            const __m512i second = _mm512_add_epi32(_mm512_add_epi32(linear_second, diagonal_second),
                                                    rescaled(sum[v][2 * g + 1], rescale[2 * g + 1]));
            result[v][g] = _mm512_packs_epi32(first, second);
        }
}

template <int Groups, int Vectors>
void admm(const Network &network, const IntegerChannel &channel, const Packed &packed, const std::int16_t *b_in,
          int b_step, const Pin *pins, std::int16_t *t_out) {
    __mmask32 pinned[Vectors][Groups] = {};
    if (pins)
        for (int i = 0; i < Vectors; ++i)
            pinned[i][pins[i].row / row_multiple] = __mmask32{1} << pins[i].row % row_multiple;
    __m512i b[Vectors][Groups], x[Vectors][Groups], z[Vectors][Groups], u[Vectors][Groups], v[Vectors][Groups];
    for (int i = 0; i < Vectors; ++i)
        for (int g = 0; g < Groups; ++g) {
            b[i][g] = x[i][g] = load16(b_in + i * b_step + g * row_multiple);
            z[i][g] = u[i][g] = _mm512_setzero_si512();
        }
    for (int k = 0; k < network.num_layers(); ++k) {
        const __m512i first_gain = _mm512_set1_epi16(channel.first_gain[k]);
        for (int g = 0; g < Groups; ++g) {
            const __m512i slope = load16(channel.slope + k * channel.stride + g * row_multiple);
            const __m512i second_gain = load16(channel.second_gain + k * channel.stride + g * row_multiple);
            for (int i = 0; i < Vectors; ++i) {
                const __m512i difference = _mm512_subs_epi16(x[i][g], z[i][g]);
                const __m512i relaxed = _mm512_adds_epi16(x[i][g], _mm512_mulhrs_epi16(difference, first_gain));
                z[i][g] = ramp(_mm512_adds_epi16(relaxed, u[i][g]), slope, network.num_levels());
                if (pins)
                    z[i][g] = _mm512_mask_set1_epi16(z[i][g], pinned[i][g], pins[i].value);
                u[i][g] =
                    _mm512_adds_epi16(u[i][g], multiply_q15_plus_1(_mm512_subs_epi16(relaxed, z[i][g]), second_gain));
                v[i][g] = _mm512_subs_epi16(z[i][g], u[i][g]);
            }
        }
        linear_part<Groups, Vectors>(network, channel, packed, k, b, v, x);
    }
    for (int i = 0; i < Vectors; ++i)
        for (int g = 0; g < Groups; ++g)
            _mm512_storeu_si512(t_out + i * channel.stride + g * row_multiple, x[i][g]);
}

template <int Groups, int Vectors>
void pgd(const Network &network, const IntegerChannel &channel, const Packed &packed, const std::int16_t *b_in,
         int b_step, const Pin *, std::int16_t *t_out) {
    __m512i b[Vectors][Groups], x[Vectors][Groups], gradient[Vectors][Groups], next[Vectors][Groups];
    for (int i = 0; i < Vectors; ++i)
        for (int g = 0; g < Groups; ++g) {
            b[i][g] = load16(b_in + i * b_step + g * row_multiple);
            x[i][g] = _mm512_setzero_si512();
        }
    for (int k = 0; k < network.num_layers(); ++k) {
        const __m512i first_gain = _mm512_set1_epi16(channel.first_gain[k]);
        const __m512i threshold = _mm512_set1_epi16(channel.threshold[k]);
        const __m512i zero = _mm512_setzero_si512();
        for (int i = 0; i < Vectors; ++i)
            for (int g = 0; g < Groups; ++g)
                gradient[i][g] = multiply_q15_plus_1(b[i][g], first_gain);
        linear_part<Groups, Vectors>(network, channel, packed, k, gradient, x, next);
        for (int g = 0; g < Groups; ++g) {
            const __m512i slope = load16(channel.slope + k * channel.stride + g * row_multiple);
            for (int i = 0; i < Vectors; ++i) {
                x[i][g] = next[i][g];
                if (network.prox[k] == Prox::soft_threshold)
                    x[i][g] = _mm512_add_epi16(_mm512_max_epi16(_mm512_subs_epi16(x[i][g], threshold), zero),
                                               _mm512_min_epi16(_mm512_adds_epi16(x[i][g], threshold), zero));
                else if (network.prox[k] == Prox::ramp)
                    x[i][g] = ramp(x[i][g], slope, network.num_levels());
            }
        }
    }
    for (int i = 0; i < Vectors; ++i)
        for (int g = 0; g < Groups; ++g)
            _mm512_storeu_si512(t_out + i * channel.stride + g * row_multiple, x[i][g]);
}

template <int Groups>
void layers_of(const Network &network, const IntegerChannel &channel, const std::byte *bytes, const std::int16_t *b,
               int b_step, const Pin *pins, std::int16_t *t, int num_vectors) {
    const Packed packed(bytes, Groups, network.num_layers());
    const bool is_admm = network.type == NetworkType::admm;
    const auto block = is_admm ? admm<Groups, interleave> : pgd<Groups, interleave>;
    const auto single = is_admm ? admm<Groups, 1> : pgd<Groups, 1>;
    int v = 0;
    for (; v + interleave <= num_vectors; v += interleave)
        block(network, channel, packed, b + v * b_step, b_step, pins ? pins + v : nullptr, t + v * channel.stride);
    for (; v < num_vectors; ++v)
        single(network, channel, packed, b + v * b_step, b_step, pins ? pins + v : nullptr, t + v * channel.stride);
}

void layers(const Network &network, const IntegerChannel &channel, const std::byte *packed, const std::int16_t *b,
            int b_step, const Pin *pins, std::int16_t *t, int num_vectors) {
    switch (channel.stride / row_multiple) {
    case 1:
        return layers_of<1>(network, channel, packed, b, b_step, pins, t, num_vectors);
    case 2:
        return layers_of<2>(network, channel, packed, b, b_step, pins, t, num_vectors);
    case 3:
        return layers_of<3>(network, channel, packed, b, b_step, pins, t, num_vectors);
    default:
        return layers_of<4>(network, channel, packed, b, b_step, pins, t, num_vectors);
    }
}

template <int Groups, int Vectors>
void metric_block(const Network &network, const IntegerMetric &channel, const Packed &packed, const std::int16_t *t,
                  const std::int16_t *matched, int matched_step, std::int32_t *metric) {
    const int outermost = network.num_levels() - 1;
    __m512i level[Vectors][Groups], sum[Vectors][2 * Groups];
    for (int v = 0; v < Vectors; ++v)
        for (int g = 0; g < Groups; ++g) {
            const __m512i estimate = load16(t + v * channel.stride + g * row_multiple);
            const __m512i odd = _mm512_or_si512(_mm512_srai_epi16(estimate, 9), _mm512_set1_epi16(1));
            level[v][g] = clamp16(odd, -outermost, outermost);
        }
    accumulate<Groups, Vectors>(packed, channel.rows, level, sum);
    for (int v = 0; v < Vectors; ++v) {
        __m512i total = _mm512_setzero_si512();
        for (int g = 0; g < Groups; ++g) {
            __m512i level_of[2], diagonal[2], matched_of[2], gradient[2];
            widen(level[v][g], level_of[0], level_of[1]);
            widen(load16(channel.diagonal + g * row_multiple), diagonal[0], diagonal[1]);
            widen(load16(matched + v * matched_step + g * row_multiple), matched_of[0], matched_of[1]);
            for (int half = 0; half < 2; ++half) {
                const __m512i product = rescaled(sum[v][2 * g + half], packed.rescale[2 * g + half]);
                const __m512i own = _mm512_mullo_epi32(level_of[half], diagonal[half]);
                gradient[half] =
                    _mm512_sub_epi32(_mm512_add_epi32(product, own), _mm512_slli_epi32(matched_of[half], 1));
            }
            const __m512i saturated = _mm512_packs_epi32(gradient[0], gradient[1]);
            total = _mm512_add_epi32(total, _mm512_madd_epi16(level[v][g], saturated));
        }
        metric[v] = _mm512_reduce_add_epi32(total);
    }
}

template <int Groups>
void metric_of(const Network &network, const IntegerMetric &channel, const std::byte *bytes, const std::int16_t *t,
               const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
    const Packed packed(bytes, Groups, 1);
    int v = 0;
    for (; v + interleave <= num_vectors; v += interleave)
        metric_block<Groups, interleave>(network, channel, packed, t + v * channel.stride, matched + v * matched_step,
                                         matched_step, metric + v);
    for (; v < num_vectors; ++v)
        metric_block<Groups, 1>(network, channel, packed, t + v * channel.stride, matched + v * matched_step,
                                matched_step, metric + v);
}

void metric(const Network &network, const IntegerMetric &channel, const std::byte *packed, const std::int16_t *t,
            const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
    switch (channel.stride / row_multiple) {
    case 1:
        return metric_of<1>(network, channel, packed, t, matched, matched_step, metric, num_vectors);
    case 2:
        return metric_of<2>(network, channel, packed, t, matched, matched_step, metric, num_vectors);
    case 3:
        return metric_of<3>(network, channel, packed, t, matched, matched_step, metric, num_vectors);
    default:
        return metric_of<4>(network, channel, packed, t, matched, matched_step, metric, num_vectors);
    }
}

} // namespace

const Kernel avx512vnni_kernel{"avx512vnni", generic_linear_stage,   packed_bytes, pack,        generic_filter,
                               layers,       generic_second_guesses, metric,       generic_llrs};

} // namespace kaq
