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
// correlations `shares`, into `found` [num_tx][stride]; and the determinant, as a factor.
KAQ_EACH_PROCESSOR void add_likelihoods(const double *shares, double variance, const double *products,
                                        const double *energies, std::size_t num_tx, std::size_t count,
                                        std::size_t stride, double *found, double *determinants) {
    for (std::size_t d = 0; d < count; ++d) {
        const double scaled = shares[d] / variance, share = scaled < max_correlation ? scaled : max_correlation,
                     left = 1 - share * share;
        determinants[d] *= left;
        const double energy = 1 / (variance * left);
        for (std::size_t t = 0; t < num_tx; ++t)
            found[t * stride + d] += energy * (2 * share * products[t] - energies[t]);
    }
}

} // namespace

DopplerTrack::DopplerTrack(std::vector<double> values, int num_tx)
    : values_(std::move(values)), num_tx_(num_tx), likelihoods_(num_tx_ * num_rows * values_.size()),
      most_likely_(num_tx_), shares_(values_.size()), products_(num_tx_), energies_(num_tx_),
      found_(likelihoods_.size()), determinants_(values_.size()), constants_(num_rows * values_.size()) {}

void DopplerTrack::begin(int doppler) {
    for (std::size_t i = 0; i < likelihoods_.size(); ++i) {
        const double away = (double(i % values_.size()) - doppler) / steps_unsure;
        likelihoods_[i] = prior(i, values_.size()) - 0.5 * away * away;
    }
    choose();
}

void DopplerTrack::take(std::span<const Pair> pairs, std::span<const double> scale, std::span<const double> noise) {
    const std::size_t count = values_.size();
    std::fill(found_.begin(), found_.end(), 0.0);
    std::fill(constants_.begin(), constants_.end(), 0.0);
    for (std::size_t first = 0; first < pairs.size(); first += lags_per_logarithm) {
        const std::span<const Pair> some = pairs.subspan(first, std::min(lags_per_logarithm, pairs.size() - first));
        correlations_.resize(some.size() * count);
        for (std::size_t l = 0; l < some.size(); ++l)
            for (std::size_t d = 0; d < count; ++d)
                correlations_[l * count + d] = fading_correlation(2 * std::numbers::pi * values_[d] * some[l].lag);
        for (std::size_t k = 0; k + 1 < noise.size(); ++k)
            add(some, scale, noise, k, 0, 0);
        for (std::size_t line = 0; line < std::size(line_shares); ++line)
            add(some, scale, noise, noise.size() - 1, 1 + line, line_shares[line]);
    }
    for (std::size_t i = 0; i < found_.size(); ++i) {
        const double likelihood = found_[i] - double(scale.size()) * constants_[i % constants_.size()];
        likelihoods_[i] += likelihood / double(pairs.size()) - forget * (likelihoods_[i] - prior(i, count));
    }
    choose();
}

// To found_ and constants_, in this row of each stream: what pairs of one mode say of a process with this line.
void DopplerTrack::add(std::span<const Pair> pairs, std::span<const double> scale, std::span<const double> noise,
                       std::size_t mode, std::size_t row, double line) {
    const std::size_t count = values_.size(), num_rx = scale.size();
    std::fill(determinants_.begin(), determinants_.end(), 1.0);
    for (std::size_t l = 0; l < pairs.size(); ++l) {
        for (std::size_t t = 0; t < num_tx_; ++t) {
            const std::size_t place = (t * noise.size() + mode) * num_rx;
            products_[t] = energies_[t] = 0;
            for (std::size_t a = 0; a < num_rx; ++a) {
                const std::complex<double> earlier(pairs[l].earlier[place + a]), later(pairs[l].later[place + a]);
                const double squared = scale[a] * scale[a];
                products_[t] += squared * (earlier.real() * later.real() + earlier.imag() * later.imag());
                energies_[t] += squared * (std::norm(earlier) + std::norm(later));
            }
        }
        for (std::size_t d = 0; d < count; ++d)
            shares_[d] = line + (1 - line) * correlations_[l * count + d];
        add_likelihoods(shares_.data(), 1 + noise[mode], products_.data(), energies_.data(), num_tx_, count,
                        num_rows * count, found_.data() + row * count, determinants_.data());
    }
    for (std::size_t d = 0; d < count; ++d)
        constants_[row * count + d] += std::log(determinants_[d]);
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
