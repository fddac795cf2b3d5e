// SPDX-License-Identifier: GPL-3.0-or-later
// The layout of a packed matrix. Its rows are in the order of the int32 accumulators, Columns columns of a row lie next
// to each other in a word:
//   int32 bias[stride]                       where there is an Offset: -Offset * (sum of the row)
//   int32 rescale[num_rescales][stride]
//   word  matrix[stride / Columns][stride]   4 int8, or 2 int16
//
// An int16 register of state, whose 128-bit parts hold eight rows each, is widened to two int32 registers: the first
// has the lower four rows of each part, the second the upper four. Saturating packs restore the order of rows.
#pragma once

#include <cstring>

#include "integer_channel.h"

namespace kaq {
namespace {

// RegisterLanes: of int32. Columns: 4 of int8, or 2 of int16.
template <int RegisterLanes, int Columns, int Offset>
struct PackedLayout {
    static constexpr int columns = Columns;
    static constexpr int offset = Offset;

    // The row at position p.
    static int row(int p) {
        const int reg = p / RegisterLanes, lane = p % RegisterLanes;
        return reg / 2 * 2 * RegisterLanes + lane / 4 * 8 + reg % 2 * 4 + lane % 4;
    }

    static std::int32_t word(const std::int8_t (&entries)[Columns]) {
        std::int32_t word;
        if constexpr (Columns == 4)
            std::memcpy(&word, entries, 4);
        else {
            const std::int16_t wide[2] = {entries[0], entries[1]};
            std::memcpy(&word, wide, 4);
        }
        return word;
    }

    // Places of the parts, in int32.
    static std::size_t rescale(int stride) { return Offset ? stride : 0; }
    static std::size_t matrix(int num_rescales, int stride) {
        return rescale(stride) + static_cast<std::size_t>(num_rescales) * stride;
    }
    static std::size_t bytes(int num_rescales, int stride) {
        return 4 * (matrix(num_rescales, stride) + static_cast<std::size_t>(stride) * (stride / Columns));
    }

    static void pack(const PlainMatrix &from, PackedMatrix *packed) {
        const int stride = from.stride;
        std::int32_t *words = reinterpret_cast<std::int32_t *>(packed);
        for (int p = 0; p < stride; ++p) {
            for (int k = 0; k < from.num_rescales; ++k)
                words[rescale(stride) + k * stride + p] = from.rescale[k * stride + row(p)];
            std::int32_t sum = 0;
            for (int block = 0; block < stride / Columns; ++block) {
                std::int8_t entries[Columns] = {};
                if (row(p) < from.rows)
                    std::memcpy(entries, from.matrix + row(p) * stride + Columns * block, Columns);
                words[matrix(from.num_rescales, stride) + static_cast<std::size_t>(block) * stride + p] = word(entries);
                for (const std::int8_t entry : entries)
                    sum += entry;
            }
            if (Offset)
                words[p] = -Offset * sum;
        }
    }

    static void unpack(const PackedMatrix *packed, const PlainMatrix &to) {
        const int stride = to.stride;
        const std::int32_t *words = reinterpret_cast<const std::int32_t *>(packed);
        for (int p = 0; p < stride; ++p) {
            if (row(p) >= to.rows)
                continue;
            for (int k = 0; k < to.num_rescales; ++k)
                to.rescale[k * stride + row(p)] = words[rescale(stride) + k * stride + p];
            for (int column = 0; column < stride; ++column) {
                const std::size_t place =
                    matrix(to.num_rescales, stride) + static_cast<std::size_t>(column / Columns) * stride + p;
                const int shift = column % Columns * 32 / Columns;
                to.matrix[row(p) * stride + column] = static_cast<std::int8_t>(words[place] >> shift);
            }
        }
    }
};

} // namespace
} // namespace kaq
