// SPDX-License-Identifier: GPL-3.0-or-later
// The channel of a frame cut into windows of one pair of antennas each, as a learned estimator takes it: real parts and
// imaginary parts as grids of their own.
//
// channel: [symbol][num_active][num_rx][num_tx]
// grids:   [2][num_active / width][num_rx][num_tx][width][symbol], for windows of `width` carriers
#pragma once

#include <complex>
#include <span>

#include "support/views.h"

namespace kaq {

// Grids of a channel, each antenna multiplied with scale [num_rx].
void cut_windows(ArrayView<const std::complex<float>, 4> channel, std::span<const float> scale,
                 ArrayView<float, 6> grids);

// The channel of grids, each antenna divided by scale [num_rx]. Returns whether all of it is finite.
bool join_windows(ArrayView<const float, 6> grids, std::span<const float> scale,
                  ArrayView<std::complex<float>, 4> channel);

} // namespace kaq
