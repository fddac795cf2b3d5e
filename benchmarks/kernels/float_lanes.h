// SPDX-License-Identifier: GPL-3.0-or-later
// The networks with one channel per lane: no padding of short rows, no broadcasts, complex arithmetic. Included by
// files that are compiled for one instruction set.
#pragma once

#include "network_base.h"

namespace speed {
namespace {

constexpr int tile_rows = 4, tile_vectors = 2;

class FloatLanes final : public NetworkBase {
public:
    FloatLanes(const kaq::Network &network, Form form, int vectors, int num_channels, int num_rx, int num_tx)
        : NetworkBase(network, form, num_channels, num_rx, num_tx), vectors_(vectors), n_(num_tx),
          square_(static_cast<std::size_t>(num_tx) * num_tx * entry) {
        matrix_.resize(front_.num_batches() * square_);
        slope_.resize(static_cast<std::size_t>(front_.num_batches()) * num_layers_ * n_ * width);
        gain_.resize(slope_.size());
        for (auto *state : {&first_, &second_, &dual_})
            state->resize(static_cast<std::size_t>(vectors_) * n_ * entry);
    }

    void detect(const kaq::ReceivedView &received, const kaq::DetectedView &detected) override {
        const int num_vectors = received.num_vectors;
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            for (int first = 0; first < num_vectors; first += vectors_) {
                const int count = std::min(vectors_, num_vectors - first);
                const float *t = run(batch, front_.estimate(received, batch, first, count), count);
                for (int i = 0; i < n_; ++i)
                    for (int v = 0; v < count; ++v, t += entry)
                        front_.store_symbols(pitch() * load(t), pitch() * load(t + width), detected, batch, first + v,
                                             i);
            }
    }

    void filter(const kaq::ReceivedView &received) override {
        const int num_vectors = num_vectors_ = received.num_vectors;
        b_.resize(static_cast<std::size_t>(front_.num_batches()) * num_vectors * n_ * entry);
        float *to = b_.data();
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            for (int first = 0; first < num_vectors; first += vectors_) {
                const int count = std::min(vectors_, num_vectors - first);
                to = std::copy_n(front_.estimate(received, batch, first, count), count * n_ * entry, to);
            }
    }

    void layers() override {
        const float *b = b_.data();
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            for (int first = 0; first < num_vectors_; first += vectors_) {
                const int count = std::min(vectors_, num_vectors_ - first);
                run(batch, b, count);
                b += count * n_ * entry;
            }
    }

private:
    void set_matrix(int batch, const float *matrix, Vec factor) override {
        float *to = matrix_.data() + batch * square_;
        for (int i = 0; i < n_; ++i)
            for (int j = 0; j <= i; ++j) {
                const float *from = matrix + (i * n_ + j) * entry;
                float *below = to + (i * n_ + j) * entry, *above = to + (j * n_ + i) * entry;
                const Vec re = factor * load(from), im = i == j ? all(0) : factor * load(from + width);
                store(below, re);
                store(below + width, im);
                store(above, re);
                store(above + width, -im);
            }
    }

    void set_layer(int batch, int k, const float *slopes, const float *gains) override {
        const std::size_t place = (static_cast<std::size_t>(batch) * num_layers_ + k) * n_ * width;
        std::copy_n(slopes, n_ * width, slope_.data() + place);
        std::copy_n(gains, n_ * width, gain_.data() + place);
    }

    // The K layers of `count` vectors: t [n][count] from b [n][count].
    const float *run(int batch, const float *b, int count) {
        return admm_ ? run_admm(batch, b, count) : run_pgd(batch, b, count);
    }

