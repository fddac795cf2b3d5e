// SPDX-License-Identifier: GPL-3.0-or-later
// What happens to the carriers of a frame once its channel is estimated: common phases from the pilots, and the data
// carriers as a detector takes them. A frame is a grid [symbol][num_rx][num_active], its channel h
// [symbol][num_active][num_rx][num_tx].
#pragma once

#include <complex>
#include <span>
#include <vector>

#include "support/views.h"

namespace kaq {

// What the pilots of each symbol say, as sums over them:
//
//     received = exp(i phase) expected + noise
struct PilotSums {
    std::span<const std::complex<double>> correlation; // sum conj(expected) received
    std::span<const double> energy;                    // sum |expected|^2
    std::span<const double> total;                     // sum |received|^2
    int count;                                         // values in each sum, at least 1
};

// The maximum-likelihood phase of each symbol in radians, shrunk by what of their variance is due to the noise: where
// there is no phase noise, the estimates would otherwise bring some in. All are 0 if a symbol's energy is not positive.
std::vector<double> common_phases(const PilotSums &sums);

// Where pilots and data are.
struct CarrierMap {
    int num_symbols, num_active, num_tx;
    std::vector<int> symbols;                // those with data
    std::vector<int> pilots, data;           // for each of them, as many carriers
    std::vector<std::complex<float>> values; // what is sent at each pilot, [pilot][num_tx]

    int num_pilots() const { return static_cast<int>(pilots.size() / symbols.size()); } // of a symbol with data
    int num_data() const { return static_cast<int>(data.size() / symbols.size()); }
};

// Turns the channel of each carrier by `slope` [num_active], then each symbol with pilots by its common phase.
//
// scale: what the antennas [num_rx] are multiplied with to have equal noise.
// phase: of each symbol [num_symbols] in radians; those that are known before, and afterwards all.
//
// Returns the mean square of what remains unexplained at a pilot, a sum over antennas.
double track_phases(const CarrierMap &map, ArrayView<const std::complex<float>, 3> grid,
                    std::span<const std::complex<float>> slope, std::span<const double> scale,
                    ArrayView<std::complex<float>, 4> h, std::span<double> phase);

// The data carriers with the phase [num_symbols] of their symbol taken away, and their channel; both multiplied with
// scale [symbols with data][num_rx].
//
// received: [num_rx][symbols with data][num_data]
// channel:  [symbols with data][num_data][num_rx][num_tx]
//
// Returns the sum of |channel|^2.
double take_data(const CarrierMap &map, ArrayView<const std::complex<float>, 3> grid,
                 ArrayView<const std::complex<float>, 4> h, std::span<const double> phase,
                 ArrayView<const float, 2> scale, ArrayView<std::complex<float>, 3> received,
                 ArrayView<std::complex<float>, 4> channel);

} // namespace kaq
