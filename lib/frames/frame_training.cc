// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_training.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>

namespace kaq {
namespace {

using Complex = std::complex<double>;

// Without the detour over NaN and Inf that std::complex takes.
inline Complex product(Complex a, Complex b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

} // namespace

double least_squares(const TrainingMap &map, int num_rx, const std::complex<float> *grid, Complex *ls, double *power) {
    const int per_symbol = map.num_tx * map.num_places, count = static_cast<int>(map.indices.size());
    std::fill(power, power + num_rx, 0.0);
    Complex turn = 0;
    for (int i = 0; i < count; ++i) {
        const std::complex<float> *symbol =
            grid + static_cast<std::size_t>(map.symbols[i / per_symbol]) * num_rx * map.num_active;
        Complex *here = ls + static_cast<std::size_t>(i) * num_rx;
        for (int a = 0; a < num_rx; ++a) {
            here[a] = product(Complex(symbol[a * map.num_active + map.indices[i]]), map.inverse[i]);
            power[a] += std::norm(here[a]) / count;
        }
        if (i % map.num_places && map.carriers[i] - map.carriers[i - 1] == map.comb)
            for (int a = 0; a < num_rx; ++a)
                turn += product(std::conj(here[a - num_rx]), here[a]);
    }
    const double delay = -std::arg(turn) / (2 * std::numbers::pi * map.comb);
    for (int i = 0; i < count; ++i) {
        const Complex back = std::polar(1.0, 2 * std::numbers::pi * delay * map.carriers[i]);
        for (int a = 0; a < num_rx; ++a, ++ls)
            *ls = product(*ls, back);
    }
    return delay;
}

int choose_delay(const DelayModels &models, std::size_t outer, int num_rx, const Complex *coefficients,
                 double num_observed, double noise, double weight) {
    const int num_modes = models.num_modes, num_models = models.num_models, per_share = models.per_share;
    std::vector<double> energies(num_modes);
    for (std::size_t i = 0; i < outer; ++i)
        for (double &energy : energies)
            for (int a = 0; a < num_rx; ++a, ++coefficients)
                energy += std::norm(*coefficients) / num_observed;
    std::vector<double> score(num_models);
    for (int m = 0; m < num_models; ++m) {
        const double *of_model = models.energies.data() + static_cast<std::size_t>(m) * num_modes;
        double sum = 0;
        for (int first = 0; first < num_modes; first += 8) { // one logarithm for eight of them
            double together = 1;
            for (int k = first; k < std::min(first + 8, num_modes); ++k) {
                together *= of_model[k] + noise;
                sum += energies[k] / (of_model[k] + noise);
            }
            sum += std::log(together);
        }
        score[m] = weight * sum + models.scores[m];
    }
    const double least = *std::min_element(score.begin(), score.end());
    double most = -1, mass = 0;
    int first = 0;
    std::vector<double> &posterior = score;
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

std::pair<int, int> choose_doppler(const DopplerModels &dopplers, const OffsetModels &offsets, int num_tx, int num_rx,
                                   const Complex *coefficients, double num_observed) {
    const int num_modes = dopplers.num_modes, num_offsets = offsets.num_offsets, num_dopplers = dopplers.num_dopplers;
    constexpr int later[] = {1, 2, 2}, earlier[] = {0, 0, 1}; // of each pair
    std::vector<double> diagonal(3 * num_modes), pair[3][2];  // [mode][symbol]; [mode], real and imaginary parts
    const auto row = [&](int symbol, int stream, int mode) {
        return coefficients + ((static_cast<std::size_t>(symbol) * num_tx + stream) * num_modes + mode) * num_rx;
    };
    for (auto &parts : pair)
        for (auto &part : parts)
            part.resize(num_modes);
    for (int stream = 0; stream < num_tx; ++stream)
        for (int mode = 0; mode < num_modes; ++mode)
            for (int a = 0; a < num_rx; ++a)
                for (int p = 0; p < 3; ++p) {
                    diagonal[3 * mode + p] += std::norm(row(p, stream, mode)[a]);
                    const Complex c =
                        product(row(later[p], stream, mode)[a], std::conj(row(earlier[p], stream, mode)[a]));
                    pair[p][0][mode] += c.real();
                    pair[p][1][mode] += c.imag();
                }
    double least = std::numeric_limits<double>::infinity();
    std::pair<int, int> best{0, 0};
    std::vector<double> score(num_offsets);
    for (int d = 0; d < num_dopplers; ++d) {
        double fixed = num_observed * dopplers.constant[d];
        for (int i = 0; i < 3 * num_modes; ++i)
            fixed += dopplers.diagonals[d * 3 * num_modes + i] * diagonal[i];
        std::copy(offsets.scores.begin(), offsets.scores.end(), score.begin());
        for (int part = 0; part < 2; ++part)
            for (int p = 0; p < 3; ++p) {
                const double *weights = dopplers.pairs + (p * num_dopplers + d) * num_modes;
                const double *turns = offsets.turns.data() + (part * 3 + p) * num_offsets;
                double sum = 0;
                for (int mode = 0; mode < num_modes; ++mode)
                    sum += weights[mode] * pair[p][part][mode];
                for (int o = 0; o < num_offsets; ++o)
                    score[o] += sum * turns[o];
            }
        const auto here = std::min_element(score.begin(), score.end());
        if (*here + fixed < least) {
            least = *here + fixed;
            best = {d, static_cast<int>(here - score.begin())};
        }
    }
    return best;
}

} // namespace kaq
