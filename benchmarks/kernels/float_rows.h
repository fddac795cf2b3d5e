// SPDX-License-Identifier: GPL-3.0-or-later
// The networks with the rows of a vector in the lanes of a register, as the integer kernel lays them out. Included by
// files that are compiled for one instruction set.
#pragma once

#include "float_layers.h"
#include "network_base.h"

namespace speed {
namespace {

using RunLayers = void (*)(const FloatChannel &, const float *b, float *t, int num_vectors);

class FloatRows final : public NetworkBase {
public:
    FloatRows(const kaq::Network &network, Form form, RunLayers run, int num_channels, int num_rx, int num_tx)
        : NetworkBase(network, form, num_channels, num_rx, num_tx), run_(run),
          stride_((2 * num_tx + width - 1) / width * width) {
        const std::size_t channels = static_cast<std::size_t>(front_.num_batches()) * width;
        matrix_.resize(channels * 2 * num_tx * stride_);
        slope_.resize(channels * num_layers_ * stride_);
        gain_.resize(channels * num_layers_ * stride_);
        rows_.resize(static_cast<std::size_t>(stride_) * width);
        block_.resize(static_cast<std::size_t>(width) * vectors_at_once * stride_);
        out_.resize(block_.size());
    }

    void detect(const kaq::ReceivedView &received, const kaq::DetectedView &detected) override {
        const int num_vectors = received.num_vectors;
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            for (int first = 0; first < num_vectors; first += vectors_at_once) {
                const int count = std::min(vectors_at_once, num_vectors - first);
                estimate_rows(received, batch, first, count, block_.data(), count * stride_);
                for (int l = 0; l < front_.used(batch); ++l)
                    run_(channel(front_.first_channel(batch) + l), block_.data() + l * count * stride_,
                         out_.data() + l * count * stride_, count);
                for (int t = 0; t < count; ++t)
                    symbols(detected, batch, first + t, out_.data() + t * stride_, count * stride_);
            }
    }

    void filter(const kaq::ReceivedView &received) override {
        const int num_vectors = num_vectors_ = received.num_vectors;
        b_.resize(static_cast<std::size_t>(front_.num_batches()) * width * num_vectors * stride_);
        t_.resize(b_.size());
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            for (int first = 0; first < num_vectors; first += vectors_at_once)
                estimate_rows(received, batch, first, std::min(vectors_at_once, num_vectors - first),
                              b_.data() + of_channel(front_.first_channel(batch)) + first * stride_, of_channel(1));
    }

    void layers() override {
        for (int c = 0; c < front_.num_channels(); ++c)
            run_(channel(c), b_.data() + of_channel(c), t_.data() + of_channel(c), num_vectors_);
    }

private:
    std::size_t of_channel(int c) const { return static_cast<std::size_t>(c) * num_vectors_ * stride_; }

    FloatChannel channel(int c) const {
        const std::size_t rows = 2 * front_.num_tx(), of_layers = static_cast<std::size_t>(c) * num_layers_ * stride_;
        return {admm_,
                static_cast<int>(rows),
                stride_,
                num_layers_,
                outermost(),
                matrix_.data() + c * rows * stride_,
                slope_.data() + of_layers,
                gain_.data() + of_layers,
                relaxation_.data(),
                gradient_step_.data(),
                threshold_.data(),
                network_.layers.data()};
    }

    // rows_ [stride][lane] to one row vector per channel, `distance` floats apart.
    void scatter_rows(float *to, std::size_t distance) const {
        for (int row = 0; row < stride_; row += width) {
            Vec r[width];
            for (int i = 0; i < width; ++i)
                r[i] = load(rows_.data() + (row + i) * width);
            transpose(r);
            for (int l = 0; l < width; ++l)
                store(to + l * distance + row, r[l]);
        }
    }

    // Row i and row num_tx + i.
    void set_rows(int i, Vec real, Vec imaginary) {
        store(rows_.data() + i * width, real);
        store(rows_.data() + (front_.num_tx() + i) * width, imaginary);
    }

    void set_matrix(int batch, const float *matrix, Vec factor) override {
        const int n = front_.num_tx();
        float *to = matrix_.data() + static_cast<std::size_t>(front_.first_channel(batch)) * 2 * n * stride_;
        const std::size_t distance = static_cast<std::size_t>(2) * n * stride_;
        for (int j = 0; j < n; ++j) {
            const auto part = [&](int i, int offset) { // of entry (i, j), from the lower triangle
                const Vec x = load(matrix + (i >= j ? i * n + j : j * n + i) * entry + offset);
                return factor * (offset && i < j ? -x : x);
            };
            for (int i = 0; i < n; ++i)
                set_rows(i, part(i, 0), i == j ? all(0) : part(i, width));
            scatter_rows(to + j * stride_, distance);
            for (int i = 0; i < n; ++i)
                set_rows(i, i == j ? all(0) : -part(i, width), part(i, 0));
            scatter_rows(to + (n + j) * stride_, distance);
        }
    }

    void set_layer(int batch, int k, const float *slopes, const float *gains) override {
        const std::size_t place = (static_cast<std::size_t>(front_.first_channel(batch)) * num_layers_ + k) * stride_;
        const std::size_t distance = static_cast<std::size_t>(num_layers_) * stride_;
        for (int i = 0; i < front_.num_tx(); ++i)
            set_rows(i, load(slopes + i * width), load(slopes + i * width));
        scatter_rows(slope_.data() + place, distance);
        if (!admm_)
            return;
        for (int i = 0; i < front_.num_tx(); ++i)
            set_rows(i, load(gains + i * width), load(gains + i * width));
        scatter_rows(gain_.data() + place, distance);
    }

    // The linear estimates of `count` vectors as rows: [lane][count][stride], the lanes `distance` apart.
    void estimate_rows(const kaq::ReceivedView &received, int batch, int first, int count, float *to,
                       std::size_t distance) {
        const float *estimate = front_.estimate(received, batch, first, count);
        for (int t = 0; t < count; ++t) {
            for (int i = 0; i < front_.num_tx(); ++i) {
                const float *at = estimate + (i * count + t) * entry;
                set_rows(i, load(at), load(at + width));
            }
            scatter_rows(to + t * stride_, distance);
        }
    }

    // The rows of one vector of each channel, `distance` floats apart, to its symbols.
    void symbols(const kaq::DetectedView &detected, int batch, int vector, const float *from, std::size_t distance) {
        const int n = front_.num_tx();
        for (int row = 0; row < stride_; row += width) {
            Vec r[width];
            for (int l = 0; l < width; ++l)
                r[l] = load(from + l * distance + row);
            transpose(r);
            for (int i = 0; i < width; ++i)
                store(rows_.data() + (row + i) * width, r[i]);
        }
        for (int i = 0; i < n; ++i)
            front_.store_symbols(pitch() * load(rows_.data() + i * width),
                                 pitch() * load(rows_.data() + (n + i) * width), detected, batch, vector, i);
    }

    RunLayers run_;
    int stride_, num_vectors_ = 0;
    kaq::AlignedVector<float> matrix_, slope_, gain_, rows_, block_, out_, b_, t_;
};

} // namespace
} // namespace speed
