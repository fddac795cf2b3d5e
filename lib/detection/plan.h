// SPDX-License-Identifier: GPL-3.0-or-later
// A network for C channels (the subcarriers of one estimate) of one size: from samples and H to symbols and LLRs. Owns
// all buffers: nothing is allocated after the constructor.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "detection/batches.h"
#include "detection/integers.h"
#include "detection/kernel.h"
#include "detection/noise.h"

namespace kaq {

class Plan {
public:
    // Throws std::invalid_argument for a network that the kernels cannot run, and a size that there is no room for.
    // Threads: the calling one, and num_threads - 1.
    Plan(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads = 1);

    // h: [num_channels][num_rx][num_tx]. `vectors_per_estimate` decides how the filter is applied, which is a matter
    // of speed: its rounding may change b by a unit. Throws std::invalid_argument if h holds NaN or Inf.
    void prepare(std::span<const std::complex<float>> h, const Noise &noise, int vectors_per_estimate = 1);

    // Detect all vectors of all channels; returns how many held NaN or Inf.
    std::size_t detect(const ReceivedView &received, const DetectedView &detected);

    // For the tests of bit-exactness, of networks in int8: the integer stages alone, on rows [num_channels][T][rows()]
    // and `finite` [num_channels][T].
    void filter(const ReceivedView &received, std::span<std::int16_t> b, std::span<bool> finite);
    void layers(std::span<const std::int16_t> b, std::span<std::int16_t> t);
    // LLRs [bits_per_dimension][rows] of one vector.
    void llrs(std::span<const std::int16_t> t, std::span<std::int32_t> llrs) const;
    Integers integers() const;
    void set_integers(const Integers &from);

    const Network &network() const { return network_; }
    const Kernel &kernel() const { return kernel_; }
    int num_channels() const { return batches_.num_channels(); }
    int num_threads() const { return batches_.num_threads(); }
    int num_rx() const { return size_.num_rx; }
    int num_tx() const { return size_.num_tx; }
    int rows() const { return size_.rows(); }

private:
    Form form() const { return {network_, size_, direct_}; }

    Network network_;
    const Kernel &kernel_;
    Size size_;
    bool direct_ = false; // ADMM-Net's filter is one matrix
    Batches batches_;
    std::vector<ChannelLevels> levels_;
};

} // namespace kaq
