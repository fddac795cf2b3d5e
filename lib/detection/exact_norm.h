// SPDX-License-Identifier: GPL-3.0-or-later
// ||H||_F^2 where single precision cannot hold the squares.
#pragma once

#include <complex>
#include <span>

namespace kaq {

// Between these, a sum of squares in single precision is taken. Squares below 1e-38, the smallest normal float, are
// lost: to a sum above 1e-20 they do not matter. A sum below 1e30 is far from the largest float, 3e38.
inline constexpr double least_exact = 1e-20, largest_exact = 1e30;

// In double precision; products of two floats are exact in it. Not finite if h is not.
inline double exact_squared_norm(std::span<const std::complex<float>> h) {
    double sum = 0;
    for (const std::complex<float> entry : h) {
        sum += double{entry.real()} * entry.real();
        sum += double{entry.imag()} * entry.imag();
    }
    return sum;
}

} // namespace kaq
