// SPDX-License-Identifier: GPL-3.0-or-later
// LMMSE, unbiased as gr_kaq.detection.linear.lmmse has it. Included by files that are compiled for one instruction set.
#pragma once

#include "front_end.h"

namespace speed {
namespace {

class Lmmse final : public Baseline {
public:
    Lmmse(Form form, int num_channels, int num_rx, int num_tx) : front_(form, num_channels, num_rx, num_tx) {}

    void prepare(const std::complex<float> *h, float noise_var) override {
        for (int batch = 0; batch < front_.num_batches(); ++batch) {
            const Vec trace = front_.begin(h, batch);
            const Vec noise = maximum(all(noise_var), all(1e-7f) * trace + all(1e-30f)); // keeps the inverse finite
            front_.factorise(batch, noise);
            for (int i = 0; i < front_.num_tx(); ++i) {
                const Vec gain = 1.0f - noise * front_.inverse_diagonal(batch, i);
                store(front_.scale(batch) + i * width, 1.0f / maximum(gain, all(1e-6f)));
            }
            front_.finish(batch);
        }
    }

    void detect(const kaq::ReceivedView &received, const kaq::DetectedView &detected) override {
        const int num_vectors = received.num_vectors;
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            for (int first = 0; first < num_vectors; first += vectors_at_once) {
                const int count = std::min(vectors_at_once, num_vectors - first);
                const float *estimate = front_.estimate(received, batch, first, count);
                for (int i = 0; i < front_.num_tx(); ++i)
                    for (int t = 0; t < count; ++t, estimate += entry)
                        front_.store_symbols(load(estimate), load(estimate + width), detected, batch, first + t, i);
            }
    }

private:
    FrontEnd front_;
};

std::unique_ptr<Baseline> make_lmmse(Form form, int num_channels, int num_rx, int num_tx) {
    return std::make_unique<Lmmse>(form, num_channels, num_rx, num_tx);
}

} // namespace
} // namespace speed
