// SPDX-License-Identifier: GPL-3.0-or-later
// Samples to the lanes of vector registers, and results back, in whatever layout their owner has. Compiled for the
// instruction set of each kernel.
#pragma once

#include <algorithm>
#include <bit>
#include <complex>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "detection/lane_vectors.h"
#include "detection/ports.h"
#include "support/lanes.h"

namespace kaq {
namespace {

struct ComplexLanes {
    Lanes re, im;
};

// Which value of a port each lane has in one step.
struct Places {
    std::ptrdiff_t of[native_lanes];
    int count;     // lanes that hold a vector; the others repeat the last one
    bool adjacent; // all lanes hold one, and their values are next to each other
};

// The steps in which the lanes go through the vectors of a batch.
class LanePlaces {
public:
    explicit LanePlaces(const LaneVectors &of) : of_(of), copies_(native_lanes / of.num_channels) {
        // counted: divisions would take longer than all else here
        for (int l = 0, channel = 0, copy = 0; l < native_lanes; ++l) {
            channel_[l] = of.first_channel + channel;
            copy_[l] = std::min(copy, copies_ - 1);
            if (++channel == of.num_channels)
                channel = 0, ++copy;
        }
    }

    // Vectors of a channel that are in the lanes at once.
    int copies() const { return copies_; }

    int num_steps() const { return (of_.num_vectors + copies_ - 1) / copies_; }

    // Lanes that hold a vector in this step.
    int count(int step) const { return std::min(copies_, of_.num_vectors - step * copies_) * of_.num_channels; }

    template <typename T>
    Places at(const PortView<T> &view, int step) const {
        const int last = std::min(copies_, of_.num_vectors - step * copies_) - 1;
        Places places;
        places.count = count(step);
        places.adjacent = places.count == native_lanes;
        for (int l = 0; l < native_lanes; ++l) {
            const int vector = of_.first_vector + step * copies_ + std::min(copy_[l], last);
            places.of[l] = view.offset + channel_[l] * view.channel_stride + vector * view.vector_stride;
            places.adjacent &= places.of[l] == places.of[0] + l * view.width;
        }
        return places;
    }

private:
    const LaneVectors &of_;
    const int copies_;
    std::ptrdiff_t channel_[native_lanes];
    int copy_[native_lanes];
};

// The places of a view in all steps. In full steps they differ by a shift only: to find them anew takes as long as what
// is done with them.
template <typename T>
class StepPlaces {
public:
    StepPlaces(const LanePlaces &lanes, const PortView<T> &view)
        : shift_(lanes.copies() * view.vector_stride), first_(lanes.at(view, 0)) {
        const int last = lanes.num_steps() - 1;
        if (lanes.count(last) < first_.count) {
            partial_step_ = last;
            partial_ = lanes.at(view, last);
        }
    }

    Places at(int step) const {
        if (step == partial_step_)
            return partial_;
        Places places = first_;
        for (std::ptrdiff_t &of : places.of)
            of += step * shift_;
        return places;
    }

private:
    std::ptrdiff_t shift_; // from one step to the next
    Places first_, partial_;
    int partial_step_ = -1;
};

// Those of all that a detection reads and writes.
struct DetectionPlaces {
    StepPlaces<const std::complex<float>> received;
    StepPlaces<std::complex<float>> symbols;
    StepPlaces<float> llrs;

    DetectionPlaces(const LanePlaces &lanes, const ReceivedView &from, const DetectedView &to)
        : received(lanes, from), symbols(lanes, to.symbols), llrs(lanes, to.llrs) {}
};

// One antenna's sample in each lane.
inline ComplexLanes load_samples(const std::complex<float> *port, const Places &places) {
    if (places.adjacent) {
        const float *from = reinterpret_cast<const float *>(port + places.of[0]);
        const Lanes a = *reinterpret_cast<const LooseLanes *>(from);
        const Lanes b = *reinterpret_cast<const LooseLanes *>(from + native_lanes);
        return {evens(a, b), odds(a, b)};
    }
    alignas(64) std::complex<float> samples[native_lanes];
    for (int l = 0; l < native_lanes; ++l)
        samples[l] = port[places.of[l]];
    const float *from = reinterpret_cast<const float *>(samples);
    return {evens(at(from, 0), at(from, 1)), odds(at(from, 0), at(from, 1))};
}

// `Count` vectors, a power of two, become rows of `Count` values for each lane, one after the other.
template <int Count>
[[gnu::always_inline]] inline void interleave(Lanes (&values)[Count]) {
    if constexpr (Count == native_lanes)
        return transpose(values);
    // each pass interleaves the first half of all values with the second half
    for (int pass = 1; pass < Count; pass *= 2) {
        Lanes next[Count];
        for (int i = 0; i < Count / 2; ++i) {
            next[2 * i] = interleave_low(values[i], values[i + Count / 2]);
            next[2 * i + 1] = interleave_high(values[i], values[i + Count / 2]);
        }
        for (int i = 0; i < Count; ++i)
            values[i] = next[i];
    }
}

// And back.
template <int Count>
[[gnu::always_inline]] inline void deinterleave(Lanes (&values)[Count]) {
    if constexpr (Count == native_lanes)
        return transpose(values);
    for (int pass = 1; pass < Count; pass *= 2) {
        Lanes next[Count];
        for (int i = 0; i < Count / 2; ++i) {
            next[i] = evens(values[2 * i], values[2 * i + 1]);
            next[i + Count / 2] = odds(values[2 * i], values[2 * i + 1]);
        }
        for (int i = 0; i < Count; ++i)
            values[i] = next[i];
    }
}

// Floats of each lane, padded to a power of two, which `interleave` takes.
constexpr int padded_count(int count) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(count))); }

