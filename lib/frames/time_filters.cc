// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/time_filters.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "frames/fading_correlation.h"
#include "support/processors.h"

namespace kaq {
namespace {

constexpr std::size_t kept = 32; // two for each of so many streams, and some more
constexpr double symbols_per_step = 0.1;

// So many processes at once.
constexpr std::size_t together = 8;
typedef double Processes __attribute__((vector_size(together * sizeof(double))));

// `Count` rows of the Cholesky factor at column j, or of what is solved along with it: `row` is the first of them.
template <std::size_t Count>
[[gnu::always_inline]] inline void eliminate(Processes *row, const Processes *pivot_row, std::size_t num_known,
                                             std::size_t j) {
    Processes sums[Count];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < Count; ++r)
        sums[r] = row[r * num_known + j];
    for (std::size_t k = 0; k < j; ++k)
#pragma GCC unroll 4
        for (std::size_t r = 0; r < Count; ++r)
            sums[r] -= row[r * num_known + k] * pivot_row[k];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < Count; ++r)
        row[r * num_known + j] = sums[r] * pivot_row[j];
}

// rows: [num_known and num_wanted][num_known]. First the covariance of the known values with their noise, of which only
// what is not right of the diagonal counts, then the covariance of the wanted with the known values. The latter become
// the filters, and `errors` [num_wanted] their error variances.
//
// noise: no pivot is less.
KAQ_EACH_PROCESSOR void solve(Processes *rows, std::size_t num_known, std::size_t num_wanted, const Processes *noise,
                              Processes *errors) {
    constexpr std::size_t at_once = 4;
    const std::size_t num_rows = num_known + num_wanted;
    for (std::size_t j = 0; j < num_known; ++j) {
        Processes *pivot_row = rows + j * num_known;
        Processes pivot = pivot_row[j];
        for (std::size_t k = 0; k < j; ++k)
            pivot -= pivot_row[k] * pivot_row[k];
        pivot = pivot > *noise ? pivot : *noise;
        for (std::size_t l = 0; l < together; ++l)
            pivot[l] = 1 / std::sqrt(pivot[l]);
        pivot_row[j] = pivot;
        std::size_t i = j + 1;
        for (; i + at_once <= num_rows; i += at_once)
            eliminate<at_once>(rows + i * num_known, pivot_row, num_known, j);
        for (; i < num_rows; ++i)
            eliminate<1>(rows + i * num_known, pivot_row, num_known, j);
    }
    for (std::size_t w = 0; w < num_wanted; ++w) {
        Processes *row = rows + (num_known + w) * num_known, left = 1 - Processes{};
        for (std::size_t j = 0; j < num_known; ++j)
            left -= row[j] * row[j];
        errors[w] = left > 0 ? left : Processes{};
        for (std::size_t i = num_known; i-- > 0;) {
            const Processes *factor = rows + i * num_known;
            row[i] *= factor[i];
            for (std::size_t j = 0; j < i; ++j)
                row[j] -= row[i] * factor[j];
        }
    }
}

} // namespace

TimeFilters::TimeFilters(std::vector<double> dopplers) : dopplers_(std::move(dopplers)), entries_(kept) {}

void TimeFilters::set_noise(std::span<const double> noise) {
    noise_.assign(noise.begin(), noise.end());
    for (Entry &entry : entries_)
        entry.used = 0;
}

const TimeFilter &TimeFilters::get(StreamFading fading, std::span<const int> known, std::span<const int> wanted) {
    ++calls_;
    Entry *oldest = &entries_.front();
    for (Entry &entry : entries_) {
        if (entry.used && entry.fading == fading && std::ranges::equal(entry.known, known) &&
            std::ranges::equal(entry.wanted, wanted)) {
            entry.used = calls_;
            return entry.filter;
        }
        if (entry.used < oldest->used)
            oldest = &entry;
    }
    oldest->fading = fading;
    oldest->known.assign(known.begin(), known.end());
    oldest->wanted.assign(wanted.begin(), wanted.end());
    make(*oldest);
    oldest->used = calls_;
    return oldest->filter;
}

void TimeFilters::make(Entry &entry) {
    const std::size_t num_known = entry.known.size(), num_wanted = entry.wanted.size(), num_processes = noise_.size(),
                      num_rows = num_known + num_wanted;
    const int dopplers[2] = {entry.fading.strongest, entry.fading.others};
    const double lines[2] = {line_shares[entry.fading.line], 0};
    for (int part = 0; part < 2; ++part) {
        std::vector<double> &correlation = correlations_[part];
        correlation.resize(num_rows * num_known);
        const double turn = 2 * std::numbers::pi * symbols_per_step * dopplers_[dopplers[part]];
        for (std::size_t i = 0; i < num_rows; ++i) {
            const int time = i < num_known ? entry.known[i] : entry.wanted[i - num_known];
            for (std::size_t j = 0; j < num_known && (j <= i || i >= num_known); ++j)
                correlation[i * num_known + j] = fading_correlation(turn * (time - entry.known[j]), lines[part]);
        }
    }
    entry.filter.weights.resize(num_processes * num_wanted * num_known);
    entry.filter.errors.resize(num_processes * num_wanted);
    rows_.resize(num_rows * num_known * together);
    errors_.resize((num_wanted + 1) * together);
    auto *rows = reinterpret_cast<Processes *>(rows_.data()), *noise = reinterpret_cast<Processes *>(errors_.data()),
         *errors = noise + 1;
    for (std::size_t first = 0; first < num_processes; first += together) {
        const std::size_t count = std::min(together, num_processes - first);
        const bool has_strongest = first + count == num_processes;
        for (std::size_t l = 0; l < together; ++l)
            (*noise)[l] = noise_[std::min(first + l, num_processes - 1)];
        for (std::size_t i = 0; i < num_rows * num_known; ++i) {
            rows[i] = correlations_[1][i] - Processes{};
            if (has_strongest)
                rows[i][count - 1] = correlations_[0][i];
        }
        for (std::size_t i = 0; i < num_known; ++i)
            rows[i * num_known + i] += *noise;
        solve(rows, num_known, num_wanted, noise, errors);
        for (std::size_t l = 0; l < count; ++l) {
            for (std::size_t w = 0; w < num_wanted; ++w)
                entry.filter.errors[(first + l) * num_wanted + w] = errors[w][l];
            float *weights = entry.filter.weights.data() + (first + l) * num_wanted * num_known;
            for (std::size_t i = 0; i < num_wanted * num_known; ++i)
                weights[i] = static_cast<float>(rows[num_known * num_known + i][l]);
        }
    }
}

} // namespace kaq
