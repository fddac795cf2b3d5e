// SPDX-License-Identifier: GPL-3.0-or-later
// The integers of the layers, channel by channel. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

#include "detection/fixed_point.h"
#include "detection/kernel.h"
#include "detection/packed_matrix.h"
#include "detection/prepare_scratch.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

inline std::int32_t to_integer(double x, double low, double high) {
    return static_cast<std::int32_t>(std::lrint(std::clamp(x, low, high)));
}
inline std::int16_t q15(double x) { return static_cast<std::int16_t>(to_integer(q15_one * x, -int16_max, int16_max)); }

// Values of a layer that all rows share.
struct LayerConstants {
    std::int32_t inverse_step;
    std::int16_t first_gain, threshold;
    float gradient_step, dual_step, to_state, to_slope;
};

inline LayerConstants layer_constants(const Network &network, const Layer &layer, double root) {
    const double distance = network.half_distance, unit = distance / state_half_distance;
    const bool admm = network.type == NetworkType::admm;
    LayerConstants out{};
    out.inverse_step = to_integer(q15_one * unit / layer.step.at(root), 1, int16_max);
    const double gradient_step = layer.gradient_step.at(root);
    out.gradient_step = static_cast<float>(gradient_step);
    out.dual_step = static_cast<float>(layer.dual_step.at(root));
    out.first_gain = q15((admm ? layer.relaxation.at(root) : gradient_step) - 1);
    if (layer.prox == Prox::soft_threshold)
        out.threshold = static_cast<std::int16_t>(to_integer(layer.threshold.at(root) / unit, 0, int16_max));
    out.to_state = static_cast<float>(rescale_one * (admm ? 1 : -gradient_step) * (double{q15_one} / out.inverse_step));
    if (layer.prox == Prox::ramp)
        out.to_slope = static_cast<float>(q9_one * distance * distance / layer.variance.at(root));
    return out;
}

// With this, no accumulator times its rescale leaves int32.
inline std::int32_t rescale_max(int largest_activation, int largest_entry, int rows) {
    return (std::numeric_limits<std::int32_t>::max() - rescale_one / 2) /
           (largest_activation * largest_entry * std::max(1, rows - 1));
}

inline Lanes clipped(const Lanes &x, float low, float high) { return minimum(maximum(x, all(low)), all(high)); }

constexpr float largest_int = 2147483520.0f;    // the float below 2^31
constexpr std::int32_t rounded_below = 1 << 22; // what rounding_magic rounds

// Rounds half to even below 2^22; what is larger is off by a half at most.
inline LanesInt to_rescale(const Lanes &x, std::int32_t limit) {
    // a limit above 2^24 may be rounded up: to below 2^31 here, and back to the limit when it is an integer
    const float nearest = std::min(static_cast<float>(limit), largest_int);
    const Lanes near = clipped(x, -nearest, nearest);
    const Lanes rounded = (near + rounding_magic) - rounding_magic;
    LanesInt out =
        __builtin_convertvector(magnitude(near) < static_cast<float>(rounded_below) ? rounded : near, LanesInt);
    out = out < limit ? out : limit - LanesInt{};
    return out > -limit ? out : -limit - LanesInt{};
}

// rescale[p] = factor steps[p], clipped to +-limit, in the order of positions
inline void store_rescales(const float *steps, float factor, std::int32_t limit, int positions, std::int32_t *to) {
    if (limit < rounded_below) { // every width but the smallest
        const float nearest = static_cast<float>(limit);
        for (int p = 0; p < positions; p += native_lanes)
            *reinterpret_cast<LooseLanesInt *>(to + p) =
                round_to_int(clipped(factor * at(steps + p, 0), -nearest, nearest));
        return;
    }
    for (int p = 0; p < positions; p += native_lanes)
        *reinterpret_cast<LooseLanesInt *>(to + p) = to_rescale(factor * at(steps + p, 0), limit);
}

// A value for each row of all vectors in the registers, from one for each stream.
inline void expand_rows(const float *streams, const Size &size, float *rows) {
    for (int first : {0, size.num_tx})
        for (int i = 0; i < size.num_tx; i += native_lanes)
            *reinterpret_cast<LooseLanes *>(rows + first + i) = at(streams + i, 0);
    for (int r = size.rows(); r < size.stride(); ++r)
        rows[r] = 0;
    for (int r = size.stride(); r < size.positions(); r += 4) // strides are multiples of four
        std::memcpy(rows + r, rows + r % size.stride(), 4 * sizeof(float));
}

// The same in the order of positions of the packed matrix.
template <typename Layout>
inline void to_positions(const float *streams, const Size &size, float *positions) {
    alignas(64) float rows[max_rows + max_lanes];
    expand_rows(streams, size, rows);
    for (int p = 0; p < size.positions(); p += 4) // rows stay together by four
        std::memcpy(positions + p, rows + Layout::row(p), 4 * sizeof(float));
}

