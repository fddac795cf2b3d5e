// SPDX-License-Identifier: GPL-3.0-or-later
// From channel estimates to all that the detection of a vector needs, `native_lanes` channels at once: Gram matrix and
// inverse with one channel in each lane, then row by row. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "detection/kernel.h"
#include "detection/kernel_arguments.h"
#include "detection/packed_matrix.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

// noise_var and rho are at least this times the mean diagonal of the Gram matrix (preparation.py)
constexpr float regularization_floor = 1e-5f;
constexpr float stream_scale_limit = 8;                   // as in quantization.py
constexpr float soft_limit = 0.27f, search_limit = 0.45f; // as in preparation.py

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
    QuantizedRows rows, metric;
    float *precision, *stream_scale, *column_scale;
    float *by_channel;      // [lane][row_kinds][padded_streams]
    std::size_t floats = 0; // of all

    // from == nullptr: only `floats` is of use.
    Scratch(const Size &size, float *from);
};

// What is scattered to each channel's own rows.
enum RowKind { of_diagonal, of_step, of_precision, of_stream_scale, of_metric_diagonal, of_metric_step, row_kinds };

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
    for (QuantizedRows *quantized : {&rows, &metric}) {
        quantized->diagonal = take(n * native_lanes);
        quantized->step = take(n * native_lanes);
        for (int part = 0; part < 2; ++part) {
            quantized->entries[part] = reinterpret_cast<std::int32_t *>(take(square));
            quantized->sum[part] = reinterpret_cast<std::int32_t *>(take(n * native_lanes));
        }
    }
    precision = take(n * native_lanes);
    stream_scale = take(n * native_lanes);
    column_scale = take(n * native_lanes);
    by_channel = take(static_cast<std::size_t>(native_lanes) * row_kinds * padded_streams(size));
}

double squared_norm(std::span<const std::complex<float>> h) {
    const std::size_t count = h.size();
    constexpr int num_sums = 32, registers = num_sums / native_lanes; // as many on every instruction set
    const float *parts = reinterpret_cast<const float *>(h.data());
    alignas(64) float sums[num_sums] = {};
    std::size_t i = 0;
    for (; i + num_sums <= 2 * count; i += num_sums)
        for (int r = 0; r < registers; ++r) {
            const Lanes x = *reinterpret_cast<const LooseLanes *>(parts + i + r * native_lanes);
            at(sums, r) = plus_product(at(sums, r), x, x);
        }
    double sum = 0; // products of two floats are exact in it: there is nothing to fuse
    for (const float part : sums)
        sum += part;
    for (; i < 2 * count; ++i)
        sum += double{parts[i]} * parts[i];
    if (sum > 1e-20 && sum < 1e30)
        return sum;
    sum = 0; // what single precision cannot square
    for (i = 0; i < 2 * count; ++i)
        sum += double{parts[i]} * parts[i];
    return sum <= std::numeric_limits<double>::max() ? sum : std::numeric_limits<double>::quiet_NaN();
}

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

inline std::int32_t to_integer(double x, double low, double high) {
    return static_cast<std::int32_t>(std::lrint(std::clamp(x, low, high)));
}
inline std::int16_t q15(double x) { return static_cast<std::int16_t>(to_integer(32768 * x, -32767, 32767)); }

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
    out.inverse_step = to_integer(32768 * unit / layer.step.at(root), 1, 32767);
    const double gradient_step = layer.gradient_step.at(root);
    out.gradient_step = static_cast<float>(gradient_step);
    out.dual_step = static_cast<float>(layer.dual_step.at(root));
    out.first_gain = q15((admm ? layer.relaxation.at(root) : gradient_step) - 1);
    if (layer.prox == Prox::soft_threshold)
        out.threshold = static_cast<std::int16_t>(to_integer(layer.threshold.at(root) / unit, 0, 32767));
    out.to_state = static_cast<float>(4096 * (admm ? 1 : -gradient_step) * (32768.0 / out.inverse_step));
    if (layer.prox == Prox::ramp)
        out.to_slope = static_cast<float>(512 * distance * distance / layer.variance.at(root));
    return out;
}

