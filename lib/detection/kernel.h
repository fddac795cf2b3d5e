// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set implements. Every kernel gives the same integers (docs/internals/integer-model.md); to add
// one, write a kernel_NAME.cc that defines a Kernel, and list it in instruction_sets.cc.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>

#include "detection/network.h"
#include "detection/ports.h"
#include "detection/prepared_channel.h"
#include "support/views.h"

namespace kaq {

// Most channels that any kernel prepares at once.
inline constexpr int max_lanes = 16;

// A channel estimate to prepare.
struct Estimate {
    std::span<const std::complex<float>> h; // [num_rx][num_tx]
    float gain;                             // H is multiplied by this power of two; 0: nothing is known of the channel
    float noise_var;                        // of H times gain
    double inverse_root_snr;                // where the laws are evaluated
};

// Rows of the real-valued model: [num_vectors][stride], 64-byte aligned where a vector fills a register (Size::stride).
using Rows = ArrayView<std::int16_t, 2>;
using ConstRows = ArrayView<const std::int16_t, 2>;

// Extents have to fit each other, the network and the size; every kernel asserts it (kernel_arguments.h).
struct Kernel {
    const char *name;

    // Channels that `prepare` takes at once, one per lane of a vector register of floats.
    int lanes;

    // Floats that `prepare` needs as scratch.
    std::size_t (*scratch_floats)(const Size &);

    // Bytes of a packed matrix.
    std::size_t (*packed_bytes)(int num_rescales, const Size &);

    // ||H||_F^2; NaN if it holds NaN or Inf.
    double (*squared_norm)(std::span<const std::complex<float>> h);

    // From estimates (1 to lanes of them) to all of their channels: Gram matrix, regularised inverse, quantization,
    // packing. `scratch` is 64-byte aligned; what is padding in the channels has to be zero before the first call.
    void (*prepare)(const Network &, const Size &, std::span<const Estimate>, std::span<const ChannelToPrepare>,
                    std::span<float> scratch);

    // From plain order to the kernel's, and back.
    void (*pack)(const PlainMatrix &, std::span<std::byte> packed);
    void (*unpack)(std::span<const std::byte> packed, const PlainMatrixToFill &);

    // Samples of one channel to b in state units, rounded half to even and saturated. finite[t] says whether vector t
    // was free of NaN and Inf; b is zero where it was not.
    void (*filter)(const Size &, const Filter &, const ReceivedView &, const Rows &b, std::span<bool> finite);

    // The K integer layers: t from b.
    void (*layers)(const Network &, const Size &, const IntegerChannel &, const ConstRows &b, const Rows &t);

    // Integer LLRs of one vector: t [stride], llr [bits_per_dimension][stride].
    void (*llrs)(const Network &, const Size &, std::span<const std::int16_t> t, const ArrayView<std::int32_t, 2> &llr);

    // Symbols of one channel from t, and LLRs where wanted; zeros where a vector was not finite.
    void (*output)(const Network &, const Size &, const IntegerChannel &, const ConstRows &t,
                   std::span<const bool> finite, const DetectedView &);
};

} // namespace kaq
