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
constexpr double least_interference = 1e-10;

inline bool is_valid(Complex value) {
    return std::abs(value.real()) <= saturation && std::abs(value.imag()) <= saturation; // not for NaN
}

inline Complex valid(Complex value) { return is_valid(value) ? value : Complex{}; }

KAQ_EACH_PROCESSOR void collect_carriers(const Complex *transform, const int *places, const Complex *correction,
                                         int count, Complex *to) {
    for (int i = 0; i < count; ++i) {
        const Complex value = product(transform[places[i]], correction[i]);
        to[i] = valid(value);
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

Interference interference_in(const ObservedFrame &frame, std::span<const int> numbers) {
    if (!frame.whitening.is_needed)
        return {false, 0, 0, 0};
    return {true, numbers[frame.whitening.first], numbers[frame.whitening.last],
            10 * std::log10(std::max(frame.whitening.interference, least_interference))};
}

} // namespace

void collect_grid(const TransformMap &map, int num_symbols, std::span<const Complex *const> transforms,
                  std::span<Complex> grid, NoiseSum &guards, std::vector<std::complex<double>> &samples) {
    const std::size_t num_active = map.active.size(), num_rx = transforms.size();
    KAQ_ASSERT(grid.size() == num_symbols * num_rx * num_active);
    for (std::size_t a = 0; a < num_rx; ++a)
        for (int s = 0; s < num_symbols; ++s)
            collect_carriers(transforms[a] + static_cast<std::size_t>(s) * map.fft_size, map.active.data(),
                             map.correction.data(), static_cast<int>(num_active),
                             grid.data() + (s * num_rx + a) * num_active);
    guards.clear(num_rx);
    samples.resize(map.guards.size() * num_rx);
    for (int s = 0; s < num_symbols; ++s) {
        for (std::size_t a = 0; a < num_rx; ++a) {
            const Complex *transform = transforms[a] + static_cast<std::size_t>(s) * map.fft_size;
            for (std::size_t i = 0; i < map.guards.size(); ++i)
                samples[i * num_rx + a] = valid(transform[map.guards[i]]);
        }
        guards.add(samples);
    }
}

FrameEstimator::FrameEstimator(std::shared_ptr<FrameObserver> observer,
                               std::shared_ptr<ChannelInterpolator> interpolator, TransformMap map, CarrierMap carriers,
                               int num_rx, bool whitens)
    : observer_(std::move(observer)), interpolator_(std::move(interpolator)), map_(std::move(map)),
      carriers_(std::move(carriers)), num_rx_(num_rx), whitens_(whitens), observed_{},
      grid_(static_cast<std::size_t>(carriers_.num_symbols) * num_rx * carriers_.num_active),
      h_(grid_.size() * carriers_.num_tx), slope_(carriers_.num_active), noise_var_(num_rx), scale_(num_rx),
      phase_(carriers_.num_symbols), error_(carriers_.num_symbols), share_(carriers_.num_symbols),
      pilots_(carriers_, map_.numbers) {}

FrameEstimate FrameEstimator::estimate(std::span<const Complex *const> transforms,
                                       const std::optional<FrameArrival> &arrival, bool looks,
                                       std::span<Complex *const> received, Complex *channel,
                                       std::span<float> magnitudes) {
    const int num_symbols = carriers_.num_symbols, num_active = carriers_.num_active, num_tx = carriers_.num_tx;
    collect_grid(map_, num_symbols, transforms, grid_, guards_, guard_samples_);
    const ArrayView<Complex, 3> grid(grid_.data(), num_symbols, num_rx_, num_active);
    const ArrayView<Complex, 4> h(h_.data(), num_symbols, num_active, num_rx_, num_tx);
    std::optional<double> left;
    if (!looks && arrival && has_observed_)
        left = interpolator_->forecast(*arrival, observed_.snr, h, error_, forecast_errors_);
    if (left) {
        observed_.carrier_offset = *left;
    } else {
        has_observed_ = false; // until it is
        observer_->observe(grid, guards_, whitens_ ? &track_ : nullptr, observed_);
        has_observed_ = true;
        for (int f = 0; f < num_active; ++f)
            slope_[f] = Complex(std::polar(1.0, -2 * std::numbers::pi * observed_.delay * map_.numbers[f]));
        interpolator_->interpolate(observed_, arrival, slope_, h, error_);
    }
    for (int s = 0; s < num_symbols; ++s)
        phase_[s] = 2 * std::numbers::pi * observed_.carrier_offset * s;
    if (left) {
        equal_noise(observed_.noise_var, scale_);
        pilots_.align(carriers_, grid, scale_, phase_, h);
    }
    if (!magnitudes.empty())
        show_magnitudes(h.row(num_symbols / 2, 0, 0).data(), num_active, num_rx_ * num_tx, magnitudes);
    noise_var_ = observed_.noise_var;
    if (observed_.whitening.is_needed) {
        whiten(observed_.whitening, grid, h);
        for (double &of_antenna : noise_var_)
            of_antenna = of_antenna > 0 ? observed_.whitening.noise_var : 0;
    }
    equal_noise(noise_var_, scale_);
    const double residual = track_phases(carriers_, grid, {}, scale_, h, phase_);
    error_shares(carriers_, noise_var_, residual, observed_.snr, error_, share_);
    if (left && !observed_.whitening.is_needed) {
        const double kept =
            correction_.correct(carriers_, grid, noise_var_, phase_, pilots_.turns(), forecast_errors_, h);
        for (double &of_symbol : share_)
            of_symbol *= kept;
    }
    const ArrayView<Complex, 4> to(channel, carriers_.symbols.size(), carriers_.num_data(), num_rx_, num_tx);
    const DataNoise data = take_data(carriers_, grid, h, phase_, noise_var_, share_, received, to);
    double noise = 0;
    for (const double of_antenna : observed_.noise_var)
        noise += of_antenna / num_rx_;
    return {noise,
            10 * std::log10(observed_.snr),
            observed_.delay_model,
            observed_.doppler,
            observed_.carrier_offset,
            observed_.delay,
            data,
            interference_in(observed_, map_.numbers),
            left.has_value()};
}

} // namespace kaq
