// SPDX-License-Identifier: GPL-3.0-or-later
// From samples and H to a linear estimate, `width` channels at once, one per lane: what LMMSE and the networks have in
// common. Included by files that are compiled for one instruction set.
#pragma once

#include "baselines.h"
#include "complex_lanes.h"
#include "support/aligned.h"

namespace speed {
namespace {

constexpr int vectors_at_once = 8;

class FrontEnd {
public:
    FrontEnd(Form form, int num_channels, int num_rx, int num_tx)
        : form_(form), num_channels_(num_channels), num_rx_(num_rx), num_tx_(num_tx),
          h_size_(static_cast<std::size_t>(num_rx) * num_tx * entry),
          square_(static_cast<std::size_t>(num_tx) * num_tx * entry), batches_((num_channels + width - 1) / width),
          gram_(square_), pivots_(num_tx * width), half_(form == Form::filter ? h_size_ : 0),
          received_(static_cast<std::size_t>(vectors_at_once) * num_rx * entry),
          first_(static_cast<std::size_t>(vectors_at_once) * num_tx * entry), second_(first_.size()) {
        h_.resize(form == Form::filter ? h_size_ : batches_ * h_size_);
        x_.resize(form == Form::triangles ? batches_ * square_ : square_);
        filter_.resize(form == Form::filter ? batches_ * h_size_ : 0);
        scale_.resize(batches_ * num_tx * width);
    }

    int num_batches() const { return static_cast<int>(batches_); }
    int num_channels() const { return num_channels_; }
    int num_tx() const { return num_tx_; }
    int first_channel(int batch) const { return batch * width; }
    int used(int batch) const { return std::min(width, num_channels_ - batch * width); }

    // Entry (i, j) at (i num_tx + j) entry. The lower triangle, before it is factorised.
    float *gram() { return gram_.data(); }
    // The inverse of the Cholesky factor, its upper triangle zero; of the batch that was prepared last.
    const float *triangle(int batch) const { return x_.data() + (form_ == Form::triangles ? batch * square_ : 0); }
    // What row i of the estimate is multiplied by; set before `finish`.
    float *scale(int batch) { return scale_.data() + static_cast<std::size_t>(batch) * num_tx_ * width; }

    // H of a batch to lanes, and its Gram matrix; returns the sum of its diagonal.
    Vec begin(const std::complex<float> *h, int batch) {
        const float *from[width];
        const std::size_t size = static_cast<std::size_t>(num_rx_) * num_tx_;
        for (int l = 0; l < width; ++l) // lanes that are not used repeat the last channel
            from[l] = reinterpret_cast<const float *>(h + std::min(batch * width + l, num_channels_ - 1) * size);
        gather_entries(from, static_cast<int>(size), channels(batch));
        gram_matrix(channels(batch), num_rx_, num_tx_, gram_.data());
        Vec trace = all(0);
        for (int i = 0; i < num_tx_; ++i)
            trace += load(diagonal(i));
        return trace;
    }

    // Add to the diagonal, factorise, invert the factor.
    void factorise(int batch, Vec added) {
        for (int i = 0; i < num_tx_; ++i)
            store(diagonal(i), load(diagonal(i)) + added);
        cholesky(gram_.data(), num_tx_, pivots_.data());
        invert_triangle(gram_.data(), pivots_.data(), num_tx_, triangle_of(batch));
    }

    // Entry (i, i) of the inverse.
    Vec inverse_diagonal(int batch, int i) const {
        Vec sum = all(0);
        for (int k = i; k < num_tx_; ++k) {
            const float *at = triangle(batch) + (k * num_tx_ + i) * entry;
            sum += load(at) * load(at) + load(at + width) * load(at + width);
        }
        return sum;
    }

