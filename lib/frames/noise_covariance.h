// SPDX-License-Identifier: GPL-3.0-or-later
// How the noise of a frame is correlated between antennas, on all carriers and on those with interference, and what
// makes it white. What is known of it is smoothed over frames.
#pragma once

#include <complex>
#include <span>
#include <vector>

#include "frames/carrier_interference.h"
#include "support/views.h"

namespace kaq {

// Sum of sample * conj(sample)^T, [num_rx][num_rx], over so many samples of noise.
struct NoiseSum {
    std::size_t num_rx = 0;
    std::vector<std::complex<double>> sum;
    double count = 0;

    void clear(std::size_t antennas) {
        num_rx = antennas;
        sum.assign(antennas * antennas, 0);
        count = 0;
    }
    void add(std::span<const std::complex<double>> samples); // [any number][num_rx]
    double energy(std::size_t antenna) const { return sum[antenna * (num_rx + 1)].real(); }
    double energy() const; // of all antennas
};

// What makes the noise of each carrier white.
struct Whitening {
    bool is_needed = false;                     // where not, antennas differ in their level only, and the rest is unset
    double noise_var = 0;                       // of each antenna afterwards
    std::vector<std::complex<float>> carrier;   // [num_active][num_rx][num_rx], lower triangular
    std::vector<std::complex<double>> antennas; // [num_rx][num_rx]: to unit variance, where there is no interference
    int first = 0, last = 0;                    // carriers that hold the interference
    double interference = 0;                    // its power over that of the signal
};

// What is known of the noise from frame to frame, and the memory that it is worked out in.
class NoiseTrack {
public:
    CarrierState carriers;
    CarrierScratch search;

    // noise:     of this frame, where there is no interference on single carriers
    // noise_var: [num_rx], the noise of each antenna; 0: it receives nothing
    // signal:    mean power of the frame at an antenna
    //
    // `carriers` are those with interference, and `search.residual` what it is there.
    void find_whitening(const NoiseSum &noise, std::span<const double> noise_var, double signal, const TrainingMap &map,
                        Whitening &whitening);

private:
    void take_antennas(const NoiseSum &noise);
    bool is_correlated() const;
    void factor_antennas(std::span<const double> noise_var, double signal, Whitening &whitening);
    void take_carriers(const TrainingMap &map, std::span<const std::complex<double>> to_white);
    bool factor_carrier(int carrier, std::size_t num_rx);
    double find_interfered(std::size_t num_rx, int &first, int &last) const;

    NoiseSum antennas_;              // correlations: antennas have unit variance
    std::vector<NoiseSum> carriers_; // [num_active], after antennas_ has been made white

    NoiseSum frame_, around_;
    std::vector<std::complex<double>> factor_, scratch_, sample_;
};

// Whitens a grid [num_symbols][num_rx][num_active] and its channel [num_symbols][num_active][num_rx][num_tx].
void whiten(const Whitening &whitening, ArrayView<std::complex<float>, 3> grid, ArrayView<std::complex<float>, 4> h);

} // namespace kaq
