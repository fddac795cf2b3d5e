// SPDX-License-Identifier: GPL-3.0-or-later
// What happens to the carriers of a frame once its channel is estimated: common phases from the pilots, and the data
// carriers as a detector takes them. A frame is a grid [symbol][num_rx][num_active], its channel h
// [symbol][num_active][num_rx][num_tx].
#pragma once

#include <complex>
#include <span>
#include <vector>

#include "frames/carrier_phases.h"
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

// Turns the channel of each carrier by `slope` [num_active], which may be left out; then finds the common phase of each
// symbol with pilots.
//
// scale: what the antennas [num_rx] are multiplied with to have equal noise.
// phase: of each symbol [num_symbols] in radians; those that are known before, and afterwards all.
//
// Returns the mean square of what remains unexplained at a pilot, a sum over antennas.
double track_phases(const CarrierMap &map, ArrayView<const std::complex<float>, 3> grid,
                    std::span<const std::complex<float>> slope, std::span<const double> scale,
                    ArrayView<std::complex<float>, 4> h, std::span<double> phase);

// Brings a channel that was forecast into the phase and the timing of its frame, as the pilots say them.
class PilotAlignment {
public:
    // numbers: of the active carriers, counted from the middle of the spectrum.
    PilotAlignment(const CarrierMap &map, std::vector<int> numbers);

    // Turns the channel of all symbols by one phase and one delay.
    //
    // scale, phase: as `track_phases` takes them.
    void align(const CarrierMap &map, ArrayView<const std::complex<float>, 3> grid, std::span<const double> scale,
               std::span<const double> phase, ArrayView<std::complex<float>, 4> h);

    // What each active carrier was multiplied with.
    std::span<const std::complex<float>> turns() const { return turns_; }

private:
    std::vector<std::complex<float>> turns_;
    std::vector<int> numbers_, places_; // of all active carriers, and of each pilot
    double spacing_;                    // from one pilot of a symbol to the next
    CarrierPhases phases_;
    std::vector<std::complex<double>> products_;
};

// What each antenna is multiplied with so that all have the mean noise variance; 0 where nothing is received.
void equal_noise(std::span<const double> noise_var, std::span<double> scale);

// By how much the errors of the channel raise the noise on each symbol, as a share of the noise: the filter's own
// estimate `error` [num_symbols], relative to the mean |h|^2, as a whole corrected by what the pilots show.
//
// noise_var: [num_rx]
// residual:  of track_phases
// snr:       of the frame
// share:     [num_symbols]
void error_shares(const CarrierMap &map, std::span<const double> noise_var, double residual, double snr,
                  std::span<const double> error, std::span<double> share);

// What the data carriers have after `take_data`.
struct DataNoise {
    double noise_var; // the errors of the channel included
    double snr_db;
};

// The data carriers with the phase [num_symbols] of their symbol taken away, and their channel: antennas and symbols
// scaled to equal noise.
//
// noise_var: [num_rx]
// error:     [num_symbols], as error_shares gives it
// received:  for each antenna [symbols with data][num_data]
// channel:   [symbols with data][num_data][num_rx][num_tx]
DataNoise take_data(const CarrierMap &map, ArrayView<const std::complex<float>, 3> grid,
                    ArrayView<const std::complex<float>, 4> h, std::span<const double> phase,
                    std::span<const double> noise_var, std::span<const double> error,
                    std::span<std::complex<float> *const> received, ArrayView<std::complex<float>, 4> channel);

} // namespace kaq
