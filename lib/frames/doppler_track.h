// SPDX-License-Identifier: GPL-3.0-or-later
// The Doppler of each stream, from pairs of training symbols within a frame and over several.
//
// Two values of a fading process of variance 1, in noise, have the correlation r(doppler lag) / (1 + noise). The track
// adds up how likely each Doppler makes the pairs of the newest frame with those before, and forgets slowly. A line of
// sight is part of the strongest mode of a stream. So that one has a Doppler of its own, and a share that does not
// fade.
#pragma once

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "support/views.h"

namespace kaq {

// What is told apart: shares of the strongest mode that do not fade.
inline constexpr double line_shares[] = {0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99};

// Of a stream: which share of the strongest mode does not fade, which Doppler the rest of it has, and which one all
// other modes.
struct StreamFading {
    int line, strongest, others;
    bool operator==(const StreamFading &) const = default;
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
    std::span<const StreamFading> fading() const { return most_likely_; }
    double doppler(int which) const { return values_[which]; }

private:
    void correlate(std::span<const Pair> pairs);
    void add_up(std::span<const Pair> pairs, std::span<const double> scale, std::size_t mode, std::size_t num_modes);
    void add(std::size_t row, double line, double variance);
    void choose();

    std::vector<double> values_;
    std::size_t num_tx_;
    std::vector<double> likelihoods_; // [stream][others, then the strongest with each share][value]
    std::vector<StreamFading> most_likely_;
    std::vector<double> lags_, correlations_, products_, energies_, found_, determinants_, constants_;
};

} // namespace kaq
