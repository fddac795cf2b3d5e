// SPDX-License-Identifier: GPL-3.0-or-later
// A network prepared for C channels (the subcarriers of one estimate): from samples and H to symbols and LLRs.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "kernel.h"

namespace kaq {

// Where the outputs go, in elements: stream j of vector t of channel c is at
// symbols[j][c * channel_stride + t * vector_stride], its LLRs start at llrs[j][c * llr_... + t * llr_...].
struct OutputView {
    std::complex<float> *const *symbols;
    std::ptrdiff_t channel_stride;
    std::ptrdiff_t vector_stride;
    float *const *llrs; // nullptr: leave them out
    std::ptrdiff_t llr_channel_stride;
    std::ptrdiff_t llr_vector_stride;
};

// Where the inputs lie: antenna r of vector t of channel c is at antennas[r][c * channel_stride + t * vector_stride].
struct InputView {
    const std::complex<float> *const *antennas;
    std::ptrdiff_t channel_stride;
    std::ptrdiff_t vector_stride;
};

// The integers of all channels, rows padded; IntegerChannel says what they are.
struct IntegerArrays {
    AlignedVector<std::int8_t> matrix, metric_matrix; // the metric's: empty for a network without candidates
    AlignedVector<std::int16_t> diagonal, slope, inverse_step, threshold, first_gain, second_gain, metric_diagonal;
    AlignedVector<std::int32_t> rescale, metric_rescale;
    AlignedVector<float> llr_scale;
    // whether LLRs are those of the first run, and whether candidates are tried; one per channel
    std::vector<std::uint8_t> metric_soft_first, metric_searched;
};

class Channels {
public:
    // Room for `num_channels`; `prepare`, or `integers` and `pack`, fill it.
    Channels(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx);

    // h: [num_channels][num_rx][num_tx]. noise_var[c * noise_stride], values[c * values_stride]: a stride of 0 shares
    // one value.
    void prepare(const std::complex<float> *h, const double *noise_var, int noise_stride, const LayerValues *values,
                 int values_stride);

    // Detect num_vectors vectors for each channel; returns how many held NaN or Inf.
    std::size_t detect(const InputView &input, const OutputView &output, int num_vectors) const;

    // The integer stages alone, for the tests of bit-exactness; [num_channels][num_vectors][stride()].
    // `matched` is nullptr for a network without candidates.
    void filter(const InputView &input, int num_vectors, std::int16_t *b, std::int16_t *matched, bool *finite) const;
    // `soft` is what the LLRs are computed from.
    void layers(const std::int16_t *b, const std::int16_t *matched, std::int16_t *t, std::int16_t *soft,
                int num_vectors) const;

    // Lay out the matrices for the kernel, after `integers()` were written.
    void pack();

    IntegerArrays &integers() { return integers_; }
    const Network &network() const { return network_; }
    const Kernel &kernel() const { return kernel_; }
    int num_channels() const { return num_channels_; }
    int num_rx() const { return num_rx_; }
    int num_tx() const { return num_tx_; }
    int rows() const { return 2 * num_tx_; }
    int stride() const { return padded_rows(rows()); }

private:
    struct Rows; // what quantize needs of each row
    IntegerChannel channel(int c) const;
    IntegerMetric metric(int c) const;
    void quantize(int c, const LayerValues &values, const Rows &rows);
    void filter(int c, const ReceivedView &received, int num_vectors, std::int16_t *b, std::int16_t *matched,
                bool *finite) const;
    // The layers, and once more for each candidate. Returns what the LLRs are computed from: t, or `first`, which then
    // holds the first run's.
    const std::int16_t *layers(int c, const std::int16_t *b, const std::int16_t *matched, std::int16_t *t,
                               std::int16_t *first, int num_vectors) const;

    Network network_;
    const Kernel &kernel_;
    int num_channels_;
    int num_rx_;
    int num_tx_;
    IntegerArrays integers_;
    AlignedVector<float> filter_;         // [C][num_rx][2][stride], see Kernel::filter
    AlignedVector<float> matched_filter_; // the same; empty for a network without candidates
    AlignedVector<std::byte> packed_, metric_packed_;
    std::size_t packed_bytes_, metric_packed_bytes_;
};

} // namespace kaq
