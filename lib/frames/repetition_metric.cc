// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/repetition_metric.h"

#include <algorithm>
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
constexpr double rounding_share = 1e-5;

// Sums of window successive values from each place on, one for each of `sums`. They are made of sums over 1, 2, 4, ...
// values: nothing accumulates from one window to the next. The values are overwritten.
KAQ_EACH_PROCESSOR void sum_window(double *values, std::size_t size, int window, double *sums, std::size_t count) {
    KAQ_ASSERT(size >= count + window - 1);
    std::fill(sums, sums + count, 0.0);
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

// Adds C / E of one of num_rx antennas. No two arrays overlap: a compiler has to know it to work on several places at
// once, and there are too many arrays for it to find out at run time.
KAQ_EACH_PROCESSOR void add_normalized(std::size_t count, int window, int num_rx,
                                       const double *__restrict correlation_re, const double *__restrict correlation_im,
                                       const double *__restrict mean_re, const double *__restrict mean_im,
                                       const double *__restrict energy, double *__restrict combined_re,
                                       double *__restrict combined_im) {
    constexpr double least = std::numeric_limits<float>::min(); // an antenna without energy must not divide 0 by 0
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t later = i + steps_per_period;
        const double re = mean_re[i] * mean_re[later] + mean_im[i] * mean_im[later],
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
    for (std::vector<double> *part : {&correlation_re_, &correlation_im_, &combined_re_, &combined_im_})
        part->reserve(most);
    for (std::vector<double> *part : {&energy_, &mean_re_, &mean_im_})
        part->reserve(most + steps_per_period);
    for (std::vector<double> *part : {&product_re_, &product_im_})
        part->reserve(most + window_steps_ - 1);
    for (std::vector<double> *part : {&squares_, &sum_re_, &sum_im_})
        part->reserve(most + window_steps_ - 1 + steps_per_period);
    // A step is kept until two preambles' lengths, a symbol and the vicinity have followed.
    metric_.reserve(most + (2 * layout.preamble_length() + layout.symbol_length()) / step_ + vicinity_ + 1);
}

// Of the windows' steps from step `first` on. The last few are only there for the energies a period later.
void RepetitionMetric::sum_steps(const SampleHistory &samples, int antenna, std::int64_t first) {
    const std::size_t num_steps = squares_.size(), num_products = product_re_.size();
    KAQ_ASSERT(num_steps == num_products + steps_per_period);
    const AntennaView all = samples.view(antenna, first * step_, static_cast<int>(num_steps) * step_);
    const int step = step_;
    const float *re = all.re.data(), *im = all.im.data();
    double *sum_re = sum_re_.data(), *sum_im = sum_im_.data(), *squares = squares_.data(),
           *product_re = product_re_.data(), *product_im = product_im_.data();
    for (std::size_t i = 0; i < num_steps; ++i, re += step, im += step) {
        const bool with_product = i < num_products;
        const int lag = with_product ? period_ : 0;
        Four sums[5] = {};
        for (int n = 0; n < step; n += 4) {
            const Four x = four(re + n), y = four(im + n), later_x = four(re + n + lag), later_y = four(im + n + lag);
            sums[0] += x;
            sums[1] += y;
            sums[2] += x * x + y * y;
            sums[3] += x * later_x + y * later_y;
            sums[4] += x * later_y - y * later_x;
        }
        sum_re[i] = total(sums[0]);
        sum_im[i] = total(sums[1]);
        squares[i] = total(sums[2]);
        if (with_product) {
            product_re[i] = total(sums[3]);
            product_im[i] = total(sums[4]);
        }
    }
}

void RepetitionMetric::sum_windows() {
    const auto sum = [this](std::vector<double> &values, std::vector<double> &sums) {
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
    for (std::size_t i = 0; i < energy_.size(); ++i) {
        const double of_mean = (mean_re_[i] * mean_re_[i] + mean_im_[i] * mean_im_[i]) / window_;
        energy_[i] = std::max(energy_[i] - of_mean, rounding_share * energy_[i]);
    }
    add_normalized(combined_re_.size(), window_, num_rx_, correlation_re_.data(), correlation_im_.data(),
                   mean_re_.data(), mean_im_.data(), energy_.data(), combined_re_.data(), combined_im_.data());
}

void RepetitionMetric::update(const SampleHistory &samples) {
    const std::int64_t first = begin_ + static_cast<std::int64_t>(metric_.size()),
                       stop = samples.position() / step_ - window_steps_ - steps_per_period + 1;
    if (stop <= first)
        return;
    const std::size_t count = stop - first, num_products = count + window_steps_ - 1;
    KAQ_ASSERT(count <= combined_re_.capacity());
    KAQ_ASSERT(metric_.size() + count <= metric_.capacity());
    for (std::vector<double> *part : {&correlation_re_, &correlation_im_})
        part->resize(count);
    for (std::vector<double> *part : {&energy_, &mean_re_, &mean_im_})
        part->resize(count + steps_per_period);
    for (std::vector<double> *part : {&product_re_, &product_im_})
        part->resize(num_products);
    for (std::vector<double> *part : {&squares_, &sum_re_, &sum_im_})
        part->resize(num_products + steps_per_period);
    for (std::vector<double> *part : {&combined_re_, &combined_im_})
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
    const double here = at(step);
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
