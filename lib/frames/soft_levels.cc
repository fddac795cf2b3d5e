// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/soft_levels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <vector>

#include "frames/order_statistic.h"
#include "support/assert.h"
#include "support/processors.h"

namespace kaq {
namespace {

constexpr std::size_t sampled = 4; // for the median one in four will do
constexpr float neutral = 128.0f;
constexpr float greatest_level = 255.0f;
constexpr float limit = 1e18f; // of a magnitude: neither it nor its inverse overflows when it is scaled

inline float magnitude(float llr) { return llr == llr ? std::min(std::abs(llr), limit) : 0; }

// Of the bits of numbers that are not negative.
float median(const std::vector<std::uint32_t> &values) {
    const std::size_t middle = values.size() / 2;
    const std::uint32_t upper = order_statistic(values, middle);
    std::uint32_t lower = upper;
    if (values.size() % 2 == 0 && count_below(values, upper) == middle) {
        lower = 0;
        for (const std::uint32_t value : values)
            if (value < upper)
                lower = std::max(lower, value);
    }
    return (std::bit_cast<float>(lower) + std::bit_cast<float>(upper)) / 2;
}

KAQ_EACH_PROCESSOR void scale_to_levels(const float *llrs, std::size_t count, float scale, std::uint8_t *levels) {
    for (std::size_t i = 0; i < count; ++i) {
        const float llr = llrs[i] == llrs[i] ? llrs[i] : 0;
        const float level = std::clamp(llr, -limit, limit) * scale + (neutral + 0.5f); // the cast rounds down
        levels[i] = static_cast<std::uint8_t>(static_cast<int>(std::clamp(level, 0.0f, greatest_level)));
    }
}

} // namespace

bool soft_levels(std::span<const float> llrs, float median_level, std::span<std::uint8_t> levels) {
    KAQ_ASSERT(levels.size() == llrs.size());
    const std::size_t count = llrs.size();
    std::vector<std::uint32_t> magnitudes; // of those that say anything: a punctured bit does not
    magnitudes.reserve(count);
    const auto collect = [&](std::size_t step) {
        for (std::size_t i = 0; i < count; i += step)
            if (const float known = magnitude(llrs[i]); known > 0)
                magnitudes.push_back(std::bit_cast<std::uint32_t>(known));
    };
    collect(sampled);
    if (magnitudes.empty())
        collect(1);
    if (magnitudes.empty())
        return false;
    const float typical = median(magnitudes);
    const float scale = median_level / std::max(typical, 1 / limit);
    scale_to_levels(llrs.data(), count, scale, levels.data());
    return true;
}

} // namespace kaq
