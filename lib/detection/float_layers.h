// SPDX-License-Identifier: GPL-3.0-or-later
// The K layers in single precision, one vector in each lane: what integer_layers.h computes, without rounding. Values
// are in state units. full_precision.py is the same in NumPy.
#pragma once

#include <cstddef>

#include "detection/fixed_point.h"
#include "detection/lane_places.h"
#include "detection/unfolded_batch.h"

namespace kaq {
namespace {

// Vectors: those of each lane. Arrays of state are [stream][vector] of complex numbers.
template <int Vectors>
class FloatLayers {
public:
    static std::size_t scratch_registers(const UnfoldedLayout &layout) {
        return 2 * static_cast<std::size_t>(Vectors) * 3 * layout.n;
    }

    FloatLayers(const Network &network, const UnfoldedBatch &batch, float *scratch)
        : network_(network), batch_(batch), layout_(batch.layout), matrix_(batch.float_matrix()) {
        for (ComplexLanes **of : {&operand_[0], &operand_[1], &u_}) {
            *of = reinterpret_cast<ComplexLanes *>(scratch);
            scratch += 2 * static_cast<std::size_t>(layout_.n) * Vectors * native_lanes;
        }
    }

    // t from b.
    void run(const ComplexLanes *b, ComplexLanes *t) {
        if (network_.type == NetworkType::admm)
            run_layers<true>(b, t);
        else
            run_layers<false>(b, t);
    }

private:
    Lanes ramp(const Lanes &t, const Lanes &slope) const {
        constexpr float half = state_half_distance;
        const float outermost = static_cast<float>(network_.num_levels() - 2) * half;
        // 2^22 distances are beyond any estimate that means something, and what rounding_magic rounds
        const Lanes steps = clip(t * (0.5f / half), -1e6f, 1e6f);
        const Lanes nearest = 2 * half * ((steps + rounding_magic) - rounding_magic);
        const Lanes threshold = clip(nearest, -outermost, outermost);
        return threshold + clip(slope * (t - threshold), -half, half);
    }

    // From x, part of the estimate of stream i, to that of the operand of layer k.
    template <bool Admm>
    Lanes operand(int k, int i, const Lanes &x, const Lanes &before, Lanes &u) const {
        if constexpr (!Admm)
            return x;
        const Lanes z = before + u; // the operand is z - u
        const Lanes relaxed = plus_product(z, batch_(layout_.first_gain, k), x - z);
        const Lanes next = ramp(relaxed + u, batch_(layout_.slope(k, i)));
        u = plus_product(u, batch_(layout_.dual(k, i)), relaxed - next);
        return next - u;
    }

    template <bool Admm, int Streams>
    [[gnu::always_inline]] void begin_layer(int k, int first, const ComplexLanes (&x)[Streams][Vectors],
                                            const ComplexLanes *from, ComplexLanes *to) {
        for (int s = 0; s < Streams; ++s)
            for (int v = 0; v < Vectors; ++v) {
                const int i = first + s, place = i * Vectors + v;
                ComplexLanes before{}, u{};
                if (Admm && k)
                    before = from[place], u = u_[place];
                to[place] = {operand<Admm>(k, i, x[s][v].re, before.re, u.re),
                             operand<Admm>(k, i, x[s][v].im, before.im, u.im)};
                if (Admm)
                    u_[place] = u;
            }
    }

    template <bool Admm, int Streams>
    [[gnu::always_inline]] void finish_layer(int k, int first, const ComplexLanes *b, ComplexLanes *t) {
        const ComplexLanes *from = operand_[k % 2];
        ComplexLanes sum[Streams][Vectors];
        for (int s = 0; s < Streams; ++s)
            for (int v = 0; v < Vectors; ++v)
                sum[s][v] = b[(first + s) * Vectors + v];
        if (Admm || k)
            for (int j = 0; j < layout_.n; ++j) {
                ComplexLanes entries[Streams];
                for (int s = 0; s < Streams; ++s) {
                    entries[s] = {matrix_.real(first + s, j), matrix_.imag(first + s, j)};
                    keep(entries[s].re), keep(entries[s].im);
                }
                for (int v = 0; v < Vectors; ++v) {
                    ComplexLanes x = from[j * Vectors + v];
                    keep(x.re), keep(x.im);
                    for (int s = 0; s < Streams; ++s)
                        add_product(sum[s][v].re, sum[s][v].im, entries[s].re, entries[s].im, x.re, x.im);
                }
            }
        if constexpr (!Admm) // the matrix is minus the Gram matrix: the sum is the gradient
            for (int s = 0; s < Streams; ++s)
                for (int v = 0; v < Vectors; ++v) {
                    const Lanes step = batch_(layout_.first_gain, k);
                    const ComplexLanes x = k ? from[(first + s) * Vectors + v] : ComplexLanes{};
                    sum[s][v] = {prox(k, first + s, plus_product(x.re, step, sum[s][v].re)),
                                 prox(k, first + s, plus_product(x.im, step, sum[s][v].im))};
                }
        if (k + 1 < network_.num_layers()) {
            begin_layer<Admm, Streams>(k + 1, first, sum, from, operand_[(k + 1) % 2]);
            return;
        }
        for (int s = 0; s < Streams; ++s)
            for (int v = 0; v < Vectors; ++v)
                t[(first + s) * Vectors + v] = sum[s][v];
    }

    Lanes prox(int k, int i, const Lanes &x) const {
        const Prox prox = network_.layers[k].prox;
        const Lanes threshold = batch_(layout_.threshold, k);
        if (prox == Prox::soft_threshold)
            return maximum(x - threshold, Lanes{}) + minimum(x + threshold, Lanes{});
        return prox == Prox::ramp ? ramp(x, batch_(layout_.slope(k, i))) : x;
    }

    template <bool Admm>
    void run_layers(const ComplexLanes *b, ComplexLanes *t) {
        if constexpr (Admm)
            for (int i = 0; i < layout_.n; ++i) {
                ComplexLanes x[1][Vectors];
                for (int v = 0; v < Vectors; ++v)
                    x[0][v] = b[i * Vectors + v];
                begin_layer<Admm, 1>(0, i, x, operand_[1], operand_[0]);
            }
        for (int k = 0; k < network_.num_layers(); ++k) {
            int i = 0;
            for (; i + 2 <= layout_.n; i += 2)
                finish_layer<Admm, 2>(k, i, b, t);
            if (i < layout_.n)
                finish_layer<Admm, 1>(k, i, b, t);
        }
    }

    const Network &network_;
    const UnfoldedBatch &batch_;
    const UnfoldedLayout &layout_;
    const Matrix matrix_;
    ComplexLanes *operand_[2], *u_;
};

} // namespace
} // namespace kaq
