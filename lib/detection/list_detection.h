// SPDX-License-Identifier: GPL-3.0-or-later
// From the samples of a batch to symbols and LLRs, one vector in each lane; list_reference.py specifies every
// operation. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <complex>
#include <cstring>
#include <limits>

#include "detection/list_propagation.h"
#include "detection/list_search.h"

namespace kaq {
namespace {

constexpr float largest_sample = 1e9f;               // over the noise's standard deviation
constexpr int max_list_values = max_list_levels * 4; // LLRs of a vector

// Where the samples and results of each lane are.
struct LanePlaces {
    std::ptrdiff_t channel[native_lanes];
    int vector[native_lanes];
    int count; // lanes that hold a vector; the others repeat the last one

    LanePlaces(const LaneVectors &vectors, int step) : count(0) {
        const int copies = native_lanes / vectors.num_channels;
        for (int l = 0; l < native_lanes; ++l) {
            const int copy = std::min(l / vectors.num_channels, copies - 1);
            const int v = step * copies + copy;
            channel[l] = vectors.first_channel + l % vectors.num_channels;
            vector[l] = vectors.first_vector + std::min(v, vectors.num_vectors - 1);
            if (l < copies * vectors.num_channels && v < vectors.num_vectors)
                count = l + 1;
        }
    }

