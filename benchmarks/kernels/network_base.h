// SPDX-License-Identifier: GPL-3.0-or-later
// What both layouts of the networks in single precision have in common: the laws, and preparing a batch of channels.
// Amplitudes are in units of the distance between PAM levels, so the decision thresholds are the integers.
#pragma once

#include <cmath>

#include "front_end.h"

namespace speed {
namespace {

inline Vec ramp(Vec t, Vec slope, Vec outermost) {
    const Vec threshold = clamp(nearest(t), outermost);
    return threshold + clamp(slope * (t - threshold), all(0.5f));
}

class NetworkBase : public LayeredBaseline {
public:
    NetworkBase(const kaq::Network &network, Form form, int num_channels, int num_rx, int num_tx)
        : network_(network), admm_(network.type == kaq::NetworkType::admm), num_layers_(network.num_layers()),
          front_(form, num_channels, num_rx, num_tx), relaxation_(num_layers_), gradient_step_(num_layers_),
          threshold_(num_layers_), values_(static_cast<std::size_t>(num_channels) * num_rx * num_tx),
          matrix_(static_cast<std::size_t>(num_tx) * num_tx * entry), precision_(num_tx * width),
          diagonal_(num_tx * width), slopes_(num_tx * width), gains_(num_tx * width) {}

    void prepare(const std::complex<float> *h, float noise_var) final {
        const double root = inverse_root_snr(h, noise_var);
        for (int k = 0; k < num_layers_; ++k) {
            relaxation_[k] = static_cast<float>(layer(k).relaxation.at(root));
            gradient_step_[k] = static_cast<float>(layer(k).gradient_step.at(root));
            threshold_[k] = static_cast<float>(layer(k).threshold.at(root)) / pitch();
        }
        for (int batch = 0; batch < front_.num_batches(); ++batch)
            prepare_batch(h, batch, noise_var, root);
    }

protected:
    // Keep the layers' matrix: entry (i, j) at (i num_tx + j) entry of `matrix`, its lower triangle valid, times
    // `factor`.
    virtual void set_matrix(int batch, const float *matrix, Vec factor) = 0;
    // Keep slope and gain of layer k, row i and i + num_tx.
    virtual void set_layer(int batch, int k, const float *slopes, const float *gains) = 0;

    const kaq::Layer &layer(int k) const { return network_.layers[k]; }
    float pitch() const { return 2 * network_.half_distance; }
    float outermost() const { return static_cast<float>(network_.num_levels() / 2 - 1); }

    kaq::Network network_;
    bool admm_;
    int num_layers_;
    FrontEnd front_;
    std::vector<float> relaxation_, gradient_step_, threshold_;

private:
    // Of all channels together, clipped to what training covered.
    double inverse_root_snr(const std::complex<float> *h, float noise_var) const {
        const float *from = reinterpret_cast<const float *>(h);
        const std::size_t count = 2 * values_;
        Vec sums[4] = {all(0), all(0), all(0), all(0)};
        std::size_t i = 0;
        for (; i + 4 * width <= count; i += 4 * width)
            for (int s = 0; s < 4; ++s)
                sums[s] += load(from + i + s * width) * load(from + i + s * width);
        const Vec sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        double power = 0;
        for (int l = 0; l < width; ++l)
            power += sum[l];
        for (; i < count; ++i)
            power += from[i] * from[i];
        const double snr = power * front_.num_tx() / static_cast<double>(values_) / noise_var;
        const auto linear = [](double db) { return std::pow(10.0, db / 10); };
        return 1 / std::sqrt(std::clamp(snr, linear(network_.snr_low_db), linear(network_.snr_high_db)));
    }

    void prepare_batch(const std::complex<float> *h, int batch, float noise_var, double root) {
        const int n = front_.num_tx();
        const Vec mean = front_.begin(h, batch) / static_cast<float>(n);
        const Vec noise = maximum(all(noise_var), 1e-5f * mean + all(1e-30f));
        const float half_squared = network_.half_distance * network_.half_distance;
        Vec factor;
        if (admm_) {
            factor = static_cast<float>(network_.regularization.at(root)) * noise;
            front_.factorise(batch, factor);
        } else {
            factor = 1.0f / (mean + 1e-30f);
        }
        for (int i = 0; i < n; ++i) {
            store(front_.scale(batch) + i * width, (admm_ ? all(1) : factor) / pitch());
            const Vec of = admm_ ? front_.inverse_diagonal(batch, i) : load(front_.gram() + (i * n + i) * entry);
            const Vec error = admm_ ? 0.5f * noise * of : 0.5f * noise / (of + noise);
            store(precision_.data() + i * width, half_squared / error);
            store(diagonal_.data() + i * width, factor * of);
        }
        front_.finish(batch);
        if (admm_) { // X^H X
            const float *x = front_.triangle(batch);
            for (int i = 0; i < n; i += 2) { // the lower triangle
                const int rows = std::min(2, n - i), columns = std::min(i + 2, n);
                multiply<2, 2, true, false>({x + (i * n + i) * entry, 1, n}, {x + i * n * entry, n, 1}, rows, n - i,
                                            columns, matrix_.data() + i * n * entry, n, 1);
            }
            set_matrix(batch, matrix_.data(), factor);
        } else {
            set_matrix(batch, front_.gram(), factor);
        }
        for (int k = 0; k < num_layers_; ++k) {
            const bool has_ramp = layer(k).prox == kaq::Prox::ramp;
            const float inverse_variance = has_ramp ? 1 / static_cast<float>(layer(k).variance.at(root)) : 0;
            const float dual_step = static_cast<float>(layer(k).dual_step.at(root));
            for (int i = 0; i < n * width; i += width) {
                store(slopes_.data() + i, maximum(load(precision_.data() + i) * inverse_variance, all(1)));
                store(gains_.data() + i, minimum(load(diagonal_.data() + i) * dual_step, all(2)));
            }
            set_layer(batch, k, slopes_.data(), gains_.data());
        }
    }

    std::size_t values_; // complex numbers in the channels
    kaq::AlignedVector<float> matrix_, precision_, diagonal_, slopes_, gains_;
};

} // namespace
} // namespace speed
