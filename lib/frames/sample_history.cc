// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/sample_history.h"

#include <algorithm>

#include "support/processors.h"

namespace kaq {
namespace {

// Real and imaginary parts; returns how many samples were NaN or Inf, which become 0.
KAQ_EACH_PROCESSOR int split(const float *samples, int count, float *re, float *im) {
    int invalid = 0;
    for (int n = 0; n < count; ++n) {
        const float x = samples[2 * n], y = samples[2 * n + 1];
        const bool finite = (x - x) + (y - y) == 0;
        re[n] = finite ? x : 0;
        im[n] = finite ? y : 0;
        invalid += !finite;
    }
    return invalid;
}

} // namespace

SampleHistory::SampleHistory(int num_rx, int zeros, int kept, int piece)
    : num_rx_(num_rx), zeros_(zeros), capacity_(static_cast<std::int64_t>(zeros) + kept + piece),
      values_(2 * static_cast<std::size_t>(num_rx) * capacity_), place_(zeros) {}

// The samples move to their first place, behind the zeros.
void SampleHistory::make_room(int count) {
    if (place_ + count_ + count <= capacity_)
        return;
    for (int i = 0; i < 2 * num_rx_; ++i)
        std::copy(row(i) + place_, row(i) + place_ + count_, row(i) + zeros_);
    place_ = zeros_;
    KAQ_ASSERT(place_ + count_ + count <= capacity_);
}

std::size_t SampleHistory::append(std::span<const std::complex<float> *const> antennas, std::size_t first, int count) {
    KAQ_ASSERT(antennas.size() == static_cast<std::size_t>(num_rx_));
    make_room(count);
    std::size_t invalid = 0;
    for (int a = 0; a < num_rx_; ++a) {
        invalid += split(reinterpret_cast<const float *>(antennas[a] + first), count, row(2 * a) + place_ + count_,
                         row(2 * a + 1) + place_ + count_);
    }
    count_ += count;
    return invalid;
}

void SampleHistory::drop_before(std::int64_t sample) {
    if (const std::int64_t drop = std::min(sample - begin_, count_); drop > 0) {
        begin_ += drop;
        count_ -= drop;
        place_ += drop;
    }
}

void SampleHistory::append_zeros(int count) {
    make_room(count);
    for (int i = 0; i < 2 * num_rx_; ++i)
        std::fill_n(row(i) + place_ + count_, count, 0.0f);
    count_ += count;
}

void SampleHistory::append(int antenna, const AntennaView &samples) {
    make_room(samples.size());
    std::copy(samples.re.begin(), samples.re.end(), row(2 * antenna) + place_ + count_);
    std::copy(samples.im.begin(), samples.im.end(), row(2 * antenna + 1) + place_ + count_);
}

void SampleHistory::restart(std::int64_t sample) {
    begin_ = sample;
    count_ = 0;
    place_ = zeros_;
}

} // namespace kaq
