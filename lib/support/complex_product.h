// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>

namespace kaq {

// Without the detour over NaN and Inf that std::complex takes.
template <typename T>
inline std::complex<T> product(std::complex<T> a, std::complex<T> b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

} // namespace kaq
