// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/repetition_metric.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "frames/four_lanes.h"
#include "support/processors.h"

namespace kaq {
namespace {

// Of exceeding the threshold in white noise, at one place. It only keeps step 3 of the search from being busy; both
// together are far below 1e-9 per sample (benchmarks/false_alarms.py).
constexpr double false_alarm_probability = 1e-4;

// The least M of a preamble: -9 dB. In white noise nothing could be decoded there; behind interference from one
// direction, it can. With many antennas, noise stays far below.
constexpr double least_metric = 0.015;

constexpr int steps_per_period = 4;

// What of the energy is left at least when the mean is taken away. Where nearly everything is the mean, rounding is
// what remains.
constexpr float rounding_share = 1e-5f;

// Sums of window successive values from each place on, one for each of `sums`. They are made of sums over 1, 2, 4, ...
// values: nothing accumulates from one window to the next. The values are overwritten.
KAQ_EACH_PROCESSOR void sum_window(float *values, std::size_t size, int window, float *sums, std::size_t count) {
    KAQ_ASSERT(size >= count + window - 1);
    std::fill(sums, sums + count, 0.0f);
    std::size_t begin = 0;
    for (int length = 1; window; length *= 2) {
        if (window & length) {
            for (std::size_t i = 0; i < count; ++i)
                sums[i] += values[begin + i];
            begin += length;
            window -= length;
        }
        if (window) {
            size -= length;
            for (std::size_t i = 0; i < size; ++i)
                values[i] += values[i + length];
        }
    }
}

// Of one step: products with the samples `lag` later, real and imaginary parts, squares, and samples; four of each.
typedef std::array<Four, 5> Sums;

[[gnu::always_inline]] inline Sums sums_of_step(const float *re, const float *im, int step, int lag) {
    Sums sums = {};
    for (int n = 0; n < step; n += 4) {
        const Four x = four(re + n), y = four(im + n), later_x = four(re + n + lag), later_y = four(im + n + lag);
        sums[0] += x * later_x + y * later_y;
        sums[1] += x * later_y - y * later_x;
        sums[2] += x * x + y * y;
        sums[3] += x;
        sums[4] += y;
    }
    return sums;
}

// Of each step, to[kind][step]. The last few have no products.
KAQ_EACH_PROCESSOR void sum_steps(const AntennaView &samples, int step, int period, std::size_t num_products,
                                  std::size_t num_steps, const std::array<float *, 5> &to) {
    const auto sums_of = [&](std::size_t i, int lag) {
        return sums_of_step(samples.re.data() + i * step, samples.im.data() + i * step, step, lag);
    };
    std::size_t i = 0;
    for (; i + 4 <= num_products; i += 4) {
        const Sums steps[] = {sums_of(i, period), sums_of(i + 1, period), sums_of(i + 2, period),
                              sums_of(i + 3, period)};
        for (int k = 0; k < 5; ++k)
            set_four(to[k] + i, totals(steps[0][k], steps[1][k], steps[2][k], steps[3][k]));
    }
    for (; i < num_steps; ++i) {
        const bool with_products = i < num_products;
        const Sums sums = sums_of(i, with_products ? period : 0);
        for (int k = with_products ? 0 : 2; k < 5; ++k)
            to[k][i] = total(sums[k]);
    }
}

// Of energies, with sums over the same windows.
KAQ_EACH_PROCESSOR void take_mean_away(std::size_t count, float window, const float *__restrict mean_re,
                                       const float *__restrict mean_im, float *__restrict energy) {
    for (std::size_t i = 0; i < count; ++i) {
        const float of_mean = (mean_re[i] * mean_re[i] + mean_im[i] * mean_im[i]) / window;
        energy[i] = std::max(energy[i] - of_mean, rounding_share * energy[i]);
    }
}

// Adds C / E of one of num_rx antennas. No two arrays overlap: a compiler has to know it to work on several places at
// once, and there are too many arrays for it to find out at run time.
KAQ_EACH_PROCESSOR void add_normalized(std::size_t count, float window, float num_rx,
                                       const float *__restrict correlation_re, const float *__restrict correlation_im,
                                       const float *__restrict mean_re, const float *__restrict mean_im,
                                       const float *__restrict energy, float *__restrict combined_re,
                                       float *__restrict combined_im) {
    constexpr float least = std::numeric_limits<float>::min(); // an antenna without energy must not divide 0 by 0
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t later = i + steps_per_period;
        const float re = mean_re[i] * mean_re[later] + mean_im[i] * mean_im[later],
                    im = mean_re[i] * mean_im[later] - mean_im[i] * mean_re[later],
                    scale = 1 / (std::max(std::max(energy[i], energy[later]), least) * num_rx);
        combined_re[i] += (correlation_re[i] - re / window) * scale;
        combined_im[i] += (correlation_im[i] - im / window) * scale;
    }
}

} // namespace

