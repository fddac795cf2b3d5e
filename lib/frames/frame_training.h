// SPDX-License-Identifier: GPL-3.0-or-later
// What the training symbols of a frame say, but for the products with matrices in between, see frame_observer.h.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "support/views.h"

namespace kaq {

// Where the streams train: arrays [symbol][stream][place].
struct TrainingMap {
    int num_symbols, num_active;               // of the frame's grid
    int num_tx, num_places;                    // places: training carriers of a stream in one symbol
    int comb;                                  // carriers from one training carrier of a stream to its next
    std::vector<int> symbols;                  // those with training
    std::vector<int> indices;                  // of the carriers in the grid
    std::vector<int> carriers;                 // the same, counted from the middle of the spectrum
    std::vector<std::complex<double>> inverse; // of what is sent there
};

// Least squares from a grid [num_symbols][num_rx][num_active].
//
// ls:    [symbol][stream][place][num_rx], the mean delay taken out
// power: [num_rx], the mean of |ls|^2
//
// Returns the mean delay, as take_delay.
double least_squares(const TrainingMap &map, ArrayView<const std::complex<float>, 3> grid,
                     ArrayView<std::complex<double>, 4> ls, std::span<double> power);

// Takes the mean delay out of estimates [symbol, stream and place][num_rx]. It is by how much the phase turns from one
// training carrier to the next: in cycles per carrier, from -1 / (2 comb) to 1 / (2 comb).
//
// excluded: [num_active], carriers that say nothing of it; or nothing.
double take_delay(const TrainingMap &map, ArrayView<std::complex<double>, 2> estimates,
                  std::span<const std::uint8_t> excluded);

// Models of the delays: energies of the channel's modes [num_models][num_modes]; for each so many successive
// models there is one share of diffuse power.
struct DelayModels {
    int num_models, num_modes;
    int per_share; // divides num_models
    std::vector<double> energies;
    std::vector<double> scores; // [num_models], minus the logarithm of how likely they are before
};

// What was received of a channel of unit power, for `choose_delay`.
struct ReceivedModes {
    ArrayView<const std::complex<double>, 3> coefficients; // [symbol and stream][num_modes][num_rx]
    double num_observed; // of the coefficients of a mode, how many are of antennas that receive anything
    double noise;        // variance of a coefficient, positive
    double independent;  // how many of a mode's coefficients count as independent, at most num_observed
};

// Which model an LMMSE filter had best assume: of the most likely share, the one with the least expected error over the
// posterior.
int choose_delay(const DelayModels &models, const ReceivedModes &received);

// As many symbols train, and as many pairs of them there are: (0, 1), (0, 2) and (1, 2).
inline constexpr int training_symbols = 3, training_pairs = 3;

// The likelihood of Dopplers, from the inverse covariances of each mode over the training symbols.
struct DopplerModels {
    ArrayView<const double, 3> diagonals; // [num_dopplers][num_modes][symbol]
    ArrayView<const double, 3> pairs;     // [pair of symbols][num_dopplers][num_modes]
    std::span<const double> constant;     // [num_dopplers], sums over the modes of log-determinants
};

// Carrier offsets: how they turn the pairs, and how likely they are.
struct OffsetModels {
    int num_offsets;
    std::vector<double> turns;  // [re, im][pair][num_offsets]: 2 cos and 2 sin of by how much the later symbol turns
    std::vector<double> scores; // [num_offsets], minus the logarithm of how likely they are before
};

// Indices of the most likely models.
struct DopplerChoice {
    int doppler, offset;
};

// The most likely Doppler and carrier offset.
//
// coefficients: [symbol][num_tx][num_modes][num_rx], of a channel of unit power
// num_observed: of the pairs of antenna and stream, how many receive anything
DopplerChoice choose_doppler(const DopplerModels &dopplers, const OffsetModels &offsets,
                             ArrayView<const std::complex<double>, 4> coefficients, double num_observed);

} // namespace kaq
