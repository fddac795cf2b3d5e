// SPDX-License-Identifier: GPL-3.0-or-later
// What every kernel asserts of its arguments: that their extents fit each other. Nothing where asserts are off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "detection/kernel.h"
#include "support/aligned.h"
#include "support/assert.h"

namespace kaq {
namespace {

inline std::size_t entries(int rows, int columns = 1) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

// All values of the layers, but the packed matrix, whose size only its layout knows.
template <Access access>
inline void assert_fits(const IntegerChannelOf<access> &channel, const Network &network, const Size &size) {
    [[maybe_unused]] const std::size_t layers = network.layers.size(), of_rows = layers * size.positions();
    KAQ_ASSERT(channel.diagonal.size() == of_rows && is_aligned(channel.diagonal.data()));
    KAQ_ASSERT(channel.slope.size() == of_rows && is_aligned(channel.slope.data()));
    KAQ_ASSERT(channel.inverse_step.size() == of_rows && is_aligned(channel.inverse_step.data()));
    KAQ_ASSERT(channel.threshold.size() == layers);
    KAQ_ASSERT(channel.first_gain.size() == layers);
    KAQ_ASSERT(channel.second_gain.size() == of_rows && is_aligned(channel.second_gain.data()));
    KAQ_ASSERT(channel.llr_scale.size() == entries(size.positions()) && is_aligned(channel.llr_scale.data()));
}

template <Access access>
inline void assert_fits(const FilterOf<access> &filter, const Size &size) {
    KAQ_ASSERT(filter.first.size() == entries(size.num_rx, size.stream_stride()) && is_aligned(filter.first.data()));
    KAQ_ASSERT(filter.inverse.empty() || filter.inverse.size() == entries(size.num_tx, size.stream_stride()));
    KAQ_ASSERT(filter.inverse.empty() || is_aligned(filter.inverse.data()));
    KAQ_ASSERT(filter.scale.size() <= 1);
}

template <typename Layout>
inline void assert_packed(std::span<const std::byte> packed, int num_rescales, const Size &size) {
    KAQ_ASSERT(packed.size() == Layout::bytes(num_rescales, size) && is_aligned(packed.data()));
}

// Rows of `num_vectors` vectors.
inline void assert_rows(const ConstRows &rows, const Size &size, std::size_t num_vectors) {
    KAQ_ASSERT(rows.extent(0) == num_vectors);
    KAQ_ASSERT(rows.extent(1) == entries(size.stride()));
    KAQ_ASSERT(size.stride() < row_multiple || is_aligned(rows.data()));
}

template <typename T>
inline void assert_ports(const PortView<T> &view, int num_ports, int width, std::size_t num_vectors) {
    KAQ_ASSERT(view.ports.size() == entries(num_ports));
    KAQ_ASSERT(view.num_channels == 1 && view.width == width && entries(view.num_vectors) == num_vectors);
}

template <typename Layout>
inline void assert_prepare(const Network &network, const Size &size, std::span<const Estimate> estimates,
                           std::span<const ChannelToPrepare> channels, std::span<float> scratch) {
    KAQ_ASSERT(!estimates.empty() && estimates.size() <= entries(max_lanes));
    KAQ_ASSERT(channels.size() == estimates.size());
    KAQ_ASSERT(is_aligned(scratch.data()));
    for ([[maybe_unused]] const Estimate &estimate : estimates)
        KAQ_ASSERT(estimate.h.size() == entries(size.num_rx, size.num_tx));
    for (const ChannelToPrepare &channel : channels) {
        assert_fits(channel.filter, size);
        // all of a batch are filtered alike
        KAQ_ASSERT(channel.filter.inverse.empty() == channels[0].filter.inverse.empty());
        KAQ_ASSERT(channel.filter.scale.empty() == (network.type == NetworkType::admm));
        assert_fits(channel.integers, network, size);
        assert_packed<Layout>(channel.integers.packed, network.num_layers(), size);
    }
}

inline void assert_filter(const Size &size, const Filter &filter, const ReceivedView &received, const Rows &b,
                          std::span<bool> finite) {
    assert_fits(filter, size);
    assert_ports(received, size.num_rx, 1, finite.size());
    assert_rows(b, size, finite.size());
}

template <typename Layout>
inline void assert_layers(const Network &network, const Size &size, const IntegerChannel &channel, const ConstRows &b,
                          const Rows &t) {
    assert_fits(channel, network, size);
    assert_packed<Layout>(channel.packed, network.num_layers(), size);
    assert_rows(t, size, t.extent(0));
    assert_rows(b, size, t.extent(0));
}

inline void assert_llrs(const Network &network, const Size &size, std::span<const std::int16_t> t,
                        const ArrayView<std::int32_t, 2> &llr) {
    KAQ_ASSERT(t.size() == entries(size.stride()));
    KAQ_ASSERT(llr.extent(0) == entries(network.bits_per_dimension) && llr.extent(1) == t.size());
}

inline void assert_output(const Network &network, const Size &size, const IntegerChannel &channel, const ConstRows &t,
                          std::span<const bool> finite, const DetectedView &to) {
    assert_fits(channel, network, size);
    assert_rows(t, size, finite.size());
    assert_ports(to.symbols, size.num_tx, 1, finite.size());
    if (!to.llrs.ports.empty())
        assert_ports(to.llrs, size.num_tx, 2 * network.bits_per_dimension, finite.size());
}

} // namespace
} // namespace kaq
