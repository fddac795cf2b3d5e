// SPDX-License-Identifier: GPL-3.0-or-later
// Where the values of a batch of prepared channels lie, one channel per lane, and what they are.
#pragma once

#include <cstddef>

#include "detection/size.h"

namespace kaq {

// The estimate of x is second^H (first^H y), or first^H y where one matrix does it all. Offsets are in vectors of
// lanes; a matrix has its real parts first, then its imaginary parts.
struct LinearLayout {
    std::size_t num_rx, n;

    std::size_t first;     // [num_rx][n]; H before it is prepared
    std::size_t second;    // [n][n]
    std::size_t llr_scale; // [n], 1 / (2 variance of a real part's error), 0 where nothing is known
    std::size_t size;

    explicit LinearLayout(const Size &of)
        : num_rx(of.num_rx), n(of.num_tx), first(0), second(2 * num_rx * n), llr_scale(second + 2 * n * n),
          size(llr_scale + n) {}
};

} // namespace kaq
