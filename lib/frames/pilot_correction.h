// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <span>
#include <vector>

#include "frames/channel_interpolator.h"
#include "frames/frame_carriers.h"
#include "support/views.h"

namespace kaq {

// What pilots say of a channel that was forecast, where it is wrong:
//
//     pilot = h x + sum over streams and modes of x frequency sqrt(variance) u + n,   u ~ CN(0, 1)
//
// u is estimated for each antenna, LMMSE, and is the same in the whole frame.
class PilotCorrection {
public:
    // noise_var: [num_rx], 0 for an antenna without anything.
    // phase:     of each symbol.
    // turns:     [num_active], what the frequencies of the errors are multiplied with to be those of the frame.
    //
    // Returns which share of the expected error is left.
    double correct(const CarrierMap &map, ArrayView<const std::complex<float>, 3> grid,
                   std::span<const double> noise_var, std::span<const double> phase,
                   std::span<const std::complex<float>> turns, const ForecastErrors &errors,
                   ArrayView<std::complex<float>, 4> h);

private:
    std::vector<std::complex<float>> waves_, added_;
    std::vector<std::complex<double>> seen_, inverse_, sums_, left_;
    std::vector<float> scales_;
};

} // namespace kaq
