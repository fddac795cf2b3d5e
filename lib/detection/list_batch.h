// SPDX-License-Identifier: GPL-3.0-or-later
// Where the values of a batch of prepared channels lie, one channel per lane; list_preparation.py says what each is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "detection/size.h"

namespace kaq {

// Offsets are in vectors of lanes. A batch is one array of floats; integers share it.
struct ListLayout {
    int num_rx, n, num_levels, num_words; // words: of four levels' bytes

    std::size_t h, gram, factor; // complex matrices: real parts, then imaginary parts
    std::size_t diagonal, index_gain, index_offset, precision, mean_gain, unit, offset, order;
    std::size_t low_entries, high_entries; // [num_levels][num_words]
    std::size_t is_wide;                   // [num_levels], whether any high entry is not 0, the same in all lanes
    std::size_t gain, scale, known;
    std::size_t size;

    explicit ListLayout(const Size &of)
        : num_rx(of.num_rx), n(of.num_tx), num_levels(2 * n), num_words((num_levels + 3) / 4) {
        std::size_t end = 0;
        const auto room = [&end](int count) {
            const std::size_t begin = end;
            end += static_cast<std::size_t>(count);
            return begin;
        };
        h = room(2 * num_rx * n);
        gram = room(2 * n * n);
        factor = room(2 * n * n);
        diagonal = room(n);
        index_gain = room(n);
        index_offset = room(n);
        precision = room(n);
        mean_gain = room(n);
        unit = room(n);
        offset = room(num_levels);
        order = room(n);
        low_entries = room(num_levels * num_words);
        high_entries = room(num_levels * num_words);
        is_wide = room(num_levels);
        gain = room(1);
        scale = room(1);
        known = room(1);
        size = end;
    }
};

} // namespace kaq
