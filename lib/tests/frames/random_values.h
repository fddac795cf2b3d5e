// SPDX-License-Identifier: GPL-3.0-or-later
// Random numbers as the tests of frames need them.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <random>
#include <vector>

namespace kaq_test {

using Generator = std::mt19937;

// Circular, of unit variance.
template <typename T = float>
std::complex<T> normal(Generator &random) {
    std::normal_distribution<T> part(0, std::sqrt(T(0.5)));
    const T re = part(random);
    return {re, part(random)};
}

template <typename T = float>
std::vector<std::complex<T>> normals(std::size_t count, Generator &random) {
    std::vector<std::complex<T>> values(count);
    for (std::complex<T> &each : values)
        each = normal<T>(random);
    return values;
}

} // namespace kaq_test