inline std::int32_t rescale_max(int largest_activation, int largest_entry, int rows) {
    return (0x7fffffff - (1 << (rescale_shift - 1))) / (largest_activation * largest_entry * std::max(1, rows - 1));
}

inline Lanes clipped(const Lanes &x, float low, float high) { return minimum(maximum(x, all(low)), all(high)); }

// Rounds half to even below 2^22; what is larger is off by a half at most.
inline LanesInt to_rescale(const Lanes &x, std::int32_t low, std::int32_t high) {
    // a limit above 2^24 may be rounded up: to below 2^31 here, and back to the limit when it is an integer
    const Lanes near = clipped(x, std::max(static_cast<float>(low), -2147483520.0f),
                               std::min(static_cast<float>(high), 2147483520.0f));
    const Lanes rounded = (near + rounding_magic) - rounding_magic;
    LanesInt out = __builtin_convertvector(magnitude(near) < 4194304.0f ? rounded : near, LanesInt);
    out = out < high ? out : high - LanesInt{};
    return out > low ? out : low - LanesInt{};
}

// rescale[p] = factor steps[p], in the order of positions
inline void store_rescales(const float *steps, float factor, std::int32_t low, std::int32_t high, int positions,
                           std::int32_t *to) {
    if (high < 1 << 22) { // every width but the smallest
        for (int p = 0; p < positions; p += native_lanes)
            *reinterpret_cast<LooseLanesInt *>(to + p) =
                round_to_int(clipped(factor * at(steps + p, 0), static_cast<float>(low), static_cast<float>(high)));
        return;
    }
    for (int p = 0; p < positions; p += native_lanes)
        *reinterpret_cast<LooseLanesInt *>(to + p) = to_rescale(factor * at(steps + p, 0), low, high);
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

// The integers of one channel, from its rows.
template <typename Layout>
inline void quantize_channel(const Network &network, const Size &size, const LayerConstants *constants,
                             double output_variance, const float *by_channel, const ChannelToPrepare &out) {
    const bool admm = network.type == NetworkType::admm;
    const int padded = padded_streams(size), n = size.num_tx, positions = size.positions();
    const auto row = [&](RowKind kind) { return by_channel + static_cast<std::size_t>(kind) * padded; };
    const auto stream = [&](RowKind kind, int i) { return at(row(kind) + i, 0); };

    // Rows i and n + i are equal. Where both begin a vector register of their own, each is computed once.
    const bool halves = n % native_lanes == 0 && positions == 2 * n;
    alignas(64) float rows[row_kinds][max_rows + max_lanes];
    const auto use_rows = [&](RowKind kind) {
        if (!halves)
            expand_rows(row(kind), size, rows[kind]);
    };
    const auto of_row = [&](RowKind kind, int i) { return at(halves ? row(kind) + i : rows[kind] + i, 0); };
    // to[r] = values(r), rounded
    const auto store_rows = [&](std::int16_t *to, auto values) {
        for (int i = 0; i < (halves ? n : positions); i += native_lanes) {
            const LanesShort integers = __builtin_convertvector(round_to_int(values(i)), LanesShort);
            *reinterpret_cast<LooseLanesShort *>(to + i) = integers;
            if (halves)
                *reinterpret_cast<LooseLanesShort *>(to + n + i) = integers;
        }
    };
    use_rows(of_diagonal);
    use_rows(of_precision);
    if (network.stream_steps)
        use_rows(of_stream_scale);

    alignas(64) float steps[max_rows];
    to_positions<Layout>(row(of_step), size, steps);
    const IntegerChannelOf<Access::write> &to = out.integers;
    std::int32_t *rescale = reinterpret_cast<std::int32_t *>(to.packed.data()) + Layout::rescale(positions);
    const std::int32_t limit = rescale_max(network.activation_max, network.matrix_max, size.rows());
    for (int k = 0; k < network.num_layers(); ++k, rescale += positions) {
        const LayerConstants &layer = constants[k];
        to.first_gain[k] = layer.first_gain;
        to.threshold[k] = layer.threshold;
        store_rescales(steps, layer.to_state, -limit, limit, positions, rescale);
        const float inverse_step = static_cast<float>(layer.inverse_step);
        store_rows(to.inverse_step.data() + k * positions, [&](int i) {
            return network.stream_steps ? clipped(inverse_step * of_row(of_stream_scale, i), 1, 32767)
                                        : all(inverse_step);
        });
        store_rows(to.diagonal.data() + k * positions, [&](int i) {
            const Lanes diagonal = of_row(of_diagonal, i);
            const Lanes factor = admm ? diagonal : minus_product(all(1), all(layer.gradient_step), diagonal);
            return clipped(32768 * factor, -32767, 32767);
        });
        if (admm)
            store_rows(to.second_gain.data() + k * positions, [&](int i) {
                const Lanes gain = minimum(layer.dual_step * of_row(of_diagonal, i), all(2)) - 1;
                return clipped(32768 * gain, -32767, 32767);
            });
        if (layer.to_slope > 0)
            store_rows(to.slope.data() + k * positions,
                       [&](int i) { return clipped(layer.to_slope * of_row(of_precision, i), 512, 32767); });
    }
    const float *precision = row(of_precision);
    const float to_llr =
        static_cast<float>(double{network.half_distance} * network.half_distance / (256 * output_variance));
    for (int first : {0, n}) // beyond the last row, the padding's precision is zero
        for (int i = 0; i < n; i += native_lanes) {
            const Lanes diagonal = stream(of_diagonal, i);
            *reinterpret_cast<LooseLanes *>(to.llr_scale.data() + first + i) =
                to_llr * stream(of_precision, i) / plus_product(all(1), network.output_spread * diagonal, diagonal);
        }
    if (!network.candidates)
        return;
    float error = 0;
    for (int i = 0; i < n; ++i)
        error += 1 / (network.half_distance * network.half_distance * precision[i]);
    const IntegerMetricOf<Access::write> &metric = out.metric;
    metric.soft_first[0] = error > soft_limit * static_cast<float>(n);
    metric.searched[0] = error <= search_limit * static_cast<float>(n);
    const std::int32_t metric_limit = rescale_max(network.num_levels() - 1, metric_matrix_max, size.rows());
    to_positions<Layout>(row(of_metric_step), size, steps);
    store_rescales(steps, 4096.0f * metric_half_distance, 0, metric_limit, positions,
                   reinterpret_cast<std::int32_t *>(metric.packed.data()) + Layout::rescale(positions));
    use_rows(of_metric_diagonal);
    store_rows(metric.diagonal.data(),
               [&](int i) { return clipped(metric_half_distance * of_row(of_metric_diagonal, i), 0, 32767); });
}

std::size_t scratch_floats(const Size &size) { return Scratch(size, nullptr).floats; }

template <typename Layout>
void prepare_channels(const Network &network, const Size &size, std::span<const Estimate> estimates,
                      std::span<const ChannelToPrepare> channels, std::span<float> scratch) {
    assert_prepare<Layout>(network, size, estimates, channels, scratch);
    KAQ_ASSERT(scratch.size() == scratch_floats(size) && channels.size() <= native_lanes);
    const int n = size.num_tx, count = static_cast<int>(estimates.size());
    const bool admm = network.type == NetworkType::admm, direct = admm && channels[0].filter.inverse.empty();
    const float per_unit = static_cast<float>(state_half_distance) / network.half_distance;
    const float per_metric_unit = static_cast<float>(metric_half_distance) / network.half_distance;
    const Scratch s(size, scratch.data());
    load_channels(estimates, size.num_rx, n, s.h);
    gram_matrix(s.h, size.num_rx, n, s.gram);

    Lanes mean_diagonal{}, gain, given_noise_var, regularization;
    for (int l = 0; l < native_lanes; ++l) {
        const Estimate &estimate = estimates[std::min(l, count - 1)];
        gain[l] = estimate.gain;
        given_noise_var[l] = estimate.noise_var;
        regularization[l] = static_cast<float>(network.regularization.at(estimate.inverse_root_snr));
    }
    for (int i = 0; i < n; ++i)
        mean_diagonal += s.gram.real(i, i);
    mean_diagonal /= static_cast<float>(n);
    // where nothing is known of a channel (H = 0), everything is zero
    const LanesInt alive = gain > 0;
    const Lanes scale = alive ? mean_diagonal : all(1);
    const Lanes noise_var = maximum(given_noise_var, regularization_floor * scale);
    const Lanes normalise = alive ? 1.0f / scale : Lanes{};

    if (!admm || network.candidates) {
        mirror(s.gram, n);
        const QuantizedRows &rows = admm ? s.metric : s.rows;
        quantize_rows(n, s.gram, normalise, nullptr, admm ? 1.0f : network.matrix_clip,
                      admm ? metric_matrix_max : network.matrix_max, rows);
        for (int l = 0; l < count; ++l)
            (admm ? channels[l].filter.matched_scale : channels[l].filter.scale)[0] =
                normalise[l] * gain[l] * (admm ? per_metric_unit : per_unit);
    }
    if (admm) {
        const Lanes rho = maximum(regularization * noise_var, regularization_floor * scale);
        for (int i = 0; i < n; ++i)
            s.gram.real(i, i) += rho;
        invert_cholesky_factor(s.gram, n);
        hermitian_product(s.gram, n, s.inverse);
        if (network.stream_steps) {
            stream_scales(n, s.inverse, s.stream_scale, s.column_scale);
            scatter_rows(s.stream_scale, of_stream_scale, size, s.by_channel);
        }
        quantize_rows(n, s.inverse, alive ? rho : Lanes{}, network.stream_steps ? s.column_scale : nullptr,
                      network.matrix_clip, network.matrix_max, s.rows);
        for (int i = 0; i < n; ++i)
            at(s.precision, i) = alive ? 1.0f / (0.5f * noise_var * s.inverse.real(i, i)) : Lanes{};
        const Lanes factor = per_unit * gain;
        if (direct) {
            product(s.h, s.inverse, size.num_rx, n, s.direct);
            store_channels(s.direct, size.num_rx, size, factor, count,
                           [&](int l) { return channels[l].filter.first.data(); });
        } else
            store_channels(s.inverse, n, size, factor, count, [&](int l) { return channels[l].filter.inverse.data(); });
    } else
        for (int i = 0; i < n; ++i)
            at(s.precision, i) = alive ? 1.0f / (0.5f * noise_var / (s.gram.real(i, i) + noise_var)) : Lanes{};
    if (!direct)
        for (int l = 0; l < count; ++l)
            copy_channel(estimates[l].h.data(), estimates[l].gain, size, channels[l].filter.first.data());

    scatter_rows(s.rows.diagonal, of_diagonal, size, s.by_channel);
    scatter_rows(s.rows.step, of_step, size, s.by_channel);
    scatter_rows(s.precision, of_precision, size, s.by_channel);
    pack_channels<Layout>(s.rows, size, network.num_layers(), count,
                          [&](int l) { return channels[l].integers.packed.data(); });
    if (network.candidates) {
        scatter_rows(s.metric.diagonal, of_metric_diagonal, size, s.by_channel);
        scatter_rows(s.metric.step, of_metric_step, size, s.by_channel);
        pack_channels<Layout>(s.metric, size, 1, count, [&](int l) { return channels[l].metric.packed.data(); });
    }
    LayerConstants constants[max_layers];
    double output_variance = 1;
    for (int l = 0; l < count; ++l) {
        const double root = estimates[l].inverse_root_snr;
        if (l == 0 || root != estimates[l - 1].inverse_root_snr) {
            for (int k = 0; k < network.num_layers(); ++k)
                constants[k] = layer_constants(network, network.layers[k], root);
            output_variance = network.output_variance.at(root);
        }
        quantize_channel<Layout>(network, size, constants, output_variance,
                                 s.by_channel + static_cast<std::size_t>(l) * row_kinds * padded_streams(size),
                                 channels[l]);
    }
}

} // namespace
} // namespace kaq
