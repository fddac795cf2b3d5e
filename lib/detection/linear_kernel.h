// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set implements of the linear detectors. All that have fused multiply-adds give the same bits.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>

#include "detection/kernel.h" // max_lanes
#include "detection/lane_vectors.h"
#include "detection/linear_network.h"
#include "detection/noise.h"
#include "detection/ports.h"
#include "detection/size.h"

namespace kaq {

struct LinearKernel {
    int lanes;

    // Floats of the scratch that each thread needs; LinearLayout says how large a batch is.
    std::size_t (*scratch_floats)(const Size &);

    // A channel's H [num_rx][num_tx] to each lane of a batch, and ||H||_F^2 of each in single precision, which is not
    // finite if H is not. `batch` is 64-byte aligned.
    void (*load)(const Size &, std::span<const std::complex<float> *const> h, std::span<float> batch,
                 std::span<float> squared_norms);

    // From what was loaded to all that detection needs; `one_matrix`: to a single matrix, which takes longer to prepare
    // and less for each vector. Returns a bit for each lane whose channel needs more than single precision:
    // precise_filter.h has the rest. Both arrays are 64-byte aligned.
    std::uint32_t (*prepare)(const LinearNetwork &, const Size &, bool one_matrix, std::span<const ChannelLevels> lanes,
                             std::span<float> batch, std::span<float> scratch);

    // Symbols and, where wanted, LLRs; returns how many vectors held NaN or Inf, or gave one.
    std::size_t (*detect)(const LinearNetwork &, const Size &, bool one_matrix, std::span<const float> batch,
                          const LaneVectors &, const ReceivedView &, const DetectedView &, std::span<float> scratch);
};

} // namespace kaq
