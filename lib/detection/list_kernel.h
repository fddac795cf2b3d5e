// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set implements of the list detector. Every kernel gives the same bits: those of
// list_reference.py.
#pragma once

#include <complex>
#include <cstddef>
#include <span>

#include "detection/kernel.h" // max_lanes
#include "detection/lane_vectors.h"
#include "detection/list_network.h"
#include "detection/ports.h"
#include "detection/size.h"

namespace kaq {

// What is known of a channel before it is prepared; channel_levels.py specifies it.
struct ListLevel {
    float gain;      // H is multiplied by this power of two; 0: nothing is known of the channel
    float noise_var; // of H times gain
};

struct ListKernel {
    int lanes;

    // Floats of a prepared batch, and of the scratch that each thread needs.
    std::size_t (*batch_floats)(const Size &);
    std::size_t (*scratch_floats)(const Size &);

    // A channel's H [num_rx][num_tx] to each lane of a batch, and ||H||_F^2 of each in single precision, which is not
    // finite if H is not. `batch` is 64-byte aligned.
    void (*load)(const Size &, std::span<const std::complex<float> *const> h, std::span<float> batch,
                 std::span<float> squared_norms);

    // From what was loaded to all that detection needs. Both arrays are 64-byte aligned.
    void (*prepare)(const ListNetwork &, const Size &, std::span<const ListLevel> lanes, std::span<float> batch,
                    std::span<float> scratch);

    // Symbols and, where wanted, LLRs; returns how many vectors held NaN or Inf.
    std::size_t (*detect)(const ListNetwork &, const Size &, std::span<const float> batch, const LaneVectors &,
                          const ReceivedView &, const DetectedView &, std::span<float> scratch);
};

} // namespace kaq
