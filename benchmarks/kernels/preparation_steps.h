// SPDX-License-Identifier: GPL-3.0-or-later
// lib/detection/prepare_channels.h step by step, for a network without steps of streams. Included by files that are
// compiled for one instruction set.
#pragma once

#include "detection/prepare_channels.h"

#include "preparation.h"

namespace speed {
namespace {

using namespace kaq; // what is timed is all of it

template <typename Layout>
void run_steps(int steps, const Network &network, const Size &size, std::span<const Estimate> estimates,
               std::span<const ChannelToPrepare> channels, std::span<float> scratch) {
    const int n = size.num_tx, count = static_cast<int>(estimates.size());
    const bool admm = network.type == NetworkType::admm;
    const float per_unit = static_cast<float>(state_half_distance) / network.half_distance;
    const Scratch s(size, scratch.data());
    const auto done = [&] { return --steps == 0; };

    load_channels(estimates, size.num_rx, n, s.h);
    if (done())
        return;
    kaq::gram_matrix(s.h, size.num_rx, n, s.gram);
    if (done())
        return;
    Lanes mean{};
    for (int i = 0; i < n; ++i)
        mean += s.gram.real(i, i);
    mean /= static_cast<float>(n);
    const Lanes noise_var = kaq::maximum(kaq::all(estimates[0].noise_var), common_floor * mean);
    const Lanes rho = static_cast<float>(network.regularization.at(estimates[0].inverse_root_snr)) * noise_var;
    if (admm) {
        for (int i = 0; i < n; ++i)
            s.gram.real(i, i) += rho;
        cholesky_factor(s.gram, n);
        if (done())
            return;
        invert_factor(s.gram, n);
        if (done())
            return;
        hermitian_product(s.gram, n, s.inverse);
        if (done())
            return;
        quantize_rows(n, s.inverse, rho, nullptr, network.matrix_clip, network.matrix_max, s.rows);
        for (int i = 0; i < n; ++i)
            kaq::at(s.precision, i) = 1.0f / (0.5f * noise_var * s.inverse.real(i, i));
        if (done())
            return;
        if (!channels[0].filter.inverse.empty()) {
            store_channels(s.inverse, n, size, kaq::all(per_unit), count,
                           [&](int l) { return channels[l].filter.inverse.data(); });
        } else {
            product(s.h, s.inverse, size.num_rx, n, s.direct);
            store_channels(s.direct, size.num_rx, size, kaq::all(per_unit), count,
                           [&](int l) { return channels[l].filter.first.data(); });
        }
    } else {
        mirror(s.gram, n);
        quantize_rows(n, s.gram, 1.0f / mean, nullptr, network.matrix_clip, network.matrix_max, s.rows);
        for (int i = 0; i < n; ++i)
            kaq::at(s.precision, i) = 1.0f / (0.5f * noise_var / (s.gram.real(i, i) + noise_var));
        if (done())
            return;
        for (int l = 0; l < count; ++l)
            channels[l].filter.scale[0] = per_unit / mean[l];
    }
    if (!admm || !channels[0].filter.inverse.empty())
        for (int l = 0; l < count; ++l)
            copy_channel(estimates[l].h.data(), estimates[l].gain, size, channels[l].filter.first.data());
    if (done())
        return;
    scatter_rows(s.rows.diagonal, of_diagonal, size, s.by_channel);
    scatter_rows(s.rows.step, of_step, size, s.by_channel);
    scatter_rows(s.precision, of_precision, size, s.by_channel);
    pack_channels<Layout>(s.rows, size, network.num_layers(), count,
                          [&](int l) { return channels[l].integers.packed.data(); });
    if (done())
        return;
    LayerConstants constants[max_layers];
    const double root = estimates[0].inverse_root_snr, output_variance = network.output_variance.at(root);
    for (int k = 0; k < network.num_layers(); ++k)
        constants[k] = layer_constants(network, network.layers[k], root);
    for (int l = 0; l < count; ++l)
        quantize_channel<Layout>(network, size, constants, output_variance, rows_of(s, size, l), channels[l].integers);
}

} // namespace
} // namespace speed
