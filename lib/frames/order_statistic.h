// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace kaq {

// How many values are less.
std::size_t count_below(std::span<const std::uint32_t> values, std::uint32_t limit);

// The value at this place if they were sorted, the least at 0. They are bits of floats that are not negative, which are
// ordered as the numbers are. To look at all of them 31 times, bit by bit, takes less than to sort a few.
std::uint32_t order_statistic(std::span<const std::uint32_t> values, std::size_t rank);

} // namespace kaq
