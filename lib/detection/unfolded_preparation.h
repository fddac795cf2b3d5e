// SPDX-License-Identifier: GPL-3.0-or-later
// From channel estimates to all that the detection of a vector needs, one channel in each lane. Compiled for the
// instruction set of each kernel.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
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
                own_[l] = LawValues(network, lanes[l].inverse_root_snr);
                before = &own_[l];
            }
            of_lane_[l] = before;
        }
    }

    Lanes operator()(float LawValues::*value) const {
        return of_each([value](const LawValues &laws) { return laws.*value; });
    }

    // Of layer k.
    Lanes operator()(int k, float LayerValues::*value) const {
        return of_each([k, value](const LawValues &laws) { return laws.layers[k].*value; });
    }

private:
    template <typename Value>
    Lanes of_each(const Value &value) const {
        if (is_common_)
            return all(value(common_));
        Lanes out;
        for (int l = 0; l < native_lanes; ++l)
            out[l] = value(*of_lane_[l]);
        return out;
    }

    const LawValues &common_;
    bool is_common_ = true;
    LawValues own_[native_lanes];
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

// What a stream's activation step is divided by: sqrt of its diagonal entry over their mean, or 1. And its inverse.
inline void stream_scales(const Network &network, int n, const Matrix &matrix, float *scale, float *inverse) {
    if (!network.stream_steps) {
        for (int i = 0; i < n; ++i)
            at(scale, i) = at(inverse, i) = all(1);
        return;
    }
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

// The odd integer next to x; 0 stays 0.
inline LanesInt nearest_odd(const Lanes &x) {
    const LanesInt odd = 2 * round_to_int(0.5f * (magnitude(x) - 1.0f)) + 1;
    return x > 0 ? odd : x < 0 ? -odd : LanesInt{};
}

// Row i of the matrix, without its diagonal, in steps of its largest entry over matrix_max; as a rule. Otherwise, the
// largest is matrix_clip times that, column j is multiplied by column_scale[j] first, and the entries may be odd
// integers only. Returns the step.
template <typename Isa, bool Rule>
[[gnu::always_inline]] inline Lanes quantize_row(const Network &network, const UnfoldedBatch &b, int i,
                                                 const Matrix &matrix, const float *column_scale) {
    using I16 = typename Isa::I16;
    using I32 = typename Isa::I32;
    const UnfoldedLayout &layout = b.layout;
    const int n = layout.n;
    const float *re = matrix.re + static_cast<std::size_t>(i) * n * native_lanes,
                *im = matrix.im + static_cast<std::size_t>(i) * n * native_lanes;
    const float largest = static_cast<float>(network.matrix_max);
    const auto scaled = [column_scale](const Lanes &x, int j) { return Rule ? x : x * at(column_scale, j); };
    const Lanes diagonal = matrix.real(i, i), beside = matrix.imag(i, i); // what rounding has left of 0
    matrix.real(i, i) = matrix.imag(i, i) = Lanes{};                      // while the row is quantized
    Lanes peak{};
    for (int j = 0; j < n; ++j)
        peak = maximum(peak, scaled(maximum(magnitude(at(re, j)), magnitude(at(im, j))), j));
    if (!Rule)
        peak *= network.matrix_clip;
    const Lanes per_step = minimum(largest / (peak > 0 ? peak : all(1)), all(std::numeric_limits<float>::max()));
    const auto rounded = [&](const Lanes &x, int j) {
        const Lanes steps = scaled(x, j) * per_step;
        if (Rule)
            return round_to_int(steps); // what is not clipped is no larger
        const Lanes clipped = clip(steps, -largest, largest);
        return network.midrise ? nearest_odd(clipped) : round_to_int(clipped);
    };
    const I32 offset = Isa::set32(static_cast<int>(Isa::matrix_offset * 0x01010101u));
    constexpr int per_word = Isa::streams_per_word;
    std::int32_t *to = reinterpret_cast<std::int32_t *>(b.data) +
                       (layout.matrix + 2 * static_cast<std::size_t>(i) * layout.words) * native_lanes;
    for (int w = 0; w < layout.words; ++w) {
        I16 re_columns[2] = {Isa::set(0), Isa::set(0)}, im_columns[2] = {Isa::set(0), Isa::set(0)};
        for (int s = 0; s < per_word && w * per_word + s < n; ++s) {
            const int j = w * per_word + s;
            const LanesInt of_re = rounded(at(re, j), j), of_im = rounded(at(im, j), j);
            re_columns[s] = Isa::pack((I32)of_re, (I32)-of_im);
            im_columns[s] = Isa::pack((I32)of_im, (I32)of_re);
        }
        at(to, w) = (LanesInt)Isa::columns(re_columns[0], re_columns[1]) ^ (LanesInt)offset;
        at(to, layout.words + w) = (LanesInt)Isa::columns(im_columns[0], im_columns[1]) ^ (LanesInt)offset;
    }
    matrix.real(i, i) = diagonal, matrix.imag(i, i) = beside;
    return peak / largest;
}

// With this, no accumulator of layer k times its rescale leaves int32.
inline std::int32_t rescale_max(const Network &network, int k, int rows) {
    return (std::numeric_limits<std::int32_t>::max() - rescale_one / 2) /
           (network.layers[k].activation_max * network.matrix_max * std::max(1, rows - 1));
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
inline void quantize_layers(const Network &network, const LaneLaws &laws, const UnfoldedBatch &b,
                            const PreparationScratch &s) {
    const UnfoldedLayout &layout = b.layout;
    const int n = layout.n;
    const float *const step = s.step, *const diagonal = s.diagonal, *const precision = s.precision,
                       *const scale = s.stream_scale;
    // value(i) of each stream, no less than `low`, to both of its rows from `place` on. Packing saturates at 32767;
    // what may leave int32 has to be limited before.
    const auto set = [&b](std::size_t place, int count, float low, const auto &value) {
        std::int16_t *to = reinterpret_cast<std::int16_t *>(b.data) + place * 2 * native_lanes;
        for (int i = 0; i < count; ++i, to += 2 * native_lanes) {
            const typename Isa::I32 rounded = (typename Isa::I32)round_to_int(maximum(value(i), all(low)));
            Isa::store(to, Isa::pack(rounded, rounded));
        }
    };
    for (int k = 0; k < network.num_layers(); ++k) {
        const Lanes to_state = laws(k, &LayerValues::to_state), inverse_step = laws(k, &LayerValues::inverse_step),
                    first_gain = laws(k, &LayerValues::first_gain);
        set(layout.first_gain + k, 1, -int16_max, [&](int) { return first_gain; });
        LanesInt *const rescale = &b.integer(layout.rescale(k, 0));
        const std::int32_t limit = rescale_max(network, k, 2 * n);
        for (int i = 0; i < n; ++i)
            rescale[i] = to_rescale(to_state * at(step, i), limit);
        set(layout.inverse_step(k, 0), network.stream_steps ? n : 1, 1,
            [&](int i) { return inverse_step * at(scale, i); });
        if (network.type == NetworkType::admm) {
            const Lanes dual_step = laws(k, &LayerValues::dual_step);
            if (k == 0)
                set(layout.diagonal(0, 0), n, -int16_max, [&](int i) { return q15_one * at(diagonal, i); });
            set(layout.dual(k, 0), n, -int16_max,
                [&](int i) { return q15_one * (minimum(dual_step * at(diagonal, i), all(2)) - 1); });
        } else {
            const Lanes gradient_step = laws(k, &LayerValues::gradient_step);
            set(layout.diagonal(k, 0), n, -int16_max,
                [&](int i) { return q15_one * minus_product(all(1), gradient_step, at(diagonal, i)); });
        }
        if (network.layers[k].prox == Prox::soft_threshold) {
            const Lanes threshold = laws(k, &LayerValues::threshold);
            set(layout.threshold + k, 1, 0, [&](int) { return threshold; });
        }
        if (network.layers[k].prox == Prox::ramp) {
            const Lanes to_slope = laws(k, &LayerValues::to_slope);
            set(layout.slope(k, 0), n, q9_one,
                [&](int i) { return minimum(to_slope * at(precision, i), all(int16_max)); });
        }
    }
}

// The same in single precision.
inline void set_layers_in_fp32(const Network &network, const LaneLaws &laws, const UnfoldedBatch &b,
                               const PreparationScratch &s) {
    const UnfoldedLayout &layout = b.layout;
    const bool admm = network.type == NetworkType::admm;
    for (int k = 0; k < network.num_layers(); ++k) {
        const Lanes dual_step = laws(k, &LayerValues::dual_step),
                    to_slope = laws(k, &LayerValues::to_slope) * (1.0f / q9_one);
        b(layout.first_gain, k) = laws(k, admm ? &LayerValues::relaxation : &LayerValues::gradient_step);
        b(layout.threshold, k) = laws(k, &LayerValues::soft_threshold);
        for (int i = 0; i < layout.n; ++i) {
            b(layout.dual(k, i)) = minimum(dual_step * at(s.diagonal, i), all(2));
            b(layout.slope(k, i)) = maximum(to_slope * at(s.precision, i), all(1));
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
    const Lanes to_llr = laws(&LawValues::to_llr);
    for (int i = 0; i < n; ++i) {
        const Lanes diagonal = at(s.diagonal, i) = scale * matrix.real(i, i);
        // of channels beyond single precision, LLRs say nothing
        b(layout.llr_scale, 2 * i) = b(layout.llr_scale, 2 * i + 1) = finite_or_zero(
            to_llr * at(s.precision, i) / plus_product(all(1), network.output_spread * diagonal, diagonal));
    }
    if (integers) {
        stream_scales(network, n, matrix, s.stream_scale, s.column_scale);
        const bool rule = !network.stream_steps && network.matrix_clip == 1 && !network.midrise;
        for (int i = 0; i < n; ++i)
            at(s.step, i) = scale * (rule ? quantize_row<Isa, true>(network, b, i, matrix, s.column_scale)
                                          : quantize_row<Isa, false>(network, b, i, matrix, s.column_scale));
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
    const Lanes rho = laws(&LawValues::regularization) * lanes.noise_var;
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
