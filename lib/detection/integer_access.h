// SPDX-License-Identifier: GPL-3.0-or-later
// The integers of one lane of a batch, in plain order and back. Compiled for the instruction set of each kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "detection/kernel.h"
#include "detection/unfolded_batch.h"

namespace kaq {
namespace {

// visit(value of the channel, number of the batch): call with each entry of the matrix and each value of the layers.
template <typename Isa, typename Channel, typename Visit>
void each_integer(const Form &form, std::span<float> batch, int lane, const Channel &channel, Visit visit) {
    const UnfoldedLayout layout(form.network, form.size, Isa::streams_per_word);
    const std::size_t n = layout.n, rows = 2 * n, layers = form.network.num_layers();
    constexpr int columns = 2 * Isa::streams_per_word; // of a word
    const auto words = [&](std::size_t place) {        // of this lane
        return reinterpret_cast<std::int32_t *>(batch.data()) + place * native_lanes + lane;
    };
    const auto state = [&](std::size_t place, int part) {
        return reinterpret_cast<std::int16_t *>(batch.data()) + place * 2 * native_lanes + lane / 4 * 8 + part * 4 +
               lane % 4;
    };
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < rows; ++c) {
            const std::size_t stream = c % n, row = 2 * (r % n) + r / n;
            std::int32_t *word = words(layout.matrix + row * layout.words + stream / Isa::streams_per_word);
            const std::size_t within = stream % Isa::streams_per_word * 2 + c / n;
            if constexpr (columns == 4) {
                // bytes, offset
                std::uint8_t &byte = reinterpret_cast<std::uint8_t *>(word)[within];
                std::int8_t entry = static_cast<std::int8_t>(byte - Isa::matrix_offset);
                visit(channel.matrix[r * rows + c], entry);
                byte = static_cast<std::uint8_t>(entry + Isa::matrix_offset);
            } else {
                visit(channel.matrix[r * rows + c], reinterpret_cast<std::int16_t *>(word)[within]);
            }
        }
    for (std::size_t k = 0; k < layers; ++k) {
        for (std::size_t r = 0; r < rows; ++r) {
            const std::size_t plain = k * rows + r;
            const int layer = static_cast<int>(k), stream = static_cast<int>(r % n), part = static_cast<int>(r / n);
            visit(channel.rescale[plain], *words(layout.rescale(layer, stream)));
            visit(channel.diagonal[plain], *state(layout.diagonal(layer, stream), part));
            visit(channel.slope[plain], *state(layout.slope(layer, stream), part));
            visit(channel.inverse_step[plain], *state(layout.inverse_step(layer, stream), part));
            visit(channel.second_gain[plain], *state(layout.dual(layer, stream), part));
        }
        for (int part = 0; part < 2; ++part) { // both have the same
            visit(channel.threshold[k], *state(layout.threshold + k, part));
            visit(channel.first_gain[k], *state(layout.first_gain + k, part));
        }
    }
    for (std::size_t r = 0; r < rows; ++r)
        visit(channel.llr_scale[r], batch[(layout.llr_scale + 2 * (r % n) + r / n) * native_lanes + lane]);
}

template <typename Isa>
void get_integers(const Form &form, std::span<const float> batch, int lane, const ChannelIntegersToFill &to) {
    const std::span<float> from(const_cast<float *>(batch.data()), batch.size());
    each_integer<Isa>(form, from, lane, to, [](auto &plain, const auto &value) {
        plain = static_cast<std::remove_reference_t<decltype(plain)>>(value);
    });
}

template <typename Isa>
void set_integers(const Form &form, std::span<float> batch, int lane, const ChannelIntegers &from) {
    each_integer<Isa>(form, batch, lane, from, [](const auto &plain, auto &value) {
        value = static_cast<std::remove_reference_t<decltype(value)>>(plain);
    });
    // the stream that pads an odd number of them has activations where levels are midrise, and nothing to multiply
    const UnfoldedLayout layout(form.network, form.size, Isa::streams_per_word);
    const std::uint32_t offset = Isa::matrix_offset * 0x01010101u;
    for (int row = 0; row < 2 * layout.n && layout.n < layout.streams; ++row) {
        float *const place = batch.data() + (layout.matrix + (row + 1) * layout.words - 1) * native_lanes + lane;
        std::uint32_t &word = *reinterpret_cast<std::uint32_t *>(place);
        word = Isa::streams_per_word == 2 ? (word & 0xffffu) | (offset & 0xffff0000u) : offset;
    }
}

} // namespace
} // namespace kaq