    // visit(x, row, vector) with sums of the tiles of from + sign matrix v, for every row and vector
    template <bool Subtract, typename Visit>
    void products(int batch, const float *from, const float *v, int count, bool matrix_too, Visit visit) {
        const auto tile = [&]<int Rows, int Columns>(int i, int t) {
            Sums sum[Rows][Columns];
            for (int r = 0; r < Rows; ++r)
                for (int c = 0; c < Columns; ++c) {
                    const float *at = from + ((i + r) * count + t + c) * entry;
                    sum[r][c] = {load(at), load(at + width)};
                }
            if (matrix_too)
                accumulate<Rows, Columns, false, false, Subtract>(
                    {matrix_.data() + batch * square_ + i * n_ * entry, n_, 1}, {v + t * entry, count, 1}, 0, n_, sum);
            for (int r = 0; r < Rows; ++r)
                for (int c = 0; c < Columns; ++c)
                    visit(sum[r][c], i + r, t + c);
        };
        const auto strip = [&]<int Rows>(int i) {
            int t = 0;
            for (; t + tile_vectors <= count; t += tile_vectors)
                tile.template operator()<Rows, tile_vectors>(i, t);
            for (; t < count; ++t)
                tile.template operator()<Rows, 1>(i, t);
        };
        int i = 0;
        for (; i + tile_rows <= n_; i += tile_rows)
            strip.template operator()<tile_rows>(i);
        for (; i + 2 <= n_; i += 2)
            strip.template operator()<2>(i);
        for (; i < n_; ++i)
            strip.template operator()<1>(i);
    }

    const float *run_admm(int batch, const float *b, int count) {
        const float *slopes = slope_.data() + static_cast<std::size_t>(batch) * num_layers_ * n_ * width;
        const float *gains = gain_.data() + static_cast<std::size_t>(batch) * num_layers_ * n_ * width;
        const Vec outer = all(outermost());
        float *from = first_.data(), *to = second_.data();
        for (int i = 0; i < n_; ++i) // z = u = 0
            for (int at = i * count * entry; at < (i + 1) * count * entry; at += width) {
                const Vec relaxed = relaxation_[0] * load(b + at);
                const Vec z = ramp(relaxed, load(slopes + i * width), outer);
                const Vec u = load(gains + i * width) * (relaxed - z);
                store(dual_.data() + at, u);
                store(from + at, z - u);
            }
        for (int k = 1; k <= num_layers_; ++k) {
            slopes += n_ * width;
            gains += n_ * width;
            if (k == num_layers_) {
                products<false>(batch, b, from, count, true, [&](const Sums &x, int i, int t) {
                    store(to + (i * count + t) * entry, x.re);
                    store(to + (i * count + t) * entry + width, x.im);
                });
                return to;
            }
            const Vec relaxation = all(relaxation_[k]);
            products<false>(batch, b, from, count, true, [&](const Sums &x, int i, int t) {
                const Vec slope = load(slopes + i * width), gain = load(gains + i * width);
                const auto part = [&](Vec of, int at) {
                    const Vec u = load(dual_.data() + at), z = u + load(from + at);
                    const Vec relaxed = z + relaxation * (of - z);
                    const Vec next = ramp(relaxed + u, slope, outer);
                    const Vec next_u = u + gain * (relaxed - next);
                    store(dual_.data() + at, next_u);
                    store(to + at, next - next_u);
                };
                part(x.re, (i * count + t) * entry);
                part(x.im, (i * count + t) * entry + width);
            });
            std::swap(from, to);
        }
        return to;
    }

    const float *run_pgd(int batch, const float *b, int count) {
        const float *slopes = slope_.data() + static_cast<std::size_t>(batch) * num_layers_ * n_ * width;
        const Vec outer = all(outermost()), zero = all(0);
        float *from = first_.data(), *to = second_.data();
        std::fill_n(from, n_ * count * entry, 0.0f);
        for (int k = 0; k < num_layers_; ++k, slopes += n_ * width) {
            const Vec step = all(gradient_step_[k]), threshold = all(threshold_[k]);
            const kaq::Prox prox = layer(k).prox;
            products<true>(batch, b, from, count, k > 0, [&](const Sums &gradient, int i, int t) { // b - c G x
                const Vec slope = load(slopes + i * width);
                const auto part = [&](Vec of, int at) {
                    Vec r = load(from + at) + step * of;
                    if (prox == kaq::Prox::ramp)
                        r = ramp(r, slope, outer);
                    else if (prox == kaq::Prox::soft_threshold)
                        r = maximum(r - threshold, zero) + minimum(r + threshold, zero);
                    store(to + at, r);
                };
                part(gradient.re, (i * count + t) * entry);
                part(gradient.im, (i * count + t) * entry + width);
            });
            std::swap(from, to);
        }
        return from;
    }

    int vectors_, n_, num_vectors_ = 0;
    std::size_t square_;
    kaq::AlignedVector<float> matrix_, slope_, gain_, first_, second_, dual_, b_;
};

} // namespace
} // namespace speed
