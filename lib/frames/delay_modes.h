// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <functional>
#include <span>
#include <vector>

namespace kaq {

// A channel of one covariance over the carriers, in modes that the training symbols see one by one, or nearly:
//
//     h = frequency g,  g ~ CN(0, I);    analysis y = g + e,  e ~ CN(0, diag(noise))
//
// The modes are in the order of their energy, the strongest last.
struct DelayModes {
    int num_modes;                              // at least 1
    std::vector<std::complex<float>> frequency; // [num_active][mode]
    std::vector<std::complex<float>> seen;      // the same at the training carriers, [symbol][stream][place][mode]
    std::vector<std::complex<float>> analysis;  // of LS estimates y, [symbol][stream][mode][place]
    std::vector<double> noise;                  // [mode], where that of a received carrier is 1
    std::vector<double> energies;               // [mode], what each adds to |h|^2 of a carrier

    // As how many equally strong modes they count.
    double independent() const {
        double sum = 0, squares = 0;
        for (const double energy : energies) {
            sum += energy;
            squares += energy * energy;
        }
        return sum * sum / squares;
    }
};

// The power at each delay that is fitted to a covariance, and the modes that come of it.
struct DelayProfile {
    std::vector<double> powers;
    DelayModes modes;
};

// Fits one to the covariance [set][place][place] of LS estimates whose noise is 1 on a carrier, going on from `before`;
// the first of a track begins with a delay model, and `before` is null.
using FitProfile = std::function<DelayProfile(std::span<const std::complex<double>> covariance, int delay_model,
                                              const DelayProfile *before)>;

} // namespace kaq
