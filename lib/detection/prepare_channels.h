// SPDX-License-Identifier: GPL-3.0-or-later
// From channel estimates to all that the detection of a vector needs, `native_lanes` channels at once: Gram matrix and
// inverse with one channel in each lane, then row by row. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <span>

#include "detection/channel_lanes.h"
#include "detection/fixed_point.h"
#include "detection/kernel.h"
#include "detection/kernel_arguments.h"
#include "detection/prepare_scratch.h"
#include "detection/quantize_layers.h"
#include "detection/quantize_matrix.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

// rho of a stream is at least so much of its own diagonal entry of the Gram matrix; noise_var, of their mean
// (preparation.py)
constexpr float stream_floor = 1e-6f, common_floor = 1e-10f;

// Stages with matrices are always inlined: where GCC did not, pointers were loaded again after each store, and AVX2
// took 10 % longer.

// Each channel in its lane; unused lanes repeat the last one.
struct LaneValues {
    Lanes gain;
    LanesInt known;  // all bits set where something is known of a channel; where nothing is (H = 0), everything is zero
    Lanes scale;     // mean diagonal entry of the Gram matrix
    Lanes noise_var; // of streams above the floor of their own
    Lanes regularization;

    LaneValues(const Network &network, std::span<const Estimate> estimates, int n, const Matrix &gram) {
        Lanes mean_diagonal{}, given_noise_var;
        for (std::size_t l = 0; l < native_lanes; ++l) {
            const Estimate &estimate = estimates[std::min(l, estimates.size() - 1)];
            gain[l] = estimate.gain;
            given_noise_var[l] = estimate.noise_var;
            regularization[l] = static_cast<float>(network.regularization.at(estimate.inverse_root_snr));
        }
        for (int i = 0; i < n; ++i)
            mean_diagonal += gram.real(i, i);
        mean_diagonal /= static_cast<float>(n);
        known = gain > 0;
        scale = known ? mean_diagonal : all(1);
        noise_var = maximum(given_noise_var, common_floor * scale);
    }
};

inline bool any_above(const Lanes &x, float limit) {
    bool found = false;
    for (int l = 0; l < native_lanes; ++l)
        found |= x[l] > limit;
    return found;
}

// out = the n x n matrix with its columns times factors
inline void scale_columns(const Matrix &matrix, int n, const float *factors, const Matrix &out) {
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) {
            out.real(i, j) = matrix.real(i, j) * at(factors, j);
            out.imag(i, j) = matrix.imag(i, j) * at(factors, j);
        }
}

// ADMM-Net's matrix (G + R)^-1 R, and the precisions that follow. The Gram matrix is used up.
[[gnu::always_inline]] inline void quantize_inverse(const Network &network, const Size &size, const LaneValues &lanes,
                                                    const Scratch &s) {
    const int n = size.num_tx;
    // `relative` is each stream's rho over that of streams above the floor of their own: 1 in nearly all channels
    const Lanes rho = lanes.regularization * lanes.noise_var;
    Lanes largest = all(1);
    for (int i = 0; i < n; ++i) {
        Lanes &power = s.gram.real(i, i);
        at(s.relative, i) = maximum(stream_floor * power / rho, all(1));
        largest = maximum(largest, at(s.relative, i));
        power += rho * at(s.relative, i);
    }
    invert_cholesky_factor(s.gram, n);
    hermitian_product(s.gram, n, s.inverse);
    for (int i = 0; i < n; ++i) {
        const Lanes noise_var = lanes.noise_var * at(s.relative, i);
        at(s.precision, i) = lanes.known ? 1.0f / (0.5f * noise_var * s.inverse.real(i, i)) : Lanes{};
    }
    const Matrix *matrix = &s.inverse;
    if (any_above(largest, 1)) {
        scale_columns(s.inverse, n, s.relative, s.gram);
        matrix = &s.gram;
    }
    if (network.stream_steps) {
        stream_scales(n, *matrix, s.stream_scale, s.column_scale);
        scatter_rows(s.stream_scale, of_stream_scale, size, s.by_channel);
    }
    quantize_rows(n, *matrix, lanes.known ? rho : Lanes{}, network.stream_steps ? s.column_scale : nullptr,
                  network.matrix_clip, network.matrix_max, s.rows);
}

