// SPDX-License-Identifier: GPL-3.0-or-later
// Two-dimensional Wiener interpolation of a frame's channel; python/gr_kaq/estimation/interpolation.py makes the
// filters.
#pragma once

#include <complex>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "frames/channel_interpolator.h"
#include "frames/filter_cache.h"
#include "support/views.h"

namespace kaq {

// The channel is time x frequency x coefficients; `analysis` estimates these from the training values of a stream.
struct WienerFilter {
    int num_tx, num_values;                     // training values of a stream
    int num_symbols, num_active;                // of the frame
    int time_modes, carrier_modes;              // coefficients: as many as their product
    std::vector<std::complex<float>> analysis;  // [num_tx][coefficient][value]
    std::vector<float> time;                    // [num_symbols][time_modes]
    std::vector<std::complex<float>> frequency; // [num_active][carrier_modes]
    std::vector<double> error;                  // [num_symbols], error variance relative to the mean |h|^2
};

// Of steps of SNR, of delay models and of Dopplers.
using WienerFilters = FilterCache<WienerFilter, 3>;

// The memory that a channel is interpolated in: from the second frame on, nothing is allocated.
struct WienerScratch {
    std::vector<std::complex<float>> values, coefficients, modes, symbol_modes, frequency;
};

// training: [symbol][num_tx][place][num_rx].
// slope: [num_active], what the channel of each carrier is multiplied with; or nothing.
// h: [num_symbols][num_active][num_rx][num_tx].
void interpolate(const WienerFilter &filter, ArrayView<const std::complex<float>, 4> training,
                 std::span<const std::complex<float>> slope, WienerScratch &scratch,
                 ArrayView<std::complex<float>, 4> h);

// Each frame by itself.
class WienerInterpolator : public ChannelInterpolator {
public:
    explicit WienerInterpolator(std::shared_ptr<WienerFilters> filters);

    void interpolate(const ObservedFrame &frame, const std::optional<FrameArrival> &arrival,
                     std::span<const std::complex<float>> slope, ArrayView<std::complex<float>, 4> h,
                     std::span<double> error) override;

private:
    std::shared_ptr<WienerFilters> filters_;
    WienerScratch scratch_;
};

} // namespace kaq
