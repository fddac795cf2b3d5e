// SPDX-License-Identifier: GPL-3.0-or-later
// The linear filter of one channel by a singular value decomposition in double precision, for the few channels that the
// kernels' single precision cannot invert. It is compiled once, so that all instruction sets have the same bits.
#pragma once

#include <complex>
#include <span>
#include <vector>

#include "detection/linear_network.h"
#include "detection/noise.h"
#include "detection/size.h"

namespace kaq {

// With H = U S V^H, LMMSE and zero forcing are x = V f(S) U^H y. That is second^H (first^H y), as LinearLayout has it,
// with first = U and second = f(S) V^H, its columns divided by the gains: neither is worse conditioned than H, which
// the Gram matrix is.
struct PreciseFilter {
    std::vector<std::complex<double>> first;  // [num_rx][n]
    std::vector<std::complex<double>> second; // [n][n]
    std::vector<double> llr_scale;            // [n]

    explicit PreciseFilter(const Size &size);

    // h: [num_rx][num_tx], finite. Nothing is allocated.
    void prepare(const LinearNetwork &network, std::span<const std::complex<float>> h, const ChannelLevels &levels);

private:
    void decompose();

    int num_rx_, n_;
    std::vector<double> singular_;        // [n], not sorted
    std::vector<std::complex<double>> v_; // [n][n]
};

} // namespace kaq
