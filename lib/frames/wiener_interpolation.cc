// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/wiener_interpolation.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "support/complex_matrix.h"
#include "support/complex_product.h"
#include "support/expect.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<float>;

KAQ_EACH_PROCESSOR void analyse(const Complex *filter, const Complex *values, Complex *coefficients,
                                std::size_t num_coefficients, std::size_t num_values, std::size_t num_rx) {
    multiply(filter, values, coefficients, num_coefficients, num_values, num_rx);
}

// From modes [time_modes][carrier_modes * pairs] to the channel of each symbol, [num_active][pairs].
KAQ_EACH_PROCESSOR void synthesize(const float *time, const Complex *frequency, const Complex *modes,
                                   Complex *symbol_modes, Complex *h, std::size_t num_symbols, std::size_t time_modes,
                                   std::size_t num_active, std::size_t carrier_modes, std::size_t pairs) {
    const std::size_t count = 2 * carrier_modes * pairs;
    for (std::size_t t = 0; t < num_symbols; ++t) {
        float *sums = reinterpret_cast<float *>(symbol_modes);
        const float *from = reinterpret_cast<const float *>(modes);
        for (std::size_t i = 0; i < count; ++i)
            sums[i] = time[t * time_modes] * from[i];
        for (std::size_t j = 1; j < time_modes; ++j)
            for (std::size_t i = 0; i < count; ++i)
                sums[i] += time[t * time_modes + j] * from[j * count + i];
        multiply(frequency, symbol_modes, h + t * num_active * pairs, num_active, carrier_modes, pairs);
    }
}

} // namespace

void interpolate(const WienerFilter &filter, ArrayView<const Complex, 4> training, std::span<const Complex> slope,
                 WienerScratch &scratch, ArrayView<Complex, 4> h) {
    const std::size_t num_tx = filter.num_tx, num_values = filter.num_values, num_rx = training.extent(3),
                      num_places = training.extent(2), num_coefficients = filter.time_modes * filter.carrier_modes;
    KAQ_ASSERT(training.extent(1) == num_tx && training.extent(0) * num_places == num_values);
    KAQ_ASSERT(h.extents() ==
               std::array{std::size_t(filter.num_symbols), std::size_t(filter.num_active), num_rx, num_tx});
    KAQ_ASSERT(slope.empty() || slope.size() == h.extent(1));
    scratch.values.resize(num_values * num_rx);
    scratch.coefficients.resize(num_coefficients * num_rx);
    scratch.modes.resize(num_coefficients * num_rx * num_tx);
    scratch.symbol_modes.resize(filter.carrier_modes * num_rx * num_tx);
    for (std::size_t stream = 0; stream < num_tx; ++stream) {
        for (std::size_t s = 0; s < training.extent(0); ++s) {
            const Complex *from = training.row(s, stream, 0).data();
            std::copy(from, from + num_places * num_rx, scratch.values.data() + s * num_places * num_rx);
        }
        analyse(filter.analysis.data() + stream * num_coefficients * num_values, scratch.values.data(),
                scratch.coefficients.data(), num_coefficients, num_values, num_rx);
        for (std::size_t i = 0; i < scratch.coefficients.size(); ++i)
            scratch.modes[i * num_tx + stream] = scratch.coefficients[i];
    }
    const Complex *frequency = filter.frequency.data();
    if (!slope.empty()) {
        scratch.frequency.resize(filter.frequency.size());
        for (std::size_t i = 0; i < scratch.frequency.size(); ++i)
            scratch.frequency[i] = product(filter.frequency[i], slope[i / filter.carrier_modes]);
        frequency = scratch.frequency.data();
    }
    synthesize(filter.time.data(), frequency, scratch.modes.data(), scratch.symbol_modes.data(), h.data(),
               filter.num_symbols, filter.time_modes, filter.num_active, filter.carrier_modes, num_rx * num_tx);
}

WienerInterpolator::WienerInterpolator(std::shared_ptr<WienerFilters> filters) : filters_(std::move(filters)) {}

void WienerInterpolator::interpolate(const ObservedFrame &frame, const std::optional<FrameArrival> &,
                                     std::span<const Complex> slope, ArrayView<Complex, 4> h, std::span<double> error) {
    const std::shared_ptr<const WienerFilter> filter =
        filters_->get({power_step(frame.snr), frame.delay_model, frame.doppler});
    const std::size_t num_rx = frame.noise_var.size(), num_tx = h.extent(3), values = frame.training.size() / num_rx;
    expect(std::size_t(filter->num_symbols) == h.extent(0) && std::size_t(filter->num_active) == h.extent(1) &&
               std::size_t(filter->num_tx) == num_tx && filter->num_values * num_tx == values &&
               filter->error.size() == error.size(),
           "a filter for frames of another format");
    const std::size_t num_places = values / num_tx / training_symbols;
    KAQ_ASSERT(training_symbols * num_tx * num_places == values);
    kaq::interpolate(*filter, {frame.training.data(), training_symbols, num_tx, num_places, num_rx}, slope, scratch_,
                     h);
    std::ranges::copy(filter->error, error.begin());
}

} // namespace kaq