// PGD-Net's matrix, the Gram matrix over its scale, and the precisions of the matched filter. `per_unit` state units
// are 1.
[[gnu::always_inline]] inline void quantize_gram(const Network &network, int n, const LaneValues &lanes, float per_unit,
                                                 std::span<const ChannelToPrepare> channels, const Scratch &s) {
    const Lanes normalise = lanes.known ? 1.0f / lanes.scale : Lanes{};
    mirror(s.gram, n);
    quantize_rows(n, s.gram, normalise, nullptr, network.matrix_clip, network.matrix_max, s.rows);
    for (std::size_t l = 0; l < channels.size(); ++l)
        channels[l].filter.scale[0] = normalise[l] * lanes.gain[l] * per_unit;
    for (int i = 0; i < n; ++i) {
        const Lanes power = s.gram.real(i, i), noise_var = maximum(lanes.noise_var, stream_floor * power);
        at(s.precision, i) = lanes.known ? 1.0f / (0.5f * noise_var / (power + noise_var)) : Lanes{};
    }
}

// How b is made: H A at once, or H and then, for ADMM-Net, A.
[[gnu::always_inline]] inline void store_filter(const Size &size, const Lanes &factor,
                                                std::span<const Estimate> estimates,
                                                std::span<const ChannelToPrepare> channels, bool admm,
                                                const Scratch &s) {
    const int n = size.num_tx, count = static_cast<int>(channels.size());
    const bool direct = admm && channels[0].filter.inverse.empty();
    if (direct) {
        product(s.h, s.inverse, size.num_rx, n, s.direct);
        store_channels(s.direct, size.num_rx, size, factor, count,
                       [&](int l) { return channels[l].filter.first.data(); });
        return;
    }
    if (admm)
        store_channels(s.inverse, n, size, factor, count, [&](int l) { return channels[l].filter.inverse.data(); });
    for (int l = 0; l < count; ++l)
        copy_channel(estimates[l].h.data(), estimates[l].gain, size, channels[l].filter.first.data());
}

// The laws, evaluated for each channel, and the integers that follow.
template <typename Layout>
inline void quantize_channels(const Network &network, const Size &size, std::span<const Estimate> estimates,
                              std::span<const ChannelToPrepare> channels, const Scratch &s) {
    LayerConstants constants[max_layers];
    double output_variance = 1;
    for (std::size_t l = 0; l < channels.size(); ++l) {
        const double root = estimates[l].inverse_root_snr;
        if (l == 0 || root != estimates[l - 1].inverse_root_snr) {
            for (int k = 0; k < network.num_layers(); ++k)
                constants[k] = layer_constants(network, network.layers[k], root);
            output_variance = network.output_variance.at(root);
        }
        quantize_channel<Layout>(network, size, constants, output_variance, rows_of(s, size, static_cast<int>(l)),
                                 channels[l].integers);
    }
}

template <typename Layout>
void prepare_channels(const Network &network, const Size &size, std::span<const Estimate> estimates,
                      std::span<const ChannelToPrepare> channels, std::span<float> scratch) {
    assert_prepare<Layout>(network, size, estimates, channels, scratch);
    KAQ_ASSERT(scratch.size() == scratch_floats(size) && channels.size() <= native_lanes);
    const int n = size.num_tx, count = static_cast<int>(estimates.size());
    const bool admm = network.type == NetworkType::admm;
    const float per_unit = static_cast<float>(state_half_distance) / network.half_distance;
    const Scratch s(size, scratch.data());
    load_channels(estimates, size.num_rx, n, s.h);
    gram_matrix(s.h, size.num_rx, n, s.gram);
    const LaneValues lanes(network, estimates, n, s.gram);
    if (admm)
        quantize_inverse(network, size, lanes, s);
    else
        quantize_gram(network, n, lanes, per_unit, channels, s);
    store_filter(size, per_unit * lanes.gain, estimates, channels, admm, s);

    scatter_rows(s.rows.diagonal, of_diagonal, size, s.by_channel);
    scatter_rows(s.rows.step, of_step, size, s.by_channel);
    scatter_rows(s.precision, of_precision, size, s.by_channel);
    pack_channels<Layout>(s.rows, size, network.num_layers(), count,
                          [&](int l) { return channels[l].integers.packed.data(); });
    quantize_channels<Layout>(network, size, estimates, channels, s);
}

} // namespace
} // namespace kaq
