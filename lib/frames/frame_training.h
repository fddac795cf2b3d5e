// SPDX-License-Identifier: GPL-3.0-or-later
// What the training symbols of a frame say, but for the products with matrices in between: python/gr_kaq/
// channel_observation.py has the whole of it.
#pragma once

#include <complex>
#include <cstddef>
#include <utility>
#include <vector>

namespace kaq {

// Where the streams train: arrays [symbol][stream][place].
struct TrainingMap {
    int num_symbols, num_active; // of the frame's grid
    int num_tx, num_places, comb;
    std::vector<int> symbols;
    std::vector<int> indices, carriers;        // in the grid, and from the middle of the spectrum
    std::vector<std::complex<double>> inverse; // of what is sent there
};

// Least squares from a grid [num_symbols][num_rx][num_active], ls [symbol][stream][place][num_rx], and the mean power
// [num_rx] of it. The mean delay, by how much the phase turns from one training carrier to the next, is taken out and
// returned, in cycles per carrier.
double least_squares(const TrainingMap &map, int num_rx, const std::complex<float> *grid, std::complex<double> *ls,
                     double *power);

// Sums of |values|^2 [outer][num_rx][inner] for each antenna.
template <typename T>
std::vector<double> antenna_energies(const std::complex<T> *values, std::size_t outer, int num_rx, std::size_t inner) {
    std::vector<double> energies(num_rx);
    for (std::size_t i = 0; i < outer; ++i)
        for (double &energy : energies)
            for (std::size_t k = 0; k < inner; ++k, ++values)
                energy += std::norm(std::complex<double>(*values));
    return energies;
}

// Models of the delays: energies of the channel's modes [num_models][num_modes]; for each so many successive
// models there is one share of diffuse power.
struct DelayModels {
    int num_models, num_modes, per_share;
    std::vector<double> energies;
    std::vector<double> scores; // [num_models], minus the logarithm of how likely they are before
};

// Which model an LMMSE filter had best assume, from coefficients [outer][num_modes][num_rx] of which `num_observed` for
// each mode were received with this noise: of the most likely share, the one with the least expected error over the
// posterior. `weight`: how many of them are independent.
int choose_delay(const DelayModels &models, std::size_t outer, int num_rx, const std::complex<double> *coefficients,
                 double num_observed, double noise, double weight);

// The likelihood of Dopplers, from the inverse covariances of each mode over three training symbols.
struct DopplerModels {
    int num_dopplers, num_modes;
    const double *diagonals; // [doppler][mode][symbol]
    const double *pairs;     // [pair of symbols][doppler][mode]
    const double *constant;  // [doppler], sums of log-determinants
};

// Carrier offsets: how they turn the pairs, [re, im][pair][offset], and minus the logarithm of how likely they are.
struct OffsetModels {
    int num_offsets;
    std::vector<double> turns, scores;
};

// The most likely Doppler and carrier offset, from coefficients [3][num_tx][num_modes][num_rx] of which
// `num_observed` pairs of antenna and stream receive anything.
std::pair<int, int> choose_doppler(const DopplerModels &dopplers, const OffsetModels &offsets, int num_tx, int num_rx,
                                   const std::complex<double> *coefficients, double num_observed);

} // namespace kaq