// What the rows of one channel become: values for each stream are those of rows i and n + i of the real-valued model,
// and of all vectors in the registers.
class ChannelRows {
public:
    ChannelRows(const Size &size, const float *by_channel)
        : size_(size), by_channel_(by_channel),
          halves_(size.num_tx % native_lanes == 0 && size.positions() == size.rows()) {}

    const float *streams(RowKind kind) const {
        return by_channel_ + static_cast<std::size_t>(kind) * padded_streams(size_);
    }
    Lanes of_stream(RowKind kind, int i) const { return at(streams(kind) + i, 0); }

    // Before the first of_row(kind, ..).
    void use(RowKind kind) {
        if (!halves_)
            expand_rows(streams(kind), size_, rows_[kind]);
    }
    Lanes of_row(RowKind kind, int i) const { return at(halves_ ? streams(kind) + i : rows_[kind] + i, 0); }

    // to[r] = values(r), rounded
    template <typename Values>
    void store(std::int16_t *to, Values values) const {
        const int n = size_.num_tx;
        for (int i = 0; i < (halves_ ? n : size_.positions()); i += native_lanes) {
            const LanesShort integers = __builtin_convertvector(round_to_int(values(i)), LanesShort);
            *reinterpret_cast<LooseLanesShort *>(to + i) = integers;
            if (halves_)
                *reinterpret_cast<LooseLanesShort *>(to + n + i) = integers;
        }
    }

private:
    const Size size_;
    const float *by_channel_;
    const bool halves_; // both halves of the rows begin a vector register of their own: each is computed once
    alignas(64) float rows_[row_kinds][max_rows + max_lanes];
};

// The values of layer k.
inline void quantize_layer(const Network &network, const Size &size, const LayerConstants &layer, int k,
                           const ChannelRows &rows, const IntegerChannelOf<Access::write> &to) {
    const bool admm = network.type == NetworkType::admm;
    const int first = k * size.positions();
    to.first_gain[k] = layer.first_gain;
    to.threshold[k] = layer.threshold;
    const float inverse_step = static_cast<float>(layer.inverse_step);
    rows.store(to.inverse_step.data() + first, [&](int i) {
        return network.stream_steps ? clipped(inverse_step * rows.of_row(of_stream_scale, i), 1, int16_max)
                                    : all(inverse_step);
    });
    rows.store(to.diagonal.data() + first, [&](int i) {
        const Lanes diagonal = rows.of_row(of_diagonal, i);
        const Lanes factor = admm ? diagonal : minus_product(all(1), all(layer.gradient_step), diagonal);
        return clipped(q15_one * factor, -int16_max, int16_max);
    });
    if (admm)
        rows.store(to.second_gain.data() + first, [&](int i) {
            const Lanes gain = minimum(layer.dual_step * rows.of_row(of_diagonal, i), all(2)) - 1;
            return clipped(q15_one * gain, -int16_max, int16_max);
        });
    if (layer.to_slope > 0)
        rows.store(to.slope.data() + first,
                   [&](int i) { return clipped(layer.to_slope * rows.of_row(of_precision, i), q9_one, int16_max); });
}

// What LLRs are multiplied by.
inline void store_llr_scale(const Network &network, const Size &size, double output_variance, const ChannelRows &rows,
                            std::span<float> to) {
    const int n = size.num_tx;
    const float to_llr = static_cast<float>(double{network.half_distance} * network.half_distance /
                                            (integer_llr_scale * output_variance));
    for (int first : {0, n}) // beyond the last row, the padding's precision is zero
        for (int i = 0; i < n; i += native_lanes) {
            const Lanes diagonal = rows.of_stream(of_diagonal, i);
            *reinterpret_cast<LooseLanes *>(to.data() + first + i) =
                to_llr * rows.of_stream(of_precision, i) /
                plus_product(all(1), network.output_spread * diagonal, diagonal);
        }
}

// The integers of one channel, from its rows.
template <typename Layout>
inline void quantize_channel(const Network &network, const Size &size, const LayerConstants *constants,
                             double output_variance, const float *by_channel,
                             const IntegerChannelOf<Access::write> &to) {
    const int positions = size.positions();
    ChannelRows rows(size, by_channel);
    rows.use(of_diagonal);
    rows.use(of_precision);
    if (network.stream_steps)
        rows.use(of_stream_scale);
    alignas(64) float steps[max_rows];
    to_positions<Layout>(rows.streams(of_step), size, steps);
    std::int32_t *rescale = reinterpret_cast<std::int32_t *>(to.packed.data()) + Layout::rescale(positions);
    const std::int32_t limit = rescale_max(network.activation_max, network.matrix_max, size.rows());
    for (int k = 0; k < network.num_layers(); ++k, rescale += positions) {
        store_rescales(steps, constants[k].to_state, limit, positions, rescale);
        quantize_layer(network, size, constants[k], k, rows, to);
    }
    store_llr_scale(network, size, output_variance, rows, to.llr_scale);
}

} // namespace
} // namespace kaq
