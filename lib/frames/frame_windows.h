// SPDX-License-Identifier: GPL-3.0-or-later
// The channel of a frame cut into windows of one pair of antennas each, as a learned estimator takes it: real parts and
// imaginary parts as grids of their own. The channel is [symbol][num_active][num_rx][num_tx], the grids are
// [2][num_active / width][num_rx][num_tx][width][symbol].
#pragma once

#include <complex>

namespace kaq {

struct WindowShape {
    int num_symbols, num_active, num_rx, num_tx;
    int width; // carriers of a window; divides num_active
};

// Grids of a channel, each antenna multiplied with scale [num_rx].
void cut_windows(const WindowShape &shape, const std::complex<float> *channel, const float *scale, float *grids);

// The channel of grids, each antenna divided by scale [num_rx]. Returns whether all of it is finite.
bool join_windows(const WindowShape &shape, const float *grids, const float *scale, std::complex<float> *channel);

} // namespace kaq
