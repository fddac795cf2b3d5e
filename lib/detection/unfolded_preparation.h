// SPDX-License-Identifier: GPL-3.0-or-later
// From channel estimates to all that the detection of a vector needs, one channel in each lane. Compiled for the
// instruction set of each kernel.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "detection/fixed_point.h"
#include "detection/instruction_set.h"
#include "detection/kernel.h"
#include "detection/load_channels.h"
#include "detection/unfolded_batch.h"
#include "support/assert.h"

namespace kaq {
namespace {

// rho of a stream is at least so much of its own diagonal entry of the Gram matrix; noise_var, of their mean
// (preparation.py)
constexpr float stream_floor = 1e-6f, common_floor = 1e-10f;

constexpr float stream_scale_limit = 8; // as in quantization.py

// Stages with matrices are always inlined: where GCC did not, pointers were loaded again after each store, and AVX2
// took 10 % longer.

// Values that `prepare` needs no more than once.
struct PreparationScratch {
    Matrix h, gram, inverse; // h and inverse where the filter is one matrix, H A
    float *relative, *precision, *diagonal, *step, *stream_scale, *column_scale; // [n]
    std::size_t floats = 0;                                                      // of all

    // from == nullptr: only `floats` is of use.
    PreparationScratch(const Size &size, float *from) {
        const std::size_t n = size.num_tx, square = n * n, tall = size.num_rx * n;
        const auto take = [&](std::size_t count) {
            float *taken = from ? from + floats : nullptr;
            floats += count * native_lanes;
            return taken;
        };
        const auto matrix = [&](std::size_t count) {
            float *re = take(count), *im = take(count);
            return Matrix{re, im, static_cast<int>(n)};
        };
        h = matrix(tall);
        gram = matrix(square);
        inverse = matrix(square);
        relative = take(n);
        precision = take(n);
        diagonal = take(n);
        step = take(n);
        stream_scale = take(n);
        column_scale = take(n);
    }
};

// A channel in each lane.
struct LaneValues {
    Lanes gain;
    LanesInt known;  // all bits set where something is known of a channel; where nothing is (H = 0), everything is zero
    Lanes scale;     // mean diagonal entry of the Gram matrix
    Lanes noise_var; // of streams above the floor of their own

    LaneValues(std::span<const Estimate> lanes, int n, const Matrix &gram) {
        Lanes mean_diagonal{}, given_noise_var;
        for (int l = 0; l < native_lanes; ++l)
            gain[l] = lanes[l].gain, given_noise_var[l] = lanes[l].noise_var;
        for (int i = 0; i < n; ++i)
            mean_diagonal += gram.real(i, i);
        mean_diagonal /= static_cast<float>(n);
        known = gain > 0;
        scale = known ? mean_diagonal : all(1);
        noise_var = maximum(given_noise_var, common_floor * scale);
    }
};

// The laws where each lane's channel is.
class LaneLaws {
public:
    LaneLaws(const Network &network, std::span<const Estimate> lanes, const LawValues &common) : common_(common) {
        for (int l = 0; l < native_lanes; ++l)
            if (lanes[l].inverse_root_snr != common.inverse_root_snr)
                is_common_ = false;
        if (is_common_)
            return;
        const LawValues *before = nullptr;
        for (int l = 0; l < native_lanes; ++l) {
            if (!before || lanes[l].inverse_root_snr != before->inverse_root_snr) {
                own_[l].emplace(network, lanes[l].inverse_root_snr);
                before = &*own_[l];
            }
            of_lane_[l] = before;
        }
    }

