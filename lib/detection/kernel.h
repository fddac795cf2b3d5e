// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set implements. Every kernel gives the same integers (docs/internals/integer-model.md); to add
// one, write a kernel_NAME.cc that defines a Kernel, and list it in instruction_sets.cc.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

#include "detection/integer_channel.h"
#include "detection/network.h"

namespace kaq {

// Where the samples of one channel lie: antenna r of vector t is at antennas[r][offset + t * stride].
struct ReceivedView {
    const std::complex<float> *const *antennas;
    std::ptrdiff_t offset; // of the first vector, in samples
    std::ptrdiff_t stride; // from one vector to the next, in samples

    ReceivedView from(int vector) const { return {antennas, offset + vector * stride, stride}; }
};

// Where the outputs of one channel go: stream j of vector t is at symbols[j][offset + t * stride], its LLRs start at
// llrs[j][llr_offset + t * llr_stride].
struct DetectedView {
    std::complex<float> *const *symbols;
    std::ptrdiff_t offset;
    std::ptrdiff_t stride;
    float *const *llrs; // nullptr: leave them out
    std::ptrdiff_t llr_offset;
    std::ptrdiff_t llr_stride;

    DetectedView from(int vector) const {
        return {symbols, offset + vector * stride, stride, llrs, llr_offset + vector * llr_stride, llr_stride};
    }
};

// Most channels that any kernel prepares at once.
inline constexpr int max_lanes = 16;

// A channel estimate to prepare.
struct Estimate {
    const std::complex<float> *h; // [num_rx][num_tx]
    float gain;                   // H is multiplied by this power of two; 0: nothing is known of the channel
    float noise_var;              // of H times gain
    double inverse_root_snr;      // where the laws are evaluated
};

// A second guess: in row `row`, ADMM-Net's z is held at `value`.
struct Pin {
    int row;
    std::int16_t value;
};

struct Kernel {
    const char *name;

    // Channels that `prepare` takes at once, one per lane of a vector register of floats.
    int lanes;

    // Floats that `prepare` needs as scratch.
    std::size_t (*scratch_floats)(const Size &);

    // Bytes of a packed matrix.
    std::size_t (*packed_bytes)(int num_rescales, const Size &);

    // ||H||_F^2 of an H with `count` entries; NaN if it holds NaN or Inf.
    double (*squared_norm)(const std::complex<float> *h, std::size_t count);

    // From `count` (1 to lanes) estimates to all of their channels: Gram matrix, regularised inverse, quantization,
    // packing. `scratch` is 64-byte aligned; what is padding in the channels has to be zero before the first call.
    void (*prepare)(const Network &, const Size &, const Estimate *, const PreparedChannel *, int count,
                    float *scratch);

    // From plain order to the kernel's, and back.
    void (*pack)(const PlainMatrix &, PackedMatrix *);
    void (*unpack)(const PackedMatrix *, const PlainMatrix &);

    // b in state units and, with Filter::matched_scale, c in gradient units, rounded half to even and saturated:
    // [num_vectors][stride]. finite[t] says whether vector t was free of NaN and Inf; b and c are zero
    // where it was not.
    void (*filter)(const Size &, const Filter &, const ReceivedView &, int num_vectors, std::int16_t *b,
                   std::int16_t *matched, bool *finite);

    // The K integer layers: t [num_vectors][stride] from the b at b + v * b_step, both 64-byte aligned, where b_step is
    // stride or 0. `pins` is nullptr, or holds one for each vector (ADMM-Net).
    void (*layers)(const Network &, const Size &, const IntegerChannel &, const std::int16_t *b, int b_step,
                   const Pin *pins, std::int16_t *t, int num_vectors);

    // The rows of t [stride] that are doubted most, and the second guess for each; returns how many.
    int (*second_guesses)(const Network &, const Size &, const IntegerChannel &, const std::int16_t *t, Pin *pins);

    // The metric of the decisions on t [num_vectors][stride]; the matched filter's output is at
    // matched + v * matched_step.
    void (*metric)(const Network &, const Size &, const IntegerMetric &, const std::int16_t *t,
                   const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors);

    // Integer LLRs of one vector: llr [bits_per_dimension][stride].
    void (*llrs)(const Network &, const Size &, const std::int16_t *t, std::int32_t *llr);

    // Symbols from t, and LLRs from `soft`, where wanted; zeros where a vector was not finite.
    void (*output)(const Network &, const Size &, const IntegerChannel &, const std::int16_t *t,
                   const std::int16_t *soft, const bool *finite, int num_vectors, const DetectedView &);
};

} // namespace kaq
