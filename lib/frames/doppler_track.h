// SPDX-License-Identifier: GPL-3.0-or-later
// The Doppler of each stream, from pairs of training symbols within a frame and over several.
//
// Two values of a fading process of variance 1, in noise, have the correlation r(doppler lag) / (1 + noise). The track
// adds up how likely each Doppler makes the pairs of the newest frame with those before, and forgets slowly.
#pragma once

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "support/views.h"

namespace kaq {

// Of a stream: of its strongest mode, and of all others. The two differ where a line of sight, which only turns, is
// part of the strongest. Which ones of the track's values.
struct StreamDopplers {
    int strongest, others;
    bool operator==(const StreamDopplers &) const = default;
};

class DopplerTrack {
public:
    // values: what is told apart, in cycles per symbol, the smallest first.
    DopplerTrack(std::vector<double> values, int num_tx);

    // Forgets everything, and begins with the Doppler (which) that one frame says of all streams together.
    void begin(int doppler);

    // Values of the modes with variance 1, [num_tx][num_modes][num_rx] each, the strongest last; one lag later the
    // same.
    struct Pair {
        double lag; // in symbols
        const std::complex<float> *earlier, *later;
    };

    // The pairs of the newest frame.
    //
    // scale: [num_rx], what values are multiplied with.
    // noise: its variance in each mode.
    void take(std::span<const Pair> pairs, std::span<const double> scale, std::span<const double> noise);

    // The most likely ones, [num_tx].
    std::span<const StreamDopplers> dopplers() const { return most_likely_; }
    double value(int which) const { return values_[which]; }

private:
    void choose();

    std::vector<double> values_;
    std::size_t num_tx_;
    std::vector<double> likelihoods_; // [stream][strongest, others][value]
    std::vector<StreamDopplers> most_likely_;
    std::vector<double> shares_, products_, energies_, found_, determinants_, constants_;
};

} // namespace kaq
