// SPDX-License-Identifier: GPL-3.0-or-later
// Where the samples of antennas lie and the symbols and LLRs of streams go: in whatever layout their owner has.
#pragma once

#include <complex>
#include <cstddef>
#include <span>

#include "support/assert.h"

namespace kaq {

// Values of several ports (antennas or streams), for each vector of each channel: the first is at
// ports[port][offset + channel * channel_stride + vector * vector_stride]. Strides and offset count values.
template <typename T>
struct PortView {
    std::span<T *const> ports = {};
    int num_channels = 0;
    int num_vectors = 0; // of each channel
    std::ptrdiff_t channel_stride = 0;
    std::ptrdiff_t vector_stride = 0;
    int width = 1; // values of a vector, next to each other
    std::ptrdiff_t offset = 0;

    // Some vectors of every channel.
    PortView vectors(int first, int count) const {
        KAQ_ASSERT(first >= 0 && count >= 0 && count <= num_vectors - first);
        PortView some = *this;
        some.num_vectors = count;
        some.offset += first * vector_stride;
        return some;
    }

    // Some vectors of one channel.
    PortView part(int channel, int first, int count) const {
        KAQ_ASSERT(channel >= 0 && channel < num_channels);
        KAQ_ASSERT(first >= 0 && count >= 0 && count <= num_vectors - first);
        return {ports,
                1,
                count,
                channel_stride,
                vector_stride,
                width,
                offset + channel * channel_stride + first * vector_stride};
    }
};

// Samples, a port for each antenna.
using ReceivedView = PortView<const std::complex<float>>;

// What a detection writes, a port for each stream.
struct DetectedView {
    PortView<std::complex<float>> symbols;
    PortView<float> llrs = {}; // a stream's LLRs of a vector are next to each other; no ports: leave them out

    DetectedView vectors(int first, int count) const {
        return {symbols.vectors(first, count), llrs.ports.empty() ? PortView<float>{} : llrs.vectors(first, count)};
    }

    DetectedView part(int channel, int first, int count) const {
        return {symbols.part(channel, first, count),
                llrs.ports.empty() ? PortView<float>{} : llrs.part(channel, first, count)};
    }
};

} // namespace kaq
