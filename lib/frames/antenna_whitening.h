// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "frames/antenna_view.h"

namespace kaq {

// Samples of several antennas, combined so that their noise is uncorrelated and of unit power. Then noise from one
// direction counts as much as noise of one antenna, however strong it is; and gains do not matter. Nothing is allocated
// after the constructor.
class AntennaWhitening {
public:
    // length: of what is whitened at once.
    AntennaWhitening(int num_rx, int length);

    // The antennas, whitened by samples of their noise, [num_rx] too, which is theirs from sample `first` on. As many
    // rows, until the next call; that of an antenna without power is 0.
    std::span<const AntennaView> whiten(std::span<const AntennaView> antennas, std::span<const AntennaView> noise,
                                        int first);

private:
    std::size_t length_;
    std::vector<float> values_; // [num_rx][re, im][length]
    std::vector<AntennaView> rows_;
    std::vector<double> scale_;                // [num_rx]
    std::vector<std::complex<double>> factor_; // [num_rx][num_rx], Cholesky's, of the correlations
};

} // namespace kaq
