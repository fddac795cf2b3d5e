// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_estimator.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

#include "support/complex_product.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<float>;

constexpr float saturation = 1e10f; // larger samples are errors
constexpr float least_magnitude = 1e-10f;

inline bool is_valid(Complex value) {
    return std::abs(value.real()) <= saturation && std::abs(value.imag()) <= saturation; // not for NaN
}

KAQ_EACH_PROCESSOR void collect_carriers(const Complex *transform, const int *places, const Complex *correction,
                                         int count, Complex *to) {
    for (int i = 0; i < count; ++i) {
        const Complex value = product(transform[places[i]], correction[i]);
        to[i] = is_valid(value) ? value : Complex{};
    }
}

// [num_rx][num_tx][num_active] of h [num_active][num_rx * num_tx]
void show_magnitudes(const Complex *h, std::size_t num_active, std::size_t pairs, std::span<float> magnitudes) {
    KAQ_ASSERT(magnitudes.size() == num_active * pairs);
    for (std::size_t f = 0; f < num_active; ++f)
        for (std::size_t p = 0; p < pairs; ++p)
            magnitudes[p * num_active + f] =
                20 *
                std::log10(std::max(std::hypot(h[f * pairs + p].real(), h[f * pairs + p].imag()), least_magnitude));
}

} // namespace

void collect_grid(const TransformMap &map, int num_symbols, std::span<const Complex *const> transforms,
                  std::span<Complex> grid, std::span<double> guard_energy) {
    const std::size_t num_active = map.active.size(), num_rx = transforms.size();
    KAQ_ASSERT(grid.size() == num_symbols * num_rx * num_active && guard_energy.size() == num_rx);
    for (std::size_t a = 0; a < num_rx; ++a) {
        double energy = 0;
        for (int s = 0; s < num_symbols; ++s) {
            const Complex *transform = transforms[a] + static_cast<std::size_t>(s) * map.fft_size;
            collect_carriers(transform, map.active.data(), map.correction.data(), static_cast<int>(num_active),
                             grid.data() + (s * num_rx + a) * num_active);
            for (const int place : map.guards)
                energy += is_valid(transform[place]) ? std::norm(std::complex<double>(transform[place])) : 0;
        }
        guard_energy[a] = energy;
    }
}

FrameEstimator::FrameEstimator(std::shared_ptr<FrameObserver> observer,
                               std::shared_ptr<ChannelInterpolator> interpolator, TransformMap map, CarrierMap carriers,
                               int num_rx)
    : observer_(std::move(observer)), interpolator_(std::move(interpolator)), map_(std::move(map)),
      carriers_(std::move(carriers)), num_rx_(num_rx), observed_{},
      grid_(static_cast<std::size_t>(carriers_.num_symbols) * num_rx * carriers_.num_active),
      h_(grid_.size() * carriers_.num_tx), slope_(carriers_.num_active), guard_energy_(num_rx), scale_(num_rx),
      phase_(carriers_.num_symbols), error_(carriers_.num_symbols), share_(carriers_.num_symbols) {}

FrameEstimate FrameEstimator::estimate(std::span<const Complex *const> transforms,
                                       const std::optional<FrameArrival> &arrival, std::span<Complex *const> received,
                                       Complex *channel, std::span<float> magnitudes) {
    const int num_symbols = carriers_.num_symbols, num_active = carriers_.num_active, num_tx = carriers_.num_tx;
    collect_grid(map_, num_symbols, transforms, grid_, guard_energy_);
    const ArrayView<const Complex, 3> grid(grid_.data(), num_symbols, num_rx_, num_active);
    observer_->observe(grid, guard_energy_, num_symbols * static_cast<int>(map_.guards.size()), observed_);

    for (int f = 0; f < num_active; ++f)
        slope_[f] = Complex(std::polar(1.0, -2 * std::numbers::pi * observed_.delay * map_.numbers[f]));
    const ArrayView<Complex, 4> h(h_.data(), num_symbols, num_active, num_rx_, num_tx);
    interpolator_->interpolate(observed_, arrival, slope_, h, error_);

    for (int s = 0; s < num_symbols; ++s)
        phase_[s] = 2 * std::numbers::pi * observed_.carrier_offset * s;
    equal_noise(observed_.noise_var, scale_);
    const double residual = track_phases(carriers_, grid, {}, scale_, h, phase_);
    error_shares(carriers_, observed_.noise_var, residual, observed_.snr, error_, share_);
    const ArrayView<Complex, 4> to(channel, carriers_.symbols.size(), carriers_.num_data(), num_rx_, num_tx);
    const DataNoise data = take_data(carriers_, grid, h, phase_, observed_.noise_var, share_, received, to);
    if (!magnitudes.empty())
        show_magnitudes(h.row(num_symbols / 2, 0, 0).data(), num_active, num_rx_ * num_tx, magnitudes);
    double noise = 0;
    for (const double of_antenna : observed_.noise_var)
        noise += of_antenna / num_rx_;
    return {noise,
            10 * std::log10(observed_.snr),
            observed_.delay_model,
            observed_.doppler,
            observed_.carrier_offset,
            observed_.delay,
            data};
}

} // namespace kaq
