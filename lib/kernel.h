// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set implements. Every kernel gives the same bits (docs/integer-model.md); to add one, write a
// kernel_NAME.cc that defines a Kernel, and list it in instruction_sets.cc.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

#include "integer_channel.h"
#include "network.h"

namespace kaq {

// Where the samples of one channel lie: antenna r of vector t is at antennas[r][offset + t * stride].
struct ReceivedView {
    const std::complex<float> *const *antennas;
    std::ptrdiff_t offset; // of the first vector, in samples
    std::ptrdiff_t stride; // from one vector to the next, in samples

    ReceivedView from(int vector) const { return {antennas, offset + vector * stride, stride}; }
};

// Channels that are prepared at once, one per lane of a vector register.
inline constexpr int lanes = 16;

// The rows of a matrix, each quantized with its own step.
struct QuantizedRows {
    float *diagonal;              // [num_tx]
    float *row_step;              // [num_tx]
    std::int8_t *off_diagonal[2]; // [num_tx][num_tx], in row_steps
};

// The floating-point stage for `lanes` channels; index [..][lane] is innermost everywhere, complex numbers are split.
// Where nothing is known of a channel (H = 0), everything is zero.
struct LinearStage {
    int num_rx;
    int num_tx;
    const float *h[2];           // [num_rx][num_tx]
    const float *noise_var;      // [1]
    const float *regularization; // [1]; ADMM-Net's rho over noise_var
    float *filter[2];            // [num_tx][num_rx], b = filter y
    QuantizedRows matrix;
    float *precision;         // [num_tx], 1 / error variance per real dimension
    float *stream_scale;      // [num_tx], see `quantize_channels` in quantization.py
    float *matched_filter[2]; // [num_tx][num_rx], c H^H; for networks with candidates, as is
    QuantizedRows metric;     // c G
    float *scratch;           // linear_stage_scratch(num_tx) floats
};

constexpr std::size_t linear_stage_scratch(int num_tx) { return std::size_t{4} * num_tx * num_tx * lanes; }

// A second guess: in row `row`, ADMM-Net's z is held at `value`.
struct Pin {
    int row;
    std::int16_t value;
};

struct Kernel {
    const char *name;

    // Gram matrix, regularised inverse, filter, and the rows of the matrix quantized each with its own step.
    void (*linear_stage)(const Network &, const LinearStage &);

    // Bytes that `pack` writes.
    std::size_t (*packed_bytes)(int num_rescales, int stride);

    // Lay out a matrix for `layers` or `metric`; `packed` is aligned to 64 bytes.
    void (*pack)(const RescaledMatrix &, std::byte *packed);

    // b = filter y in state units, rounded half to even and saturated: [num_vectors][stride].
    // `filter` is [num_rx][2][stride]: what the real and the imaginary part of antenna r add to each row, per state
    // unit. finite[t] says whether vector t was free of NaN and Inf; b is zero where it was not.
    void (*filter)(const float *filter, int num_rx, int stride, const ReceivedView &, int num_vectors, std::int16_t *b,
                   bool *finite);

    // The K integer layers: t [num_vectors][stride] from the b at b + v * b_step, both aligned to 64 bytes. `pins` is
    // nullptr, or holds one for each vector (ADMM-Net).
    void (*layers)(const Network &, const IntegerChannel &, const std::byte *packed, const std::int16_t *b, int b_step,
                   const Pin *pins, std::int16_t *t, int num_vectors);

    // The rows of t [stride] that are doubted most, and the second guess for each; returns how many.
    int (*second_guesses)(const Network &, const IntegerChannel &, const std::int16_t *t, Pin *pins);

    // The metric of the decisions on t [num_vectors][stride]; the matched filter's output is at
    // matched + v * matched_step.
    void (*metric)(const Network &, const IntegerMetric &, const std::byte *packed, const std::int16_t *t,
                   const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors);

    // Integer LLRs of one vector: llr [bits_per_dimension][stride].
    void (*llrs)(const Network &, int stride, const std::int16_t *t, std::int32_t *llr);
};

} // namespace kaq