    void finish(int batch) {
        if (form_ != Form::filter)
            return;
        const int n = num_tx_;
        const float *x = triangle(batch);
        float *filter = filter_.data() + batch * h_size_; // X^H (X H^H), [num_tx][num_rx]
        multiply<4, 2, false, true, Terms::up_to_row>({x, n, 1}, {channels(batch), 1, n}, n, n, num_rx_, half_.data(),
                                                      num_rx_, 1);
        multiply<4, 2, true, false, Terms::from_row>({x, 1, n}, {half_.data(), num_rx_, 1}, n, n, num_rx_, filter,
                                                     num_rx_, 1);
        for (int i = 0; i < n; ++i) {
            const Vec factor = load(scale(batch) + i * width);
            for (float *at = filter + i * num_rx_ * entry; at < filter + (i + 1) * num_rx_ * entry; at += width)
                store(at, load(at) * factor);
        }
    }

    // The estimate of `count` vectors from `vector` on: [num_tx][count] entries.
    float *estimate(const kaq::ReceivedView &received, int batch, int vector, int count) {
        const int n = num_tx_;
        for (int r = 0; r < num_rx_; ++r) // [num_rx][count]
            for (int t = 0; t < count; ++t)
                load_samples(received.ports[r] + received.offset + first_channel(batch) * received.channel_stride +
                                 (vector + t) * received.vector_stride,
                             received.channel_stride, used(batch), received_.data() + (r * count + t) * entry);
        const Operand y{received_.data(), count, 1};
        float *out = first_.data();
        if (form_ == Form::filter) {
            apply<false, Terms::all>({filter_.data() + batch * h_size_, num_rx_, 1}, y, num_rx_, count, out);
            return out;
        }
        apply<true, Terms::all>({channels(batch), 1, n}, y, num_rx_, count, out);
        if (form_ == Form::triangles) {
            const float *x = triangle(batch);
            apply<false, Terms::up_to_row>({x, n, 1}, {first_.data(), count, 1}, n, count, second_.data());
            apply<true, Terms::from_row>({x, 1, n}, {second_.data(), count, 1}, n, count, out);
        }
        for (int i = 0; i < n; ++i) {
            const Vec factor = load(scale(batch) + i * width);
            for (float *at = out + i * count * entry; at < out + (i + 1) * count * entry; at += width)
                store(at, load(at) * factor);
        }
        return out;
    }

    // One symbol of each channel of a batch.
    void store_symbols(Vec re, Vec im, const kaq::DetectedView &detected, int batch, int vector, int stream) const {
        const kaq::PortView<std::complex<float>> &symbols = detected.symbols;
        std::complex<float> *to = symbols.ports[stream] + symbols.offset +
                                  first_channel(batch) * symbols.channel_stride + vector * symbols.vector_stride;
        if (symbols.channel_stride == 1 && used(batch) == width)
            return join(re, im, reinterpret_cast<float *>(to));
        for (int l = 0; l < used(batch); ++l)
            to[l * symbols.channel_stride] = {re[l], im[l]};
    }

private:
    float *diagonal(int i) { return gram_.data() + (i * num_tx_ + i) * entry; }
    float *channels(int batch) { return h_.data() + (form_ == Form::filter ? 0 : batch * h_size_); }
    float *triangle_of(int batch) { return const_cast<float *>(triangle(batch)); }

    // out (n, count) = a b
    template <bool Conjugate, Terms Of>
    void apply(const Operand &a, const Operand &b, int terms, int count, float *out) const {
        if (count > 1)
            multiply<4, 2, Conjugate, false, Of>(a, b, num_tx_, terms, count, out, count, 1);
        else
            multiply<4, 1, Conjugate, false, Of>(a, b, num_tx_, terms, count, out, count, 1);
    }

    static void load_samples(const std::complex<float> *from, std::ptrdiff_t stride, int used, float *to) {
        if (stride == 1 && used == width)
            return split(reinterpret_cast<const float *>(from), to);
        for (int l = 0; l < width; ++l) {
            const std::complex<float> sample = from[std::min(l, used - 1) * stride];
            to[l] = sample.real();
            to[width + l] = sample.imag();
        }
    }

    Form form_;
    int num_channels_, num_rx_, num_tx_;
    std::size_t h_size_, square_, batches_;
    kaq::AlignedVector<float> gram_, pivots_, half_, received_, first_, second_, h_, x_, filter_, scale_;
};

} // namespace
} // namespace speed
