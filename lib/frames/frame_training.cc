// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_training.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>

#include "support/complex_product.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

constexpr double turn = 2 * std::numbers::pi;

// So many modes share one logarithm, of a product: the energies of a channel of unit power are far from a double's
// limits even then.
constexpr int modes_per_logarithm = 8;

// Minus the logarithm of how likely each model is, up to a constant.
std::vector<double> delay_scores(const DelayModels &models, const ReceivedModes &received) {
    const int num_modes = models.num_modes;
    const ArrayView<const Complex, 3> coefficients = received.coefficients;
    std::vector<double> energies(num_modes);
    for (std::size_t i = 0; i < coefficients.extent(0); ++i)
        for (int k = 0; k < num_modes; ++k)
            for (const Complex &coefficient : coefficients.row(i, k))
                energies[k] += std::norm(coefficient) / received.num_observed;
    std::vector<double> scores(models.num_models);
    for (int m = 0; m < models.num_models; ++m) {
        const double *of_model = models.energies.data() + static_cast<std::size_t>(m) * num_modes;
        double sum = 0;
        for (int first = 0; first < num_modes; first += modes_per_logarithm) {
            double together = 1;
            for (int k = first; k < std::min(first + modes_per_logarithm, num_modes); ++k) {
                together *= of_model[k] + received.noise;
                sum += energies[k] / (of_model[k] + received.noise);
            }
            sum += std::log(together);
        }
        scores[m] = received.independent * sum + models.scores[m];
    }
    return scores;
}

// The least of the scores for each offset with what these sums add, each times its turn [2 training_pairs][count].
KAQ_EACH_PROCESSOR double least_score(const double *turns, const double *scores, const double *sums, std::size_t count,
                                      double *score) {
    for (std::size_t o = 0; o < count; ++o) {
        double sum = scores[o];
#pragma GCC unroll 6
        for (int i = 0; i < 2 * training_pairs; ++i)
            sum += sums[i] * turns[i * count + o];
        score[o] = sum;
    }
    constexpr std::size_t together = 8; // that a processor compares at once
    double parts[together];
    std::fill(parts, parts + together, score[0]);
    std::size_t o = 0;
    for (; o + together <= count; o += together)
        for (std::size_t i = 0; i < together; ++i)
            parts[i] = score[o + i] < parts[i] ? score[o + i] : parts[i];
    for (; o < count; ++o)
        parts[0] = std::min(parts[0], score[o]);
    return *std::min_element(parts, parts + together);
}

} // namespace

double least_squares(const TrainingMap &map, ArrayView<const std::complex<float>, 3> grid, ArrayView<Complex, 4> ls,
                     std::span<double> power) {
    const int per_symbol = map.num_tx * map.num_places, count = static_cast<int>(map.indices.size()),
              num_rx = static_cast<int>(grid.extent(1));
    KAQ_ASSERT(grid.extent(0) == static_cast<std::size_t>(map.num_symbols));
    KAQ_ASSERT(grid.extent(2) == static_cast<std::size_t>(map.num_active));
    KAQ_ASSERT(map.indices.size() == map.symbols.size() * per_symbol);
    KAQ_ASSERT(map.carriers.size() == map.indices.size());
    KAQ_ASSERT(map.inverse.size() == map.indices.size());
    KAQ_ASSERT(ls.extents() ==
               std::array{map.symbols.size(), std::size_t(map.num_tx), std::size_t(map.num_places), grid.extent(1)});
    KAQ_ASSERT(power.size() == grid.extent(1));
    std::fill(power.begin(), power.end(), 0.0);
    const ArrayView<Complex, 2> estimates(ls.data(), count, num_rx);
    for (int i = 0; i < count; ++i) {
        const int symbol = map.symbols[i / per_symbol];
        const std::span<Complex> here = estimates.row(i);
        for (int a = 0; a < num_rx; ++a) {
            here[a] = product(Complex(grid(symbol, a, map.indices[i])), map.inverse[i]);
            power[a] += std::norm(here[a]) / count;
        }
    }
    return take_delay(map, estimates, {});
}

double take_delay(const TrainingMap &map, ArrayView<Complex, 2> estimates, std::span<const std::uint8_t> excluded) {
    const std::size_t count = estimates.extent(0), num_rx = estimates.extent(1);
    KAQ_ASSERT(map.carriers.size() == count);
    KAQ_ASSERT(excluded.empty() || excluded.size() == static_cast<std::size_t>(map.num_active));
    const auto counts = [&](std::size_t i) { return excluded.empty() || !excluded[map.indices[i]]; };
    Complex turned = 0;
    for (std::size_t i = 0; i < count; ++i)
        if (i % map.num_places && map.carriers[i] - map.carriers[i - 1] == map.comb && counts(i - 1) && counts(i)) {
            const std::span<const Complex> before = estimates.row(i - 1), here = estimates.row(i);
            for (std::size_t a = 0; a < num_rx; ++a)
                turned += product(std::conj(before[a]), here[a]);
        }
    const double delay = -std::arg(turned) / (turn * map.comb);
    for (std::size_t i = 0; i < count; ++i) {
        const Complex back = std::polar(1.0, turn * delay * map.carriers[i]);
        for (Complex &estimate : estimates.row(i))
            estimate = product(estimate, back);
    }
    return delay;
}

