// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cmath>

namespace kaq {

// What the mean of `count` independent energies (exponentially distributed, with mean 1) exceeds as seldom as a normal
// variable exceeds z standard deviations: Wilson and Hilferty's approximation.
inline double most_by_chance(double count, double z) {
    const double root = 1 - 1 / (9 * count) + z / (3 * std::sqrt(count));
    return root * root * root;
}

} // namespace kaq
