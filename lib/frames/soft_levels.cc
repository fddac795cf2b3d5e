// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/soft_levels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "support/assert.h"

namespace kaq {
namespace {

constexpr std::size_t sampled = 4; // for the median, which takes longest, one in four will do
constexpr float neutral = 128.0f;
constexpr float greatest_level = 255.0f;
constexpr float limit = 1e18f; // of a magnitude: neither it nor its inverse overflows when it is scaled

inline float magnitude(float llr) { return llr == llr ? std::min(std::abs(llr), limit) : 0; }

float median(std::vector<float> &values) {
    if (values.empty())
        return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return values.size() % 2 ? *middle : (*std::max_element(values.begin(), middle) + *middle) / 2;
}

} // namespace

bool soft_levels(std::span<const float> llrs, float median_level, std::span<std::uint8_t> levels) {
    KAQ_ASSERT(levels.size() == llrs.size());
    const std::size_t count = llrs.size();
    std::vector<float> magnitudes;
    magnitudes.reserve(count);
    for (std::size_t i = 0; i < count; i += sampled)
        magnitudes.push_back(magnitude(llrs[i]));
    float typical = median(magnitudes);
    if (typical == 0) { // of those that say anything, then
        magnitudes.clear();
        for (std::size_t i = 0; i < count; ++i)
            if (const float known = magnitude(llrs[i]); known > 0)
                magnitudes.push_back(known);
        if (magnitudes.empty())
            return false;
        typical = median(magnitudes);
    }
    const float scale = median_level / std::max(typical, 1 / limit);
    for (std::size_t i = 0; i < count; ++i) {
        const float llr = llrs[i] == llrs[i] ? llrs[i] : 0;
        const float level = std::clamp(llr, -limit, limit) * scale + (neutral + 0.5f); // the cast rounds down
        levels[i] = static_cast<std::uint8_t>(static_cast<int>(std::clamp(level, 0.0f, greatest_level)));
    }
    return true;
}

} // namespace kaq
