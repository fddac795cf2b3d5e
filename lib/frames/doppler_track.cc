// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/doppler_track.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>
#include <utility>

#include "frames/fading_correlation.h"
#include "support/processors.h"

namespace kaq {
namespace {

constexpr double forget = 1. / 16; // in a frame
constexpr double steps_unsure = 4; // between values, what a single frame's estimate is off
constexpr double line_score = 0.5; // minus the logarithm of how likely a line is before: most channels have none
constexpr double max_correlation = 0.9999;
constexpr std::size_t num_rows = 1 + std::size(line_shares); // of a stream's likelihoods
constexpr std::size_t lags_per_logarithm = 16;               // of a product, so that no double leaves its range

// How likely what the i-th likelihood is of is before, but for its Doppler; `count` Dopplers.
double prior(std::size_t i, std::size_t count) { return i / count % num_rows > 1 ? -line_score : 0; }

// What pairs with one lag say of one mode, for each Doppler [count]: sums [num_tx] of products and energies against the
// correlations, of which `line` does not fade, into `found` [num_tx][stride]; and the determinant, as a factor.
KAQ_EACH_PROCESSOR void add_likelihoods(const double *correlations, double line, double variance,
                                        const double *products, const double *energies, std::size_t num_tx,
                                        std::size_t count, std::size_t stride, double *found, double *determinants) {
    constexpr std::size_t together = 64; // loops without a choice in them, so that they are of vectors
    for (std::size_t first = 0; first < count; first += together) {
        const std::size_t some = std::min(together, count - first);
        double shares[together], weights[together];
        for (std::size_t d = 0; d < some; ++d) {
            const double scaled = (line + (1 - line) * correlations[first + d]) / variance;
            shares[d] = scaled < max_correlation ? scaled : max_correlation;
            const double left = 1 - shares[d] * shares[d];
            determinants[first + d] *= left;
            weights[d] = 1 / (variance * left);
        }
        for (std::size_t t = 0; t < num_tx; ++t)
            for (std::size_t d = 0; d < some; ++d)
                found[t * stride + first + d] += weights[d] * (2 * shares[d] * products[t] - energies[t]);
    }
}

} // namespace

DopplerTrack::DopplerTrack(std::vector<double> values, int num_tx)
    : values_(std::move(values)), num_tx_(num_tx), likelihoods_(num_tx_ * num_rows * values_.size()),
      most_likely_(num_tx_), found_(likelihoods_.size()), determinants_(values_.size()),
      constants_(num_rows * values_.size()) {}

void DopplerTrack::begin(int doppler) {
    for (std::size_t i = 0; i < likelihoods_.size(); ++i) {
        const double away = (double(i % values_.size()) - doppler) / steps_unsure;
        likelihoods_[i] = prior(i, values_.size()) - 0.5 * away * away;
    }
    choose();
}

void DopplerTrack::take(std::span<const Pair> pairs, std::span<const double> scale, std::span<const double> noise) {
    correlate(pairs);
    std::fill(found_.begin(), found_.end(), 0.0);
    std::fill(constants_.begin(), constants_.end(), 0.0);
    for (std::size_t k = 0; k < noise.size(); ++k) {
        add_up(pairs, scale, k, noise.size());
        if (k + 1 < noise.size())
            add(0, 0, 1 + noise[k]);
        else
            for (std::size_t line = 0; line < std::size(line_shares); ++line)
                add(1 + line, line_shares[line], 1 + noise[k]);
    }
    for (std::size_t i = 0; i < found_.size(); ++i) {
        const double likelihood = found_[i] - double(scale.size()) * constants_[i % constants_.size()];
        likelihoods_[i] += likelihood / double(pairs.size()) - forget * (likelihoods_[i] - prior(i, values_.size()));
    }
    choose();
}

// correlations_ [pair][value]. Those of regular frames are there already.
void DopplerTrack::correlate(std::span<const Pair> pairs) {
    const std::size_t count = values_.size();
    lags_.resize(pairs.size(), std::nan(""));
    correlations_.resize(pairs.size() * count);
    for (std::size_t l = 0; l < pairs.size(); ++l) {
        if (lags_[l] == pairs[l].lag)
            continue;
        lags_[l] = pairs[l].lag;
        for (std::size_t d = 0; d < count; ++d)
            correlations_[l * count + d] = fading_correlation(2 * std::numbers::pi * values_[d] * lags_[l]);
    }
}

// products_ and energies_ [pair][num_tx] of a mode, sums over the antennas.
void DopplerTrack::add_up(std::span<const Pair> pairs, std::span<const double> scale, std::size_t mode,
                          std::size_t num_modes) {
    const std::size_t num_rx = scale.size();
    products_.assign(pairs.size() * num_tx_, 0);
    energies_.assign(pairs.size() * num_tx_, 0);
    for (std::size_t l = 0; l < pairs.size(); ++l)
        for (std::size_t t = 0; t < num_tx_; ++t) {
            const std::size_t place = (t * num_modes + mode) * num_rx, to = l * num_tx_ + t;
            for (std::size_t a = 0; a < num_rx; ++a) {
                const std::complex<double> earlier(pairs[l].earlier[place + a]), later(pairs[l].later[place + a]);
                const double squared = scale[a] * scale[a];
                products_[to] += squared * (earlier.real() * later.real() + earlier.imag() * later.imag());
                energies_[to] += squared * (std::norm(earlier) + std::norm(later));
            }
        }
}

// To found_ and constants_, in this row of each stream: what all pairs of a mode say of a process with this line.
// variance: of the process and its noise.
void DopplerTrack::add(std::size_t row, double line, double variance) {
    const std::size_t count = values_.size(), num_pairs = lags_.size();
    for (std::size_t first = 0; first < num_pairs; first += lags_per_logarithm) {
        std::fill(determinants_.begin(), determinants_.end(), 1.0);
        for (std::size_t l = first; l < std::min(first + lags_per_logarithm, num_pairs); ++l)
            add_likelihoods(correlations_.data() + l * count, line, variance, products_.data() + l * num_tx_,
                            energies_.data() + l * num_tx_, num_tx_, count, num_rows * count,
                            found_.data() + row * count, determinants_.data());
        for (std::size_t d = 0; d < count; ++d)
            constants_[row * count + d] += std::log(determinants_[d]);
    }
}

void DopplerTrack::choose() {
    const std::size_t count = values_.size();
    const auto best = [&](std::size_t stream, std::size_t row, std::size_t rows) {
        const double *first = likelihoods_.data() + (stream * num_rows + row) * count;
        return static_cast<int>(std::max_element(first, first + rows * count) - first);
    };
    for (std::size_t t = 0; t < num_tx_; ++t) {
        const int strongest = best(t, 1, std::size(line_shares)), dopplers = static_cast<int>(count);
        most_likely_[t] = {strongest / dopplers, strongest % dopplers, best(t, 0, 1)};
    }
}

} // namespace kaq
