// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <span>

#include "frames/antenna_view.h"

namespace kaq {

// What is wrong with the antennas of a frame, [num_rx], from as many samples of each, a multiple of 4.
//
// dead:      1 where nothing is received: no power, or 30 dB less than the mean of the others
// saturated: 1 where 0.5 % of the samples or more have the same greatest amplitude, or the same greatest real or
//            imaginary part, and fewer have one that is little less
// power:     mean square of a sample
void find_faults(std::span<const AntennaView> antennas, std::span<std::uint8_t> dead, std::span<std::uint8_t> saturated,
                 std::span<double> power);

} // namespace kaq
