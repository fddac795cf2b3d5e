// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "frames/antenna_view.h"

namespace kaq {

// The newest samples of several antennas, counted from the first of the stream. Before them are zeros. Nothing is
// allocated after the constructor.
class SampleHistory {
public:
    // In samples of each antenna: zeros that can be looked at before the stream, samples that are kept from one append
    // to the next, and samples that are appended at once; each of them at most.
    SampleHistory(int num_rx, int zeros, int kept, int piece);

    // Samples first to first + count - 1 of each antenna. Returns how many were NaN or Inf, which are taken as 0.
    std::size_t append(std::span<const std::complex<float> *const> antennas, std::size_t first, int count);

    // So many zeros of each antenna.
    void append_zeros(int count);

    // As many samples of one antenna; those of all antennas count with finish().
    void append(int antenna, const AntennaView &samples);
    void finish(int count) { count_ += count; }

    // What is before this sample will not be looked at any more.
    void drop_before(std::int64_t sample);

    // The next sample to be appended is this one, and what is before it reads as 0.
    void restart(std::int64_t sample);

    // `count` samples from this one on.
    AntennaView view(int antenna, std::int64_t sample, int count) const {
        KAQ_ASSERT(antenna >= 0 && antenna < num_rx_);
        KAQ_ASSERT(sample >= begin_ - zeros_);
        KAQ_ASSERT(count >= 0 && sample + count <= position());
        const float *re = row(2 * antenna) + (place_ + (sample - begin_)), *im = re + capacity_;
        return {{re, static_cast<std::size_t>(count)}, {im, static_cast<std::size_t>(count)}};
    }

    std::int64_t begin() const { return begin_; }             // the first that is kept
    std::int64_t position() const { return begin_ + count_; } // the next to be appended
    int num_rx() const { return num_rx_; }

private:
    const float *row(int index) const { return values_.data() + index * capacity_; }
    float *row(int index) { return values_.data() + index * capacity_; }
    void make_room(int count);

    int num_rx_;
    std::int64_t zeros_, capacity_; // of a row
    std::vector<float> values_;     // [num_rx][re, im][capacity]
    std::int64_t place_;            // of the first sample in its row; what is kept only moves when there is no room
    std::int64_t begin_ = 0, count_ = 0;
};

} // namespace kaq
