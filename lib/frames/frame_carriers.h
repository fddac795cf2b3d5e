// SPDX-License-Identifier: GPL-3.0-or-later
// What happens to the carriers of a frame once its channel is estimated: common phases from the pilots, and the data
// carriers as a detector takes them. A frame is a grid [symbol][num_rx][num_active], its channel h
// [symbol][num_active][num_rx][num_tx].
#pragma once

#include <complex>
#include <vector>

namespace kaq {

// The common phase of each symbol in radians, from sums over `count` pilots of each:
//
//     received = exp(i phase) expected + noise
//     correlation = sum conj(expected) received, energy = sum |expected|^2, total = sum |received|^2
//
// The maximum-likelihood phases, shrunk by what of their variance is due to the noise: where there is no phase noise,
// the estimates would otherwise bring some in.
std::vector<double> common_phases(const std::vector<std::complex<double>> &correlation,
                                  const std::vector<double> &energy, const std::vector<double> &total, int count);

// Where pilots and data are.
struct CarrierMap {
    int num_symbols, num_active, num_tx;
    std::vector<int> symbols;                // those with data
    std::vector<int> pilots, data;           // for each of them, as many carriers
    std::vector<std::complex<float>> values; // what is sent at each pilot, [pilot][num_tx]

    int num_pilots() const { return static_cast<int>(pilots.size() / symbols.size()); }
    int num_data() const { return static_cast<int>(data.size() / symbols.size()); }
};

// Turns the channel of each carrier by `slope`, then each symbol with pilots by its common phase: phase [num_symbols]
// holds those that are known before, in radians, and afterwards all. The antennas, which have to have equal noise, are
// multiplied with scale [num_rx]. Returns the mean square of what remains unexplained at a pilot, a sum over antennas.
double track_phases(const CarrierMap &map, int num_rx, const std::complex<float> *grid,
                    const std::complex<float> *slope, const double *scale, std::complex<float> *h, double *phase);

// The data carriers, received [num_rx][symbols][num_data] and channel [symbols][num_data][num_rx][num_tx]: the phase
// [num_symbols] taken away, all multiplied with scale [symbols][num_rx]. Returns the sum of |channel|^2.
double take_data(const CarrierMap &map, int num_rx, const std::complex<float> *grid, const std::complex<float> *h,
                 const double *phase, const float *scale, std::complex<float> *received, std::complex<float> *channel);

} // namespace kaq
