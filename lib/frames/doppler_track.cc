// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/doppler_track.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "frames/fading_correlation.h"
#include "support/processors.h"

namespace kaq {
namespace {

constexpr double forget = 1. / 16; // in a frame
constexpr double steps_unsure = 4; // between values, what a single frame's estimate is off
constexpr double max_correlation = 0.9999;
constexpr std::size_t lags_per_logarithm = 16; // of a product, so that no double leaves its range

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
    : values_(std::move(values)), num_tx_(num_tx), likelihoods_(num_tx_ * 2 * values_.size()), most_likely_(num_tx_),
      shares_(values_.size()), products_(num_tx_), energies_(num_tx_), found_(likelihoods_.size()),
      determinants_(values_.size()), constants_(2 * values_.size()) {}

void DopplerTrack::begin(int doppler) {
    for (std::size_t i = 0; i < likelihoods_.size(); ++i) {
        const double away = (double(i % values_.size()) - doppler) / steps_unsure;
        likelihoods_[i] = -0.5 * away * away;
    }
    choose();
}

void DopplerTrack::take(std::span<const Pair> pairs, std::span<const double> scale, std::span<const double> noise) {
    const std::size_t count = values_.size(), num_modes = noise.size(), num_rx = scale.size();
    std::fill(found_.begin(), found_.end(), 0.0);
    std::fill(constants_.begin(), constants_.end(), 0.0);
    for (std::size_t first = 0; first < pairs.size(); first += lags_per_logarithm) {
        const std::span<const Pair> some = pairs.subspan(first, std::min(lags_per_logarithm, pairs.size() - first));
        shares_.resize(some.size() * count);
        for (std::size_t l = 0; l < some.size(); ++l)
            for (std::size_t d = 0; d < count; ++d)
                shares_[l * count + d] = fading_correlation(2 * std::numbers::pi * values_[d] * some[l].lag);
        for (std::size_t k = 0; k < num_modes; ++k) {
            const std::size_t part = k + 1 == num_modes ? 0 : 1;
            std::fill(determinants_.begin(), determinants_.end(), 1.0);
            for (std::size_t l = 0; l < some.size(); ++l) {
                for (std::size_t t = 0; t < num_tx_; ++t) {
                    const std::size_t place = (t * num_modes + k) * num_rx;
                    products_[t] = energies_[t] = 0;
                    for (std::size_t a = 0; a < num_rx; ++a) {
                        const std::complex<double> earlier(some[l].earlier[place + a]), later(some[l].later[place + a]);
                        const double squared = scale[a] * scale[a];
                        products_[t] += squared * (earlier.real() * later.real() + earlier.imag() * later.imag());
                        energies_[t] += squared * (std::norm(earlier) + std::norm(later));
                    }
                }
                add_likelihoods(shares_.data() + l * count, 1 + noise[k], products_.data(), energies_.data(), num_tx_,
                                count, 2 * count, found_.data() + part * count, determinants_.data());
            }
            for (std::size_t d = 0; d < count; ++d)
                constants_[part * count + d] += std::log(determinants_[d]);
        }
    }
    for (std::size_t i = 0; i < found_.size(); ++i) {
        const double likelihood = found_[i] - double(num_rx) * constants_[i % (2 * count)];
        likelihoods_[i] += likelihood / double(pairs.size()) - forget * likelihoods_[i];
    }
    choose();
}

void DopplerTrack::choose() {
    const std::size_t count = values_.size();
    const auto best = [&](std::size_t row) {
        const auto first = likelihoods_.begin() + static_cast<std::ptrdiff_t>(row * count);
        return static_cast<int>(std::max_element(first, first + static_cast<std::ptrdiff_t>(count)) - first);
    };
    for (std::size_t t = 0; t < num_tx_; ++t)
        most_likely_[t] = {best(2 * t), best(2 * t + 1)};
}

} // namespace kaq
