// SPDX-License-Identifier: GPL-3.0-or-later
// A network for C channels (the subcarriers of one estimate) of one size: from samples and H to symbols and LLRs. Owns
// all buffers: nothing is allocated after the constructor.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "detection/kernel.h"
#include "support/aligned.h"
#include "support/thread_pool.h"

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

// What is known of the noise: noise variances per receive antenna, or SNRs in dB (signal_model.py); one for all
// channels together, or one for each.
struct Noise {
    const double *values;
    bool per_channel;
    bool is_snr_db;
};

// The integers of all channels, rows in `positions`; docs/internals/integer-model.md says what they are.
struct IntegerArrays {
    AlignedVector<std::int16_t> diagonal, slope, inverse_step, threshold, first_gain, second_gain, metric_diagonal;
    AlignedVector<float> llr_scale;
    // one per channel: whether LLRs are those of the first run, and whether candidates are tried
    AlignedVector<std::uint8_t> metric_soft_first, metric_searched;
};

// The matrices of all channels in plain order, for tests.
struct PlainMatrices {
    AlignedVector<std::int8_t> matrix;   // [C][rows][positions]
    AlignedVector<std::int32_t> rescale; // [C][num_rescales][positions]
};

class Plan {
public:
    // Throws std::invalid_argument for a size that there is no room for. Threads: the calling one, and num_threads - 1.
    Plan(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads = 1);

    // h: [num_channels][num_rx][num_tx]. `vectors_per_estimate` decides how the filter is applied, which is a matter
    // of speed: its rounding may change b by a unit. Throws std::invalid_argument if h holds NaN or Inf.
    void prepare(const std::complex<float> *h, const Noise &noise, int vectors_per_estimate = 1);

    // Detect num_vectors vectors for each channel; returns how many held NaN or Inf.
    std::size_t detect(const InputView &input, const OutputView &output, int num_vectors);

    // The integer stages alone, for the tests of bit-exactness; [num_channels][num_vectors][stride()].
    // `matched` is nullptr for a network without candidates.
    void filter(const InputView &input, int num_vectors, std::int16_t *b, std::int16_t *matched, bool *finite) const;
    // `soft` is what the LLRs are computed from.
    void layers(const std::int16_t *b, const std::int16_t *matched, std::int16_t *t, std::int16_t *soft,
                int num_vectors) const;

    IntegerArrays &integers() { return integers_; }
    // After the first rows() of the `positions` in each of the arrays were written: the others.
    void repeat_rows();
    PlainMatrices matrices(bool metric) const;
    void set_matrices(bool metric, const PlainMatrices &from);

    const Network &network() const { return network_; }
    const Kernel &kernel() const { return kernel_; }
    int num_channels() const { return num_channels_; }
    int num_threads() const { return threads_->size(); }
    int num_rx() const { return size_.num_rx; }
    int num_tx() const { return size_.num_tx; }
    int rows() const { return size_.rows(); }
    int stride() const { return size_.stride(); }
    int positions() const { return size_.positions(); }

private:
    PreparedChannel channel(int c) const;
    PlainMatrix plain(bool metric, PlainMatrices &of, int c) const;
    std::byte *packed(bool metric, int c) const;
    void find_noise_var(const std::complex<float> *h, const Noise &noise);
    // The layers, and once more for each candidate. Returns what the LLRs are computed from: t, or `first`, which then
    // holds the first run's.
    const std::int16_t *layers(const PreparedChannel &channel, const std::int16_t *b, const std::int16_t *matched,
                               std::int16_t *t, std::int16_t *first, int num_vectors) const;
    std::size_t detect(int c, int first, int count, const InputView &input, const OutputView &output) const;

    Network network_;
    const Kernel &kernel_;
    int num_channels_;
    Size size_;
    bool direct_ = false; // ADMM-Net's filter is one matrix
    // what `channel` gives out pointers into
    mutable IntegerArrays integers_;
    mutable AlignedVector<std::complex<float>> filter_, inverse_;
    mutable AlignedVector<float> scale_, matched_scale_;
    mutable AlignedVector<std::byte> packed_, metric_packed_;
    std::size_t packed_bytes_, metric_packed_bytes_;
    std::vector<double> noise_var_, inverse_root_snr_; // per channel; of H times its gain
    std::vector<float> gain_;                          // per channel
    std::vector<AlignedVector<float>> scratch_;        // per thread
    std::unique_ptr<ThreadPool> threads_;
};

} // namespace kaq
