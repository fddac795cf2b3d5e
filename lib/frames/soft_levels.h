// SPDX-License-Identifier: GPL-3.0-or-later
// LLRs as the 8-bit levels that a Viterbi decoder takes.
#pragma once

#include <cstdint>
#include <span>

namespace kaq {

// As many levels as LLRs: 0 is certainly 0, 128 nothing known, 255 certainly 1.
//
// The LLRs are scaled until the median of their magnitudes is `median_level`, in levels (1 to 127). NaN counts as 0,
// and zeros, of which nothing is known, do not count for the median. Returns false if nothing is known of any bit; the
// levels are then left as they are.
bool soft_levels(std::span<const float> llrs, float median_level, std::span<std::uint8_t> levels);

} // namespace kaq