    // value(laws) of each lane's laws
    template <typename Value>
    Lanes operator()(Value value) const {
        if (is_common_)
            return all(static_cast<float>(value(common_)));
        Lanes out;
        for (int l = 0; l < native_lanes; ++l)
            out[l] = static_cast<float>(value(*of_lane_[l]));
        return out;
    }

private:
    const LawValues &common_;
    bool is_common_ = true;
    std::optional<LawValues> own_[native_lanes];
    const LawValues *of_lane_[native_lanes];
};

inline bool any_above(const Lanes &x, float limit) {
    bool found = false;
    for (int l = 0; l < native_lanes; ++l)
        found |= x[l] > limit;
    return found;
}

// Channels' matrices [rows][n], times their gain, to lanes.
inline void load_estimates(std::span<const Estimate> lanes, int num_rows, const Matrix &to) {
    Lanes gain;
    const std::complex<float> *h[native_lanes];
    for (int l = 0; l < native_lanes; ++l)
        gain[l] = lanes[l].gain, h[l] = lanes[l].h;
    for_each_entry(h, num_rows * to.columns, [&](int i, const Lanes &re, const Lanes &im) {
        at(to.re, i) = re * gain, at(to.im, i) = im * gain;
    });
}

// out = the n x n matrix with its columns times factors
inline void scale_columns(const Matrix &matrix, int n, const float *factors, const Matrix &out) {
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) {
            out.real(i, j) = matrix.real(i, j) * at(factors, j);
            out.imag(i, j) = matrix.imag(i, j) * at(factors, j);
        }
}

inline void scale_matrix(const Matrix &matrix, int num_rows, const Lanes &factor) {
    for (int i = 0; i < num_rows * matrix.columns; ++i)
        at(matrix.re, i) = at(matrix.re, i) * factor, at(matrix.im, i) = at(matrix.im, i) * factor;
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

// Row i of scale * matrix, without its diagonal, in steps of clip times its largest entry over matrix_max. Column j is
// multiplied by column_scale[j] first; nullptr: by 1. Returns the step.
template <typename Isa>
[[gnu::always_inline]] inline Lanes quantize_row(const Network &network, const UnfoldedBatch &b, int i,
                                                 const Matrix &matrix, const Lanes &scale, const float *column_scale) {
    const UnfoldedLayout &layout = b.layout;
    const int n = layout.n;
    const float largest = static_cast<float>(network.matrix_max);
    Lanes peak{};
    for (int j = 0; j < n; ++j) {
        if (j == i)
            continue;
        Lanes entry = maximum(magnitude(matrix.real(i, j)), magnitude(matrix.imag(i, j)));
        if (column_scale)
            entry *= at(column_scale, j);
        peak = maximum(peak, entry);
    }
    peak *= network.matrix_clip;
    const Lanes per_step = largest / (peak > 0 ? peak : all(1));
    const auto rounded = [&](const Lanes &of, int j) {
        Lanes entry = of;
        if (column_scale)
            entry *= at(column_scale, j);
        return round_to_int(clip(entry * per_step, -largest, largest));
    };
    using I16 = typename Isa::I16;
    using I32 = typename Isa::I32;
    const I32 offset = Isa::set32(static_cast<int>(Isa::matrix_offset * 0x01010101u));
    constexpr int per_word = Isa::streams_per_word;
    std::int32_t *re_row = reinterpret_cast<std::int32_t *>(b.data) +
                           (layout.matrix + 2 * static_cast<std::size_t>(i) * layout.words) * native_lanes;
    std::int32_t *im_row = re_row + layout.words * native_lanes;
    for (int w = 0; w < layout.words; ++w) {
        I16 re_columns[2] = {Isa::set(0), Isa::set(0)}, im_columns[2] = {Isa::set(0), Isa::set(0)};
        for (int s = 0; s < per_word; ++s) {
            const int j = w * per_word + s;
            if (j == i || j >= n)
                continue;
            const LanesInt re = rounded(matrix.real(i, j), j), im = rounded(matrix.imag(i, j), j);
            re_columns[s] = Isa::pack((I32)re, (I32)-im);
            im_columns[s] = Isa::pack((I32)im, (I32)re);
        }
        const auto store = [&](std::int32_t *row, const I16(&columns)[2]) {
            at(row, w) = (LanesInt)Isa::columns(columns[0], columns[1]) ^ (LanesInt)offset;
        };
        store(re_row, re_columns);
        store(im_row, im_columns);
    }
    return scale * peak / largest;
}

// With this, no accumulator times its rescale leaves int32.
inline std::int32_t rescale_max(const Network &network, int rows) {
    return (std::numeric_limits<std::int32_t>::max() - rescale_one / 2) /
           (network.activation_max * network.matrix_max * std::max(1, rows - 1));
}

constexpr float largest_int = 2147483520.0f;    // the float below 2^31
constexpr std::int32_t rounded_below = 1 << 22; // what rounding_magic rounds

// Rounds half to even below 2^22; what is larger is off by a half at most.
inline LanesInt to_rescale(const Lanes &x, std::int32_t limit) {
    // a limit above 2^24 may be rounded up: to below 2^31 here, and back to the limit when it is an integer
    const float nearest = std::min(static_cast<float>(limit), largest_int);
    const Lanes near = clip(x, -nearest, nearest);
    if (limit < rounded_below) // every width but the smallest
        return round_to_int(near);
    const Lanes rounded = (near + rounding_magic) - rounding_magic;
    LanesInt out =
        __builtin_convertvector(magnitude(near) < static_cast<float>(rounded_below) ? rounded : near, LanesInt);
    out = out < limit ? out : limit - LanesInt{};
    return out > -limit ? out : -limit - LanesInt{};
}

// The integers of all layers, from each stream's step of quantization, diagonal entry and precision.
template <typename Isa>
[[gnu::always_inline]] inline void quantize_layers(const Network &network, const LaneLaws &laws, const UnfoldedBatch &b,
                                                   const PreparationScratch &s) {
    const UnfoldedLayout &layout = b.layout;
    const int n = layout.n, streams = layout.streams;
    const bool admm = network.type == NetworkType::admm;
    const std::int32_t limit = rescale_max(network, 2 * n);
    // Both rows of a stream have the same. Packing saturates at 32767; what may leave int32 has to be limited before.
    const auto rows_of = [](const Lanes &value, float low) {
        const typename Isa::I32 rounded = (typename Isa::I32)round_to_int(maximum(value, all(low)));
        return Isa::pack(rounded, rounded);
    };
    const auto of_row = [&](std::size_t begin, int place) {
        return reinterpret_cast<std::int16_t *>(b.data) + (begin + place) * 2 * native_lanes;
    };
    const auto store = [&](std::size_t begin, int place, typename Isa::I16 values) {
        Isa::store(of_row(begin, place), values);
    };
    for (int k = 0; k < network.num_layers(); ++k) {
        const auto of_layer = [&](auto member) {
            return laws([&](const LawValues &of) { return of.layers[k].*member; });
        };
        const Lanes to_state = of_layer(&LayerValues::to_state), inverse_step = of_layer(&LayerValues::inverse_step),
                    gradient_step = of_layer(&LayerValues::gradient_step),
                    dual_step = of_layer(&LayerValues::dual_step), to_slope = of_layer(&LayerValues::to_slope);
        const bool has_ramp = network.layers[k].prox == Prox::ramp;
        store(layout.first_gain, k, rows_of(of_layer(&LayerValues::first_gain), -int16_max));
        store(layout.threshold, k, rows_of(of_layer(&LayerValues::threshold), 0));
        for (int i = 0; i < n; ++i) {
            const int place = k * streams + i;
            const Lanes diagonal = at(s.diagonal, i);
            b.integer(layout.rescale, 2 * place) = b.integer(layout.rescale, 2 * place + 1) =
                to_rescale(to_state * at(s.step, i), limit);
            store(layout.inverse_step, place,
                  rows_of(network.stream_steps ? inverse_step * at(s.stream_scale, i) : inverse_step, 1));
            if (admm) {
                // the diagonal is that of the first layer
                store(layout.diagonal, place,
                      k ? Isa::load(of_row(layout.diagonal, i)) : rows_of(q15_one * diagonal, -int16_max));
                store(layout.dual, place, rows_of(q15_one * (minimum(dual_step * diagonal, all(2)) - 1), -int16_max));
            } else {
                const Lanes factor = minus_product(all(1), gradient_step, diagonal);
                store(layout.diagonal, place, rows_of(q15_one * factor, -int16_max));
            }
            if (has_ramp)
                store(layout.slope, place, rows_of(minimum(to_slope * at(s.precision, i), all(int16_max)), q9_one));
        }
    }
}

// The same in single precision.
inline void set_layers_in_fp32(const Network &network, const LaneLaws &laws, const UnfoldedBatch &b,
                               const PreparationScratch &s) {
    const UnfoldedLayout &layout = b.layout;
    const bool admm = network.type == NetworkType::admm;
    for (int k = 0; k < network.num_layers(); ++k) {
        const auto of_layer = [&](auto member) {
            return laws([&](const LawValues &of) { return of.layers[k].*member; });
        };
        const Lanes dual_step = of_layer(&LayerValues::dual_step),
                    to_slope = of_layer(&LayerValues::to_slope) * (1.0f / q9_one);
        b(layout.first_gain, k) = of_layer(admm ? &LayerValues::relaxation : &LayerValues::gradient_step);
        b(layout.threshold, k) = of_layer(&LayerValues::soft_threshold);
        for (int i = 0; i < layout.n; ++i) {
            const int place = k * layout.streams + i;
            b(layout.dual, place) = minimum(dual_step * at(s.diagonal, i), all(2));
            b(layout.slope, place) = maximum(to_slope * at(s.precision, i), all(1));
        }
    }
}

// ADMM-Net's (G + R)^-1 to `inverse`, from the Gram matrix, which is used up; returns the network's matrix
// (G + R)^-1 R over rho.
[[gnu::always_inline]] inline const Matrix &invert_gram(int n, const LaneValues &lanes, const Lanes &rho,
                                                        const PreparationScratch &s, const Matrix &inverse) {
    // `relative` is each stream's rho over that of streams above the floor of their own: 1 in nearly all channels
    Lanes largest = all(1);
    for (int i = 0; i < n; ++i) {
        Lanes &power = s.gram.real(i, i);
        at(s.relative, i) = maximum(stream_floor * power / rho, all(1));
        largest = maximum(largest, at(s.relative, i));
        power += rho * at(s.relative, i);
    }
    invert_cholesky_factor(s.gram, n);
    hermitian_product(s.gram, n, inverse);
    for (int i = 0; i < n; ++i) {
        const Lanes noise_var = lanes.noise_var * at(s.relative, i);
        at(s.precision, i) = lanes.known ? 1.0f / (0.5f * noise_var * inverse.real(i, i)) : Lanes{};
    }
    if (!any_above(largest, 1))
        return inverse;
    scale_columns(inverse, n, s.relative, s.gram);
    return s.gram;
}

// Everything that follows from the network's matrix times `scale`, and from the precisions.
template <typename Isa>
[[gnu::always_inline]] inline void set_layers(const Network &network, const LaneLaws &laws, const UnfoldedBatch &b,
                                              const Matrix &matrix, const Lanes &scale, const PreparationScratch &s) {
    const UnfoldedLayout &layout = b.layout;
    const int n = layout.n;
    const bool integers = network.precision == Precision::int8;
    const double distance = double{network.half_distance} * network.half_distance;
    const Lanes to_llr = laws(
        [&](const LawValues &of) { return static_cast<float>(distance / (integer_llr_scale * of.output_variance)); });
    const bool stream_steps = integers && network.stream_steps;
    if (stream_steps)
        stream_scales(n, matrix, s.stream_scale, s.column_scale);
    for (int i = 0; i < n; ++i) {
        const Lanes diagonal = at(s.diagonal, i) = scale * matrix.real(i, i);
        // of channels beyond single precision, LLRs say nothing
        b(layout.llr_scale, 2 * i) = b(layout.llr_scale, 2 * i + 1) = finite_or_zero(
            to_llr * at(s.precision, i) / plus_product(all(1), network.output_spread * diagonal, diagonal));
    }
    if (integers) {
        for (int i = 0; i < n; ++i)
            at(s.step, i) = quantize_row<Isa>(network, b, i, matrix, scale, stream_steps ? s.column_scale : nullptr);
        quantize_layers<Isa>(network, laws, b, s);
        return;
    }
    const Matrix to = b.float_matrix();
    const Lanes factor = network.type == NetworkType::admm ? scale : -scale;
    for (int i = 0; i < n * n; ++i)
        at(to.re, i) = factor * at(matrix.re, i), at(to.im, i) = factor * at(matrix.im, i);
    set_layers_in_fp32(network, laws, b, s);
}

template <typename Isa>
void prepare_batch(const Form &form, std::span<const Estimate> lanes_of, const LawValues &common,
                   std::span<float> batch, std::span<float> scratch) {
    const Network &network = form.network;
    const Size &size = form.size;
    const UnfoldedLayout layout(network, size, Isa::streams_per_word);
    KAQ_ASSERT(lanes_of.size() == native_lanes && batch.size() == layout.size * native_lanes);
    const UnfoldedBatch b{layout, batch.data()};
    const PreparationScratch s(size, scratch.data());
    KAQ_ASSERT(scratch.size() >= s.floats);
    const int n = size.num_tx, num_rx = size.num_rx;
    const bool admm = network.type == NetworkType::admm;
    const LaneLaws laws(network, lanes_of, common);
    const float per_unit = static_cast<float>(state_half_distance) / network.half_distance;

    const Matrix h = form.direct ? s.h : b.filter();
    load_estimates(lanes_of, num_rx, h);
    gram_matrix(h, num_rx, n, s.gram);
    const LaneValues lanes(lanes_of, n, s.gram);
    const Lanes factor = per_unit * lanes.gain;
    if (!admm) {
        const Lanes normalise = lanes.known ? 1.0f / lanes.scale : Lanes{};
        mirror(s.gram, n);
        for (int i = 0; i < n; ++i) {
            const Lanes power = s.gram.real(i, i), noise_var = maximum(lanes.noise_var, stream_floor * power);
            at(s.precision, i) = lanes.known ? 1.0f / (0.5f * noise_var / (power + noise_var)) : Lanes{};
        }
        b(layout.scale) = normalise * lanes.gain * per_unit;
        set_layers<Isa>(network, laws, b, s.gram, normalise, s);
        return;
    }
    const Lanes rho = laws([](const LawValues &of) { return of.regularization; }) * lanes.noise_var;
    const Matrix inverse = form.direct ? s.inverse : b.inverse();
    const Matrix &matrix = invert_gram(n, lanes, rho, s, inverse);
    set_layers<Isa>(network, laws, b, matrix, lanes.known ? rho : Lanes{}, s);
    if (form.direct) {
        product(h, inverse, num_rx, n, b.filter());
        scale_matrix(b.filter(), num_rx, factor);
    } else {
        scale_matrix(inverse, n, factor);
    }
}

} // namespace
} // namespace kaq
