// SPDX-License-Identifier: GPL-3.0-or-later
// LLRs as the 8-bit levels that a Viterbi decoder takes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kaq {

// levels [count] of LLRs: 0 is certainly 0, 128 nothing known, 255 certainly 1. The LLRs are scaled until the median of
// their magnitudes is `median_level`. NaN counts as 0. Returns false if nothing is known of any bit.
bool soft_levels(const float *llrs, std::size_t count, float median_level, std::uint8_t *levels);

} // namespace kaq
