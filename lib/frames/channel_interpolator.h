// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <optional>
#include <span>
#include <vector>

#include "frames/frame_observer.h"
#include "support/views.h"

namespace kaq {

// When a frame came, as the search for frames says.
struct FrameArrival {
    double sample;         // its first one, counted from any time on
    double carrier_offset; // that was taken away, in cycles per sample
};

// What a forecast may be wrong by: independent errors of modes, where the noise of each antenna is 1.
struct ForecastErrors {
    int num_modes = 0;
    std::vector<std::complex<float>> frequency; // [num_active][mode]
    std::vector<double> variances;              // [num_tx][mode][num_symbols]
};

// From the training symbols of a frame to its channel everywhere.
class ChannelInterpolator {
public:
    virtual ~ChannelInterpolator() = default;

    // arrival: for those that remember frames; nothing where nobody knows.
    // slope: [num_active], what the channel of each carrier is multiplied with; or nothing.
    // h: [num_symbols][num_active][num_rx][num_tx].
    // error: [num_symbols], error variance relative to the mean |h|^2.
    virtual void interpolate(const ObservedFrame &frame, const std::optional<FrameArrival> &arrival,
                             std::span<const std::complex<float>> slope, ArrayView<std::complex<float>, 4> h,
                             std::span<double> error) = 0;

    // The channel of a later frame whose training nobody looked at, from the frames before; nothing where they do not
    // say. Its phase and its delay are roughly right only. Otherwise as `interpolate`, with nothing taken out.
    //
    // snr: of the frame before.
    //
    // Returns what of the carrier offset is left in the frame, in cycles per symbol.
    virtual std::optional<double> forecast(const FrameArrival & /*arrival*/, double /*snr*/,
                                           ArrayView<std::complex<float>, 4> /*h*/, std::span<double> /*error*/,
                                           ForecastErrors & /*errors*/) {
        return std::nullopt;
    }
};

} // namespace kaq
