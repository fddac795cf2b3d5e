// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstddef>
#include <span>

#include "support/assert.h"

namespace kaq {

// Samples of an antenna, real and imaginary parts apart.
struct AntennaView {
    std::span<const float> re, im;

    AntennaView() = default;
    AntennaView(std::span<const float> re, std::span<const float> im) : re(re), im(im) {
        KAQ_ASSERT(re.size() == im.size());
    }

    int size() const { return static_cast<int>(re.size()); }

    AntennaView part(int first, int count) const {
        KAQ_ASSERT(first >= 0 && count >= 0 && first + count <= size());
        return {re.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
                im.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count))};
    }
};

} // namespace kaq
