// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set implements of the unfolded networks. Every kernel gives the same integers
// (docs/internals/integer-model.md); to add one, write a kernel_NAME.cc that defines a Kernel, and list it in
// instruction_sets.cc.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>

#include "detection/integers.h"
#include "detection/lane_vectors.h"
#include "detection/law_values.h"
#include "detection/network.h"
#include "detection/ports.h"
#include "detection/size.h"

namespace kaq {

// Most channels that any kernel has in the lanes of a register.
inline constexpr int max_lanes = 16;

// A channel estimate to prepare.
struct Estimate {
    const std::complex<float> *h; // [num_rx][num_tx]
    float gain;                   // H is multiplied by this power of two; 0: nothing is known of the channel
    float noise_var;              // of H times gain
    double inverse_root_snr;      // where the laws are evaluated
};

// Rows of the real-valued model in plain order, for tests: [num_channels][num_vectors][rows] at `data`.
struct PlainRows {
    std::int16_t *data;
    int num_channels, num_vectors;
};

// What the functions below share: the network and the size, and whether ADMM-Net's filter is one matrix.
struct Form {
    const Network &network;
    Size size;
    bool direct;
};

// Arrays are 64-byte aligned.
struct Kernel {
    const char *name;

    // Channels in the lanes of a register.
    int lanes;

    // Floats of a prepared batch, and of the scratch that each thread needs.
    std::size_t (*batch_floats)(const Network &, const Size &);
    std::size_t (*scratch_floats)(const Network &, const Size &);

    // ||H||_F^2 of as many channels as there are norms, one after the other; NaN if one holds NaN or Inf.
    void (*squared_norms)(std::span<const std::complex<float>> h, std::span<double> norms);

    // From the estimate of each lane to all that detection needs. `common`: the laws where most of them are evaluated.
    void (*prepare)(const Form &, std::span<const Estimate> lanes, const LawValues &common, std::span<float> batch,
                    std::span<float> scratch);

    // Symbols and, where wanted, LLRs; returns how many vectors held NaN or Inf.
    std::size_t (*detect)(const Form &, std::span<const float> batch, const LaneVectors &, const ReceivedView &,
                          const DetectedView &, std::span<float> scratch);

    // For tests, of networks in int8: the stages alone, and the integers of the channel in a lane.
    // Samples to b in state units, rounded half to even and saturated; zero where a vector is not finite.
    void (*filter)(const Form &, std::span<const float> batch, const LaneVectors &, const ReceivedView &,
                   const PlainRows &b, std::span<bool> finite, std::span<float> scratch);
    // The K integer layers: t from b, in place.
    void (*layers)(const Form &, std::span<const float> batch, const LaneVectors &, const PlainRows &b,
                   std::span<float> scratch);
    // Integer LLRs [bits_per_dimension][rows] of one vector t [rows].
    void (*llrs)(const Network &, std::span<const std::int16_t> t, std::span<std::int32_t> llrs);
    void (*get_integers)(const Form &, std::span<const float> batch, int lane, const ChannelIntegersToFill &);
    void (*set_integers)(const Form &, std::span<float> batch, int lane, const ChannelIntegers &);
};

} // namespace kaq
