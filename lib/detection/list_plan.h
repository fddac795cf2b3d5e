// SPDX-License-Identifier: GPL-3.0-or-later
// A list detector for C channels (the subcarriers of one estimate) of one size: from samples and H to symbols and LLRs.
// Owns all buffers: nothing is allocated after the constructor.
#pragma once

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "detection/batches.h"
#include "detection/list_kernel.h"
#include "detection/noise.h"

namespace kaq {

class ListPlan {
public:
    // Throws std::invalid_argument for a network that the kernels cannot run, and a size that there is no room for.
    // Threads: the calling one, and num_threads - 1.
    ListPlan(ListNetwork network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads = 1);

    // h: [num_channels][num_rx][num_tx]. Throws std::invalid_argument if h holds NaN or Inf.
    void prepare(std::span<const std::complex<float>> h, const Noise &noise, int vectors_per_estimate = 1);

    // Detect all vectors of all channels; returns how many held NaN or Inf.
    std::size_t detect(const ReceivedView &received, const DetectedView &detected);

    const ListNetwork &network() const { return network_; }
    const Kernel &kernel() const { return kernel_; }
    int num_channels() const { return batches_.num_channels(); }
    int num_threads() const { return batches_.num_threads(); }
    int num_rx() const { return size_.num_rx; }
    int num_tx() const { return size_.num_tx; }

private:
    ListNetwork network_;
    const Kernel &kernel_;
    const ListKernel &list_;
    Size size_;
    Batches batches_;
    std::vector<ChannelLevels> levels_;
};

} // namespace kaq
