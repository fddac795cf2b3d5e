// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/order_statistic.h"

#include "support/assert.h"
#include "support/processors.h"

namespace kaq {
namespace {

KAQ_EACH_PROCESSOR std::size_t count_below(const std::uint32_t *values, std::size_t count, std::uint32_t limit) {
    std::uint32_t below = 0;
    for (std::size_t i = 0; i < count; ++i)
        below += values[i] < limit;
    return below;
}

} // namespace

std::size_t count_below(std::span<const std::uint32_t> values, std::uint32_t limit) {
    return count_below(values.data(), values.size(), limit);
}

std::uint32_t order_statistic(std::span<const std::uint32_t> values, std::size_t rank) {
    KAQ_ASSERT(rank < values.size());
    std::uint32_t found = 0;
    for (std::uint32_t bit = 1u << 30; bit; bit >>= 1)
        if (count_below(values, found | bit) <= rank)
            found |= bit;
    return found;
}

} // namespace kaq
