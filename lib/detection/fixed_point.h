// SPDX-License-Identifier: GPL-3.0-or-later
// Scales and limits of the integers; docs/internals/integer-model.md says what each is for.
#pragma once

namespace kaq {

inline constexpr int int16_max = 32767; // -32768 is left out where a value is made, so that its sign can be changed

// Half the distance between PAM levels in state units.
inline constexpr int state_half_distance = 512;

// 1 as gains, as a slope, and as a rescale.
inline constexpr int q15_one = 1 << 15;
inline constexpr int q9_one = 1 << 9;
inline constexpr int rescale_shift = 12;
inline constexpr int rescale_one = 1 << rescale_shift;

// LLRs of distance^2 / variance in an integer LLR, which is a difference of squares in state units over 2^11.
inline constexpr int integer_llr_scale = 256;

} // namespace kaq
