// SPDX-License-Identifier: GPL-3.0-or-later
// A network for C channels (the subcarriers of one estimate) of one size: from samples and H to symbols and LLRs. Owns
// all buffers: nothing is allocated after the constructor.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "detection/kernel.h"
#include "detection/noise.h"
#include "support/aligned.h"
#include "support/thread_pool.h"
#include "support/views.h"

namespace kaq {

// The integers of all channels, rows in `positions`; docs/internals/integer-model.md says what they are.
struct IntegerArrays {
    AlignedVector<std::int16_t> diagonal, slope, inverse_step, threshold, first_gain, second_gain;
    AlignedVector<float> llr_scale;
};

// The matrices of all channels in plain order, for tests.
struct PlainMatrices {
    AlignedVector<std::int8_t> matrix;   // [C][rows][positions]
    AlignedVector<std::int32_t> rescale; // [C][K][positions]
};

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

    // The integer stages alone, for the tests of bit-exactness; [num_channels][num_vectors][stride()].
    void filter(const ReceivedView &received, std::span<std::int16_t> b, std::span<bool> finite) const;
    void layers(std::span<const std::int16_t> b, std::span<std::int16_t> t) const;

    IntegerArrays &integers() { return integers_; }
    const IntegerArrays &integers() const { return integers_; }
    // After the first rows() of the `positions` in each of the arrays were written: the others.
    void repeat_rows();
    PlainMatrices matrices() const;
    void set_matrices(const PlainMatrices &from);

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
    template <Access access>
    ChannelOf<access> channel(int c);
    void set_direct(bool direct);
    std::size_t detect(int c, int first, int count, const ReceivedView &received, const DetectedView &detected) const;

    Network network_;
    const Kernel &kernel_;
    int num_channels_;
    Size size_;
    bool direct_ = false; // ADMM-Net's filter is one matrix
    IntegerArrays integers_;
    AlignedVector<std::complex<float>> filter_, inverse_;
    AlignedVector<float> scale_;
    AlignedVector<std::byte> packed_;
    std::vector<PreparedChannel> channels_;    // views of the above, kept because they take long to make
    std::vector<ChannelToPrepare> to_prepare_; // the same, to write to
    std::vector<ChannelLevels> levels_;
    std::vector<AlignedVector<float>> scratch_; // per thread
    std::unique_ptr<ThreadPool> threads_;
};

} // namespace kaq