int choose_delay(const DelayModels &models, const ReceivedModes &received) {
    const int num_modes = models.num_modes, num_models = models.num_models, per_share = models.per_share;
    const double noise = received.noise;
    KAQ_ASSERT(received.coefficients.extent(1) == static_cast<std::size_t>(num_modes));
    KAQ_ASSERT(models.energies.size() == static_cast<std::size_t>(num_models) * num_modes);
    KAQ_ASSERT(models.scores.size() == static_cast<std::size_t>(num_models));
    KAQ_ASSERT(num_models > 0 && num_models % per_share == 0);
    std::vector<double> posterior = delay_scores(models, received);
    const double least = *std::min_element(posterior.begin(), posterior.end());
    double most = -1, mass = 0;
    int first = 0;
    for (double &each : posterior)
        each = std::exp(least - each);
    for (int m = 0; m < num_models; m += per_share) {
        mass = 0;
        for (int k = m; k < m + per_share; ++k)
            mass += posterior[k];
        if (mass > most) {
            most = mass;
            first = m;
        }
    }
    std::vector<double> expected(num_modes);
    for (int m = first; m < first + per_share; ++m)
        for (int k = 0; k < num_modes; ++k)
            expected[k] += posterior[m] / most * models.energies[static_cast<std::size_t>(m) * num_modes + k];
    // of the filter energy / (energy + noise) in each mode: what it takes off, and the noise that it lets in
    double least_error = std::numeric_limits<double>::infinity();
    int best = first;
    for (int m = first; m < first + per_share; ++m) {
        double error = 0;
        for (int k = 0; k < num_modes; ++k) {
            const double energy = models.energies[static_cast<std::size_t>(m) * num_modes + k],
                         scale = 1 / (energy + noise);
            error += scale * scale * noise * (noise * expected[k] + energy * energy);
        }
        if (error < least_error) {
            least_error = error;
            best = m;
        }
    }
    return best;
}

DopplerChoice choose_doppler(const DopplerModels &dopplers, const OffsetModels &offsets,
                             ArrayView<const Complex, 4> coefficients, double num_observed) {
    const auto &[num_symbols, num_tx, num_modes, num_rx] = coefficients.extents();
    const std::size_t num_dopplers = dopplers.constant.size(), num_offsets = offsets.scores.size();
    KAQ_ASSERT(num_symbols == training_symbols);
    KAQ_ASSERT(dopplers.diagonals.extents() == std::array{num_dopplers, num_modes, num_symbols});
    KAQ_ASSERT(dopplers.pairs.extents() == std::array{std::size_t(training_pairs), num_dopplers, num_modes});
    KAQ_ASSERT(num_offsets == static_cast<std::size_t>(offsets.num_offsets));
    KAQ_ASSERT(offsets.turns.size() == 2 * training_pairs * num_offsets);
    constexpr int later[training_pairs] = {1, 2, 2}, earlier[training_pairs] = {0, 0, 1};
    std::vector<double> diagonal(training_symbols * num_modes); // [mode][symbol]
    std::vector<double> pair[training_pairs][2];                // [mode], real and imaginary parts
    for (auto &parts : pair)
        for (auto &part : parts)
            part.resize(num_modes);
    for (std::size_t stream = 0; stream < num_tx; ++stream)
        for (std::size_t mode = 0; mode < num_modes; ++mode) {
            const std::span<const Complex> rows[training_symbols] = {coefficients.row(0, stream, mode),
                                                                     coefficients.row(1, stream, mode),
                                                                     coefficients.row(2, stream, mode)};
            for (std::size_t a = 0; a < num_rx; ++a) {
                for (int s = 0; s < training_symbols; ++s)
                    diagonal[training_symbols * mode + s] += std::norm(rows[s][a]);
                for (int p = 0; p < training_pairs; ++p) {
                    const Complex c = product(rows[later[p]][a], std::conj(rows[earlier[p]][a]));
                    pair[p][0][mode] += c.real();
                    pair[p][1][mode] += c.imag();
                }
            }
        }
    double least = std::numeric_limits<double>::infinity();
    DopplerChoice best{0, 0};
    std::vector<double> score(num_offsets);
    for (std::size_t d = 0; d < num_dopplers; ++d) {
        double fixed = num_observed * dopplers.constant[d];
        const double *diagonals = dopplers.diagonals.row(d, 0).data();
        for (std::size_t i = 0; i < diagonal.size(); ++i)
            fixed += diagonals[i] * diagonal[i];
        double sums[2 * training_pairs];
        for (int part = 0; part < 2; ++part)
            for (int p = 0; p < training_pairs; ++p) {
                const std::span<const double> weights = dopplers.pairs.row(p, d);
                double &sum = sums[part * training_pairs + p] = 0;
                for (std::size_t mode = 0; mode < num_modes; ++mode)
                    sum += weights[mode] * pair[p][part][mode];
            }
        const double here = least_score(offsets.turns.data(), offsets.scores.data(), sums, num_offsets, score.data());
        if (here + fixed < least) {
            least = here + fixed;
            best = {static_cast<int>(d), static_cast<int>(std::find(score.begin(), score.end(), here) - score.begin())};
        }
    }
    return best;
}

} // namespace kaq
