// SPDX-License-Identifier: GPL-3.0-or-later
// The layout of a packed matrix. Its rows are in the order of the int32 accumulators, Columns columns of a row lie next
// to each other in a word:
//   int32 bias[positions]                       where there is an Offset: -Offset * (sum of the row)
//   int32 rescale[num_rescales][positions]
//   word  matrix[stride / Columns][positions]   4 int8, or 2 int16
//
// An int16 register of state, whose 128-bit parts hold eight rows each, is widened to two int32 registers: the first
// has the lower four rows of each part, the second the upper four. Saturating packs restore the order of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "detection/prepared_channel.h"
#include "support/assert.h"

namespace kaq {
namespace {

// RegisterLanes: of int32. Columns: 4 of int8, or 2 of int16.
template <int RegisterLanes, int Columns, int Offset>
struct PackedLayout {
    static constexpr int register_lanes = RegisterLanes;
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

    // The row of a vector at position p.
    static int row(const Size &size, int p) { return row(p) % size.stride(); }

    // Places of the parts, in int32.
    static std::size_t rescale(int positions) { return Offset ? positions : 0; }
    static std::size_t matrix(int num_rescales, int positions) {
        return rescale(positions) + static_cast<std::size_t>(num_rescales) * positions;
    }
    static std::size_t bytes(int num_rescales, const Size &size) {
        const std::size_t positions = size.positions(), blocks = size.stride() / Columns;
        return 4 * (matrix(num_rescales, size.positions()) + positions * blocks);
    }

    static void pack(const PlainMatrix &from, std::span<std::byte> packed) {
        const int positions = from.size.positions(), num_rescales = static_cast<int>(from.rescale.extent(0));
        KAQ_ASSERT(packed.size() == bytes(num_rescales, from.size));
        std::int32_t *words = reinterpret_cast<std::int32_t *>(packed.data());
        for (int p = 0; p < positions; ++p) {
            const int r = row(from.size, p);
            for (int k = 0; k < num_rescales; ++k)
                words[rescale(positions) + k * positions + p] = from.rescale(k, r);
            std::int32_t sum = 0;
            for (int block = 0; block < from.size.stride() / Columns; ++block) {
                std::int8_t entries[Columns] = {};
                if (r < from.size.rows())
                    std::memcpy(entries, &from.matrix(r, Columns * block), Columns);
                words[matrix(num_rescales, positions) + static_cast<std::size_t>(block) * positions + p] =
                    word(entries);
                for (const std::int8_t entry : entries)
                    sum += entry;
            }
            if (Offset)
                words[p] = -Offset * sum;
        }
    }

    static void unpack(std::span<const std::byte> packed, const PlainMatrixToFill &to) {
        const int positions = to.size.positions(), num_rescales = static_cast<int>(to.rescale.extent(0));
        KAQ_ASSERT(packed.size() == bytes(num_rescales, to.size));
        const std::int32_t *words = reinterpret_cast<const std::int32_t *>(packed.data());
        for (int p = 0; p < positions; ++p) {
            const int r = row(to.size, p);
            if (r >= to.size.rows())
                continue;
            for (int k = 0; k < num_rescales; ++k)
                to.rescale(k, r) = words[rescale(positions) + k * positions + p];
            for (int column = 0; column < to.size.stride(); ++column) {
                const std::size_t place =
                    matrix(num_rescales, positions) + static_cast<std::size_t>(column / Columns) * positions + p;
                const int shift = column % Columns * 32 / Columns;
                to.matrix(r, column) = static_cast<std::int8_t>(words[place] >> shift);
            }
        }
    }
};

template <typename>
constexpr bool is_packed_layout = false;
template <int RegisterLanes, int Columns, int Offset>
constexpr bool is_packed_layout<PackedLayout<RegisterLanes, Columns, Offset>> = true;

} // namespace
} // namespace kaq
