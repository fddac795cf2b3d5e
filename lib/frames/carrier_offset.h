// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <span>

#include "frames/antenna_view.h"

namespace kaq {

// Cycles per sample, from as many samples of a preamble on each antenna: more than `lag_periods` periods. From
// -1 / (2 period) to 1 / (2 period), or a little more by the second estimate's correction.
double carrier_offset(std::span<const AntennaView> antennas, int period);

// The same of antennas whose noise is white (AntennaWhitening).
double carrier_offset_of_white(std::span<const AntennaView> antennas, int period);

// What differs from one period to the next when this offset is taken away: the noise, of twice its power. One period
// less than the samples.
void period_difference(const AntennaView &antenna, int period, double offset, std::span<float> re, std::span<float> im);

// exp(-2 pi i offset n), which takes an offset in cycles per sample away.
void fill_rotation(double offset, std::span<float> re, std::span<float> im);

} // namespace kaq
