// SPDX-License-Identifier: GPL-3.0-or-later
// A linear detector: LMMSE or zero forcing. linear.py has the formulas.
#pragma once

namespace kaq {

struct LinearNetwork {
    enum class Type { lmmse, zero_forcing };

    Type type = Type::lmmse;
    int bits_per_dimension = 1;
    float half_distance = 0;

    // Throws std::invalid_argument, which names the value, if the kernels cannot run it.
    void check() const;
};

} // namespace kaq