    template <typename T>
    std::ptrdiff_t of(const PortView<T> &view, int lane) const {
        return view.offset + channel[lane] * view.channel_stride + vector[lane] * view.vector_stride;
    }
};

// One antenna's sample in each lane.
inline ComplexLanes load_samples(const std::complex<float> *port, const std::ptrdiff_t *places, bool adjacent) {
    if (adjacent) {
        const float *from = reinterpret_cast<const float *>(port + places[0]);
        const Lanes a = *reinterpret_cast<const LooseLanes *>(from);
        const Lanes b = *reinterpret_cast<const LooseLanes *>(from + native_lanes);
        return {evens(a, b), odds(a, b)};
    }
    alignas(64) float re[native_lanes], im[native_lanes];
    for (int l = 0; l < native_lanes; ++l) {
        re[l] = port[places[l]].real();
        im[l] = port[places[l]].imag();
    }
    return {at(re, 0), at(im, 0)};
}

// z = H'^H y' and L^-1 z. Returns zeros, or NaN in the lanes whose samples are not finite.
template <int N>
inline Lanes rotate(const ListBatch &b, const ReceivedView &received, const std::ptrdiff_t *places,
                    ComplexLanes *matched, ComplexLanes *rotated) {
    const ListLayout &layout = b.layout;
    const int n = N ? N : layout.n;
    const Matrix h = b.h(), factor = b.factor();
    const Lanes gain = b(layout.gain), scale = b(layout.scale);
    bool adjacent = true;
    for (int l = 1; l < native_lanes; ++l)
        adjacent &= places[l] == places[0] + l;
    for (int i = 0; i < n; ++i)
        matched[i] = {Lanes{}, Lanes{}};
    Lanes finite{};
    for (int r = 0; r < layout.num_rx; ++r) {
        const ComplexLanes sample = load_samples(received.ports[r], places, adjacent);
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

// The LLR of a bit from both sources.
[[gnu::always_inline]] inline Lanes fuse(const ListNetwork &network, const ListNetwork::Fusion &weights,
                                         const Lanes &of_list, const Lanes &of_propagation) {
    const Lanes list = of_list == 0.0f ? of_propagation : of_list;
    const Lanes list_magnitude = magnitude(list), propagation_magnitude = magnitude(of_propagation);
    Lanes from_list{}, from_propagation{};
    for (std::size_t k = 0; k < network.knots.size(); ++k) {
        const Lanes knot = all(network.knots[k]);
        from_list = plus_product(from_list, all(weights.list[k]), minimum(list_magnitude, knot));
        from_propagation =
            plus_product(from_propagation, all(weights.propagation[k]), minimum(propagation_magnitude, knot));
    }
    constexpr std::int32_t sign = std::numeric_limits<std::int32_t>::min();
    const Lanes signed_list = float_of_bits(bits_of(from_list) ^ (bits_of(list) & sign));
    const Lanes signed_propagation = float_of_bits(bits_of(from_propagation) ^ (bits_of(of_propagation) & sign));
    return (0.0f + signed_list) + signed_propagation;
}

// `count` values of each lane, one vector per value, become rows of the lanes.
inline void lanes_to_rows(const Lanes *values, int count, float (*rows)[max_list_values]) {
    for (int first = 0; first < count; first += native_lanes) {
        Lanes block[native_lanes];
        for (int i = 0; i < native_lanes; ++i)
            block[i] = first + i < count ? values[first + i] : Lanes{};
        transpose(block);
        for (int l = 0; l < native_lanes; ++l)
            *reinterpret_cast<Lanes *>(rows[l] + first) = block[l];
    }
}

// The vectors of one step, from samples to what `to` wants; `work` has room for a complex matrix.
template <int K, int Bits, int N>
std::size_t detect_step(const ListNetwork &network, const ListBatch &b, const LanePlaces &lanes,
                        const ReceivedView &received, const DetectedView &to, const Matrix &work) {
    const ListLayout &layout = b.layout;
    const int n = N ? N : layout.n;
    std::ptrdiff_t places[native_lanes];
    for (int l = 0; l < native_lanes; ++l)
        places[l] = lanes.of(received, l);
    ComplexLanes matched[max_list_streams], rotated[max_list_streams];
    const Lanes finite = rotate<N>(b, received, places, matched, rotated);
    const LanesInt valid = (finite == 0.0f) & b.integer(layout.known);

    Lanes rotated_re[max_list_streams], rotated_im[max_list_streams];
    for (int i = 0; i < n; ++i)
        rotated_re[i] = rotated[i].re, rotated_im[i] = rotated[i].im;
    Search<K, Bits> search{b, rotated_re, rotated_im, LevelPrior<Bits>(network.half_distance), {}, {}};
    search.run();
    LanesInt path[max_list_words];
    Lanes of_list[max_list_levels * Bits];
    search.results(path, of_list);

    alignas(64) float rows[native_lanes][max_list_values];
    alignas(64) std::int32_t order[max_list_streams * native_lanes];
    for (int p = 0; p < n; ++p)
        at(order, p) = b.integer(layout.order, p);
    Lanes values[max_list_values];
    for (int p = 0; p < n; ++p)
        for (int q = 0; q < 2; ++q) {
            const int level = 2 * (n - 1 - p) + q;
            const LanesInt u = (path[level / 4] >> (8 * (level % 4))) & 255;
            const Lanes point = network.half_distance * to_float(2 * u - ((1 << Bits) - 1));
            values[2 * p + q] = valid ? point : Lanes{};
        }
    lanes_to_rows(values, 2 * n, rows);
    for (int l = 0; l < lanes.count; ++l) {
        const std::ptrdiff_t place = lanes.of(to.symbols, l);
        for (int p = 0; p < n; ++p)
            to.symbols.ports[order[p * native_lanes + l]][place] = {rows[l][2 * p], rows[l][2 * p + 1]};
    }

    if (!to.llrs.ports.empty()) {
        ComplexLanes mean[max_list_streams];
        Lanes precision[max_list_streams];
        propagate<Bits, N>(network, b, matched, rotated, work, mean, precision);
        for (int p = 0; p < n; ++p)
            for (int q = 0; q < 2; ++q) {
                Lanes of_propagation[Bits];
                gaussian_llrs<Bits>(q ? mean[p].im : mean[p].re, precision[p], of_propagation);
                const int level = 2 * (n - 1 - p) + q;
                for (int bit = 0; bit < Bits; ++bit) {
                    const Lanes llr =
                        fuse(network, network.fusion[bit], of_list[level * Bits + bit], of_propagation[bit]);
                    values[(p * Bits + bit) * 2 + q] = valid ? llr : Lanes{};
                }
            }
        lanes_to_rows(values, 2 * Bits * n, rows);
        for (int l = 0; l < lanes.count; ++l) {
            const std::ptrdiff_t place = lanes.of(to.llrs, l);
            for (int p = 0; p < n; ++p)
                std::memcpy(to.llrs.ports[order[p * native_lanes + l]] + place, rows[l] + 2 * Bits * p,
                            2 * Bits * sizeof(float));
        }
    }
    std::size_t invalid = 0;
    for (int l = 0; l < lanes.count; ++l)
        invalid += !(finite[l] == 0);
    return invalid;
}

// The Cholesky factor of each vector.
std::size_t list_detect_scratch(const Size &size) {
    return static_cast<std::size_t>(2 * size.num_tx * size.num_tx) * native_lanes;
}

template <int K, int Bits, int N>
std::size_t detect_vectors(const ListNetwork &network, const ListBatch &b, const LaneVectors &vectors,
                           const ReceivedView &received, const DetectedView &to, const Matrix &work) {
    const int copies = native_lanes / vectors.num_channels;
    std::size_t invalid = 0;
    for (int step = 0; step * copies < vectors.num_vectors; ++step)
        invalid += detect_step<K, Bits, N>(network, b, LanePlaces(vectors, step), received, to, work);
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
