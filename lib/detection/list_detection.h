// SPDX-License-Identifier: GPL-3.0-or-later
// From the samples of a batch to symbols and LLRs, one vector in each lane; list_reference.py specifies every
// operation. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <bit>
#include <complex>
#include <cstring>
#include <limits>

#include "detection/lane_places.h"
#include "detection/list_propagation.h"
#include "detection/list_search.h"

namespace kaq {
namespace {

constexpr float largest_sample = 1e9f;               // over the noise's standard deviation
constexpr int max_list_values = max_list_levels * 4; // LLRs of a vector

// z = H'^H y' and L^-1 z. Returns zeros, or NaN in the lanes whose samples are not finite.
template <int N>
inline Lanes rotate(const ListBatch &b, const ReceivedView &received, const Places &places, ComplexLanes *matched,
                    ComplexLanes *rotated) {
    const ListLayout &layout = b.layout;
    const int n = N ? N : layout.n;
    const Matrix h = b.h(), factor = b.factor();
    const Lanes gain = b(layout.gain), scale = b(layout.scale);
    for (int i = 0; i < n; ++i)
        matched[i] = {Lanes{}, Lanes{}};
    Lanes finite{};
    ComplexLanes samples[max_list_rx];
    load_vectors<1>(received, {places}, samples);
    for (int r = 0; r < layout.num_rx; ++r) {
        const ComplexLanes &sample = samples[r];
        finite += sample.re - sample.re;
        finite += sample.im - sample.im;
        const Lanes re = clip(sample.re * gain * scale, -largest_sample, largest_sample);
        const Lanes im = clip(sample.im * gain * scale, -largest_sample, largest_sample);
        for (int i = 0; i < n; ++i)
            add_conjugate_product(matched[i].re, matched[i].im, h.real(r, i), h.imag(r, i), re, im);
    }
    for (int i = 0; i < n; ++i) {
        ComplexLanes x = matched[i];
        for (int k = 0; k < i; ++k) {
            const Lanes re = factor.real(i, k), im = factor.imag(i, k);
            x.re = minus_product(x.re, re, rotated[k].re);
            x.im = minus_product(x.im, re, rotated[k].im);
            x.re = plus_product(x.re, im, rotated[k].im);
            x.im = minus_product(x.im, im, rotated[k].re);
        }
        const Lanes diagonal = factor.real(i, i);
        rotated[i] = {x.re * diagonal, x.im * diagonal};
    }
    return finite;
}

// Two odd curves of a bit, one for each source of LLRs.
struct Curves {
    Lanes list[max_list_knots], propagation[max_list_knots];
};

// A list whose worst path is this much less likely than its best one is wide, in LLRs; list_reference.py.
constexpr float wide_spread = 16;

// Of a wide list's LLR: what the propagation's may be. The sign is then that of the best path's bit.
constexpr float largest_part = 0.9f;

// The curves of bit `bit` for lists of this spread.
inline void find_curves(const ListNetwork &network, const ListNetwork::Fusion &weights, int bit, const Lanes &spread,
                        Curves &to) {
    const Lanes part = minimum(spread * (1 / wide_spread), all(1));
    const auto between = [&part](float narrow, float wide) {
        return plus_product(all(narrow), part, all(wide - narrow));
    };
    for (std::size_t k = 0; k < network.knots.size(); ++k) {
        to.list[k] = between(weights.list_narrow[bit][k], weights.list_wide[bit][k]);
        to.propagation[k] = between(weights.propagation_narrow[bit][k], weights.propagation_wide[bit][k]);
    }
}

// The LLR of a bit from both sources; NaN where either is, because minima give their second operand then.
[[gnu::always_inline]] inline Lanes fuse(const ListNetwork &network, const Curves &curves, const Choice &certain,
                                         const Lanes &of_list, const Lanes &of_propagation) {
    const Lanes list_magnitude = magnitude(of_list), propagation_magnitude = magnitude(of_propagation);
    Lanes from_list{}, from_propagation{};
    for (std::size_t k = 0; k < network.knots.size(); ++k) {
        const Lanes knot = all(network.knots[k]);
        from_list = plus_product(from_list, curves.list[k], minimum(knot, list_magnitude));
        from_propagation = plus_product(from_propagation, curves.propagation[k], minimum(knot, propagation_magnitude));
    }
    from_propagation = choose(certain, minimum(largest_part * from_list, from_propagation), from_propagation);
    constexpr std::int32_t sign = std::numeric_limits<std::int32_t>::min();
    const Lanes signed_list = float_of_bits(bits_of(from_list) ^ (bits_of(of_list) & sign));
    const Lanes signed_propagation = float_of_bits(bits_of(from_propagation) ^ (bits_of(of_propagation) & sign));
    return (0.0f + signed_list) + signed_propagation;
}

// Values of the streams to where they belong. They come by place, `Count` vectors for each; `order` says which stream
// each place has.
template <int Count, typename T>
inline void store_in_order(const Lanes *values, const ListBatch &b, const Places &places, const PortView<T> &to) {
    const int n = b.layout.n;
    Lanes room[Count * max_list_streams];
    store_streams<Count>(n, to, places, room, [&](int stream, Lanes *of_stream) {
        std::copy_n(values, Count, of_stream);
        for (int p = 1; p < n; ++p) {
            const Choice here = equal(b.integer(b.layout.order, p), stream);
            for (int k = 0; k < Count; ++k)
                of_stream[k] = choose(here, values[p * Count + k], of_stream[k]);
        }
    });
}

// The vectors of one step, from samples to what `to` wants; `work` has room for a complex matrix.
template <int K, int Bits, int N>
std::size_t detect_step(const ListNetwork &network, const ListBatch &b, const LanePlaces &lanes,
                        const DetectionPlaces &places, int step, const ReceivedView &received, const DetectedView &to,
                        const Matrix &work) {
    const ListLayout &layout = b.layout;
    const int n = N ? N : layout.n;
    ComplexLanes matched[max_list_streams], rotated[max_list_streams];
    const Lanes finite = rotate<N>(b, received, places.received.at(step), matched, rotated);
    const LanesInt valid = (finite == 0.0f) & b.integer(layout.known);

    Search<K, Bits> search(b, rotated, network.half_distance);
    search.run();
    LanesInt path[max_list_words];
    Lanes of_list[max_list_levels * Bits];
    const Lanes spread = search.results(path, of_list);

    Lanes values[max_list_values];
    for (int p = 0; p < n; ++p)
        for (int q = 0; q < 2; ++q) {
            const int level = 2 * (n - 1 - p) + q;
            const LanesInt u = (path[level / 4] >> (8 * (level % 4))) & 255;
            const Lanes point = network.half_distance * to_float(2 * u - ((1 << Bits) - 1));
            values[2 * p + q] = valid ? point : Lanes{};
        }
    store_in_order<2>(values, b, places.symbols.at(step), to.symbols);

    if (!to.llrs.ports.empty()) {
        ComplexLanes mean[max_list_streams];
        Lanes precision[max_list_streams];
        const Choice certain = less(all(wide_spread), spread);
        Curves curves[Bits];
        for (int bit = 0; bit < Bits; ++bit)
            find_curves(network, network.fusion_for(n), bit, spread, curves[bit]);
        propagate<Bits, N>(network, b, matched, rotated, work, mean, precision);
        for (int p = 0; p < n; ++p)
            for (int q = 0; q < 2; ++q) {
                Lanes of_propagation[Bits];
                gaussian_llrs<Bits>(q ? mean[p].im : mean[p].re, precision[p], of_propagation);
                const int level = 2 * (n - 1 - p) + q;
                for (int bit = 0; bit < Bits; ++bit) {
                    const Lanes llr =
                        fuse(network, curves[bit], certain, of_list[level * Bits + bit], of_propagation[bit]);
                    // what is not finite, on channels beyond single precision, says nothing
                    values[(p * Bits + bit) * 2 + q] = (valid & (llr - llr == 0.0f)) ? llr : Lanes{};
                }
            }
        store_in_order<2 * Bits>(values, b, places.llrs.at(step), to.llrs);
    }
    std::size_t invalid = 0;
    for (int l = 0; l < lanes.count(step); ++l)
        invalid += !(finite[l] == 0);
    return invalid;
}

// The factor of each vector's expectation propagation.
std::size_t list_detect_scratch(const Size &size) {
    return static_cast<std::size_t>(2 * size.num_tx * size.num_tx) * native_lanes;
}

template <int K, int Bits, int N>
std::size_t detect_vectors(const ListNetwork &network, const ListBatch &b, const LaneVectors &vectors,
                           const ReceivedView &received, const DetectedView &to, const Matrix &work) {
    const LanePlaces lanes(vectors);
    const DetectionPlaces places(lanes, received, to);
    std::size_t invalid = 0;
    for (int step = 0; step < lanes.num_steps(); ++step)
        invalid += detect_step<K, Bits, N>(network, b, lanes, places, step, received, to, work);
    return invalid;
}

template <int K, int Bits>
std::size_t detect_sizes(const ListNetwork &network, const ListBatch &b, const LaneVectors &vectors,
                         const ReceivedView &received, const DetectedView &to, const Matrix &work) {
    // the small ones with all loops unrolled
    switch (b.layout.n) {
    case 2:
        return detect_vectors<K, Bits, 2>(network, b, vectors, received, to, work);
    case 4:
        return detect_vectors<K, Bits, 4>(network, b, vectors, received, to, work);
    default:
        return detect_vectors<K, Bits, 0>(network, b, vectors, received, to, work);
    }
}

template <int K>
std::size_t detect_constellations(const ListNetwork &network, const ListBatch &b, const LaneVectors &vectors,
                                  const ReceivedView &received, const DetectedView &to, const Matrix &work) {
    switch (network.bits_per_dimension) {
    case 1:
        return detect_sizes<K, 1>(network, b, vectors, received, to, work);
    case 2:
        return detect_sizes<K, 2>(network, b, vectors, received, to, work);
    case 3:
        return detect_sizes<K, 3>(network, b, vectors, received, to, work);
    default:
        return detect_sizes<K, 4>(network, b, vectors, received, to, work);
    }
}

std::size_t detect_list(const ListNetwork &network, const Size &size, std::span<const float> batch,
                        const LaneVectors &vectors, const ReceivedView &received, const DetectedView &to,
                        std::span<float> scratch) {
    KAQ_ASSERT(batch.size() == list_batch_floats(size) && scratch.size() >= list_detect_scratch(size));
    KAQ_ASSERT(vectors.num_channels >= 1 && vectors.num_channels <= native_lanes);
    const ListLayout layout(size);
    const ListBatch b{layout, const_cast<float *>(batch.data())}; // only read
    const std::size_t entries = static_cast<std::size_t>(size.num_tx) * size.num_tx * native_lanes;
    const Matrix work{scratch.data(), scratch.data() + entries, size.num_tx};
    return network.survivors == 8 ? detect_constellations<8>(network, b, vectors, received, to, work)
                                  : detect_constellations<16>(network, b, vectors, received, to, work);
}

std::size_t list_scratch_floats(const Size &size) {
    return std::max(list_prepare_scratch(size), list_detect_scratch(size));
}

constexpr ListKernel make_list_kernel() {
    return {native_lanes, list_batch_floats, list_scratch_floats, load_list, prepare_list, detect_list};
}

} // namespace
} // namespace kaq