RepetitionMetric::RepetitionMetric(const FrameLayout &layout, int num_rx, int piece)
    : num_rx_(num_rx), period_(layout.period), step_(layout.period / steps_per_period),
      window_(layout.preamble_length() - layout.period), window_steps_(window_ / step_),
      vicinity_(lag_periods * steps_per_period),
      threshold_(std::max(least_metric, -std::log(false_alarm_probability) / (double(window_) * num_rx))) {
    const std::size_t most = piece / step_ + 1; // steps of an update
    for (std::vector<float> *part : {&correlation_re_, &correlation_im_, &combined_re_, &combined_im_})
        part->reserve(most);
    for (std::vector<float> *part : {&energy_, &mean_re_, &mean_im_})
        part->reserve(most + steps_per_period);
    for (std::vector<float> *part : {&product_re_, &product_im_})
        part->reserve(most + window_steps_ - 1);
    for (std::vector<float> *part : {&squares_, &sum_re_, &sum_im_})
        part->reserve(most + window_steps_ - 1 + steps_per_period);
    // A step is kept until two preambles' lengths, a symbol and the vicinity have followed.
    metric_.reserve(most + (2 * layout.preamble_length() + layout.symbol_length()) / step_ + vicinity_ + 1);
}

// Of the windows' steps from step `first` on. The last few are only there for the energies a period later.
void RepetitionMetric::sum_steps(const SampleHistory &samples, int antenna, std::int64_t first) {
    const std::size_t num_steps = squares_.size(), num_products = product_re_.size();
    KAQ_ASSERT(num_steps == num_products + steps_per_period);
    const AntennaView all = samples.view(antenna, first * step_, static_cast<int>(num_steps) * step_);
    kaq::sum_steps(all, step_, period_, num_products, num_steps,
                   {product_re_.data(), product_im_.data(), squares_.data(), sum_re_.data(), sum_im_.data()});
}

void RepetitionMetric::sum_windows() {
    const auto sum = [this](std::vector<float> &values, std::vector<float> &sums) {
        sum_window(values.data(), values.size(), window_steps_, sums.data(), sums.size());
    };
    sum(product_re_, correlation_re_);
    sum(product_im_, correlation_im_);
    sum(squares_, energy_);
    sum(sum_re_, mean_re_);
    sum(sum_im_, mean_im_);
}

// C / E of an antenna, means taken away.
void RepetitionMetric::add_antenna() {
    take_mean_away(energy_.size(), static_cast<float>(window_), mean_re_.data(), mean_im_.data(), energy_.data());
    add_normalized(combined_re_.size(), static_cast<float>(window_), static_cast<float>(num_rx_),
                   correlation_re_.data(), correlation_im_.data(), mean_re_.data(), mean_im_.data(), energy_.data(),
                   combined_re_.data(), combined_im_.data());
}

void RepetitionMetric::update(const SampleHistory &samples) {
    const std::int64_t first = begin_ + static_cast<std::int64_t>(metric_.size()),
                       stop = samples.position() / step_ - window_steps_ - steps_per_period + 1;
    if (stop <= first)
        return;
    const std::size_t count = stop - first, num_products = count + window_steps_ - 1;
    KAQ_ASSERT(count <= combined_re_.capacity());
    KAQ_ASSERT(metric_.size() + count <= metric_.capacity());
    for (std::vector<float> *part : {&correlation_re_, &correlation_im_})
        part->resize(count);
    for (std::vector<float> *part : {&energy_, &mean_re_, &mean_im_})
        part->resize(count + steps_per_period);
    for (std::vector<float> *part : {&product_re_, &product_im_})
        part->resize(num_products);
    for (std::vector<float> *part : {&squares_, &sum_re_, &sum_im_})
        part->resize(num_products + steps_per_period);
    for (std::vector<float> *part : {&combined_re_, &combined_im_})
        part->assign(count, 0);
    for (int a = 0; a < num_rx_; ++a) {
        sum_steps(samples, a, first);
        sum_windows();
        add_antenna();
    }
    for (std::size_t i = 0; i < count; ++i)
        metric_.push_back(combined_re_[i] * combined_re_[i] + combined_im_[i] * combined_im_[i]);
}

// Greater than all before, so that of equal ones there is one.
bool RepetitionMetric::is_greatest_around(std::int64_t step) const {
    const float here = metric_[step - begin_];
    const std::int64_t place = step - begin_, count = static_cast<std::int64_t>(metric_.size());
    for (std::int64_t i = std::max<std::int64_t>(0, place - vicinity_); i < place; ++i)
        if (metric_[i] >= here)
            return false;
    for (std::int64_t i = place + 1; i <= std::min(place + vicinity_, count - 1); ++i)
        if (metric_[i] > here)
            return false;
    return true;
}

void RepetitionMetric::drop_before(std::int64_t step) {
    if (const std::int64_t drop = step - vicinity_ - begin_; drop > 0) { // is_peak() looks back
        metric_.erase(metric_.begin(), metric_.begin() + drop);
        begin_ += drop;
    }
}

void RepetitionMetric::restart(std::int64_t step) {
    metric_.clear();
    begin_ = step;
}

} // namespace kaq
