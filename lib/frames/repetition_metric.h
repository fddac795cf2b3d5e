// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "frames/frame_layout.h"
#include "frames/sample_history.h"

namespace kaq {

// Step 2 of the search: how much like a preamble the samples repeat themselves, the metric M of
// python/gr_kaq/frames/synchronization.py. It is looked at every `step` samples. Nothing is allocated after the
// constructor.
class RepetitionMetric {
public:
    // piece: samples between two updates, at most.
    RepetitionMetric(const FrameLayout &layout, int num_rx, int piece);

    // M at every step whose samples are there.
    void update(const SampleHistory &samples);

    // At a step: 0 to 1, but for rounding.
    double at(std::int64_t step) const {
        KAQ_ASSERT(step >= begin_ && step < begin_ + static_cast<std::int64_t>(metric_.size()));
        return metric_[step - begin_];
    }

    // Whether M exceeds what noise reaches, and is the greatest around.
    bool is_peak(std::int64_t step) const { return at(step) > threshold_ && is_greatest_around(step); }

    // Steps before this one will not be asked for any more.
    void drop_before(std::int64_t step);

    // The next step to be looked at is this one.
    void restart(std::int64_t step);

    int step() const { return step_; }

private:
    void sum_steps(const SampleHistory &samples, int antenna, std::int64_t first);
    void sum_windows();
    void add_antenna();
    bool is_greatest_around(std::int64_t step) const;

    int num_rx_, period_;
    int step_;         // in samples
    int window_;       // samples of M's sums
    int window_steps_; // the same in steps
    int vicinity_;     // steps: of two peaks that are closer, the greater counts
    double threshold_;

    std::vector<float> metric_; // at successive steps
    std::int64_t begin_ = 0;    // which step is the first of them

    // What one update works on. Over each step of samples, of one antenna:
    std::vector<float> product_re_, product_im_; // conj(sample) times the one a period later
    std::vector<float> squares_, sum_re_, sum_im_;
    // and over the window that begins at each step; of all antennas, the last two:
    std::vector<float> correlation_re_, correlation_im_, energy_, mean_re_, mean_im_, combined_re_, combined_im_;
};

} // namespace kaq