// `Count` floats of each lane to one port: values[k] has number k of each; what is padding is not stored.
template <int Count, typename T>
[[gnu::always_inline]] inline void store_values(Lanes (&values)[padded_count(Count)], T *port, const Places &places) {
    constexpr int padded = padded_count(Count);
    interleave<padded>(values);
    if (places.adjacent && Count == padded) {
        for (int k = 0; k < padded; ++k)
            reinterpret_cast<LooseLanes *>(port + places.of[0])[k] = values[k];
        return;
    }
    const float *rows = reinterpret_cast<const float *>(values);
    for (int l = 0; l < places.count; ++l)
        std::memcpy(static_cast<void *>(port + places.of[l]), rows + l * padded, Count * sizeof(float));
}

// Whether the values of a vector are next to each other over all ports.
template <typename T>
inline bool ports_are_adjacent(const PortView<T> &view) {
    for (std::size_t i = 1; i < view.ports.size(); ++i)
        if (view.ports[i] != view.ports[0] + i * view.width)
            return false;
    return true;
}

// call(std::integral_constant<int, Count>, first) for blocks of floats that cover `total`, an even number: as many
// floats as there are lanes, then fewer.
template <int Count = native_lanes, typename Call>
[[gnu::always_inline]] inline void for_each_block(int total, Call call, int first = 0) {
    for (; first + Count <= total; first += Count)
        call(std::integral_constant<int, Count>(), first);
    if constexpr (Count > 2)
        for_each_block<Count / 2>(total, call, first);
}

// The samples of `Vectors` vectors of each lane: to[antenna][vector].
template <int Vectors>
inline void load_vectors(const ReceivedView &from, const Places (&places)[Vectors], ComplexLanes *to) {
    const int num_rx = static_cast<int>(from.ports.size());
    bool by_vector = num_rx > 1 && ports_are_adjacent(from);
    for (const Places &of : places)
        by_vector &= !of.adjacent;
    if (!by_vector) {
        for (int r = 0; r < num_rx; ++r)
            for (int v = 0; v < Vectors; ++v)
                to[r * Vectors + v] = load_samples(from.ports[r], places[v]);
        return;
    }
    for (int v = 0; v < Vectors; ++v)
        for_each_block(2 * num_rx, [&](auto count, int first) {
            Lanes block[count];
            float *rows = reinterpret_cast<float *>(block);
            for (int l = 0; l < native_lanes; ++l)
                std::memcpy(rows + l * count, from.ports[first / 2] + places[v].of[l], count * sizeof(float));
            deinterleave<count>(block);
            for (int e = 0; e < count / 2; ++e)
                to[(first / 2 + e) * Vectors + v] = {block[2 * e], block[2 * e + 1]};
        });
}

// `Count` floats, an even number, of each stream of each lane: stream(i, values) is to write those of stream i. There
// has to be room for those of all streams.
template <int Count, typename T, typename Stream>
[[gnu::always_inline]] inline void store_streams(int num_streams, const PortView<T> &to, const Places &places,
                                                 Lanes *room, Stream stream) {
    if (num_streams == 1 || places.adjacent || !ports_are_adjacent(to)) {
        for (int i = 0; i < num_streams; ++i) {
            Lanes values[padded_count(Count)] = {};
            stream(i, values);
            store_values<Count>(values, to.ports[i], places);
        }
        return;
    }
    for (int i = 0; i < num_streams; ++i)
        stream(i, room + i * Count);
    for_each_block(num_streams * Count, [&](auto count, int first) {
        Lanes block[count];
        for (int k = 0; k < count; ++k)
            block[k] = room[first + k];
        interleave<count>(block);
        const float *rows = reinterpret_cast<const float *>(block);
        for (int l = 0; l < places.count; ++l) {
            float *vector = reinterpret_cast<float *>(to.ports[0] + places.of[l]);
            std::memcpy(vector + first, rows + l * count, count * sizeof(float));
        }
    });
}

} // namespace
} // namespace kaq
