// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <span>

#include "frames/carrier_phases.h"

namespace kaq {

struct Alignment {
    double phase; // in radians
    double delay; // in cycles per carrier
};

// Phase and delay of one channel estimate against another: what makes this sum the greatest, or nearly,
//
//     Re sum over i of products[i] exp(-1j (phase - 2 pi delay carriers[i]))
//
// products: of an estimate with the conjugate of the other, perhaps weighted.
// carriers: where each was taken. Delays that turn the outer ones by much more than half a turn are not found.
// phases:   memory, for these carriers.
Alignment align(std::span<const std::complex<double>> products, std::span<const int> carriers, CarrierPhases &phases);

} // namespace kaq
