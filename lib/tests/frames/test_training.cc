// SPDX-License-Identifier: GPL-3.0-or-later
// Least squares and statistics from training symbols: channels whose delay, delay spread, Doppler and carrier offset
// are known, and the likelihoods written out.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <numbers>

#include "frames/frame_training.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

using ComplexDouble = std::complex<double>;

constexpr int num_symbols = 14, num_active = 52;
constexpr double turn = 2 * std::numbers::pi;

// Symbols 0, 7 and 13 train; each stream on every fourth carrier, or on every one if it is alone.
kaq::TrainingMap make_map(int num_tx, Generator &random) {
    const int comb = num_tx == 1 ? 1 : 4;
    kaq::TrainingMap map{num_symbols, num_active, num_tx, num_active / comb, comb, {0, 7, 13}, {}, {}, {}};
    for (int i = 0; i < 3 * num_tx; ++i)
        for (int p = 0; p < map.num_places; ++p) {
            map.indices.push_back(i % comb + p * comb);
            map.carriers.push_back(map.indices.back() - num_active / 2);
            map.inverse.push_back(std::polar(1.0, turn * std::uniform_real_distribution<double>()(random)));
        }
    return map;
}

} // namespace

BOOST_AUTO_TEST_CASE(least_squares_of_frames_from_1x1_to_5x4_give_channel_and_delay) {
    for (const int num_tx : {1, 3, 4})
        for (const int num_rx : {1, 2, 5})
            for (const double delay : {0.0, 0.03, -0.1}) {
                Generator random(num_tx * 10 + num_rx);
                const kaq::TrainingMap map = make_map(num_tx, random);
                // one gain for each symbol, stream and antenna; the last antenna is dead if it is not the only one
                auto gains = normals<double>(3 * num_tx * num_rx, random);
                const kaq::ArrayView gain(gains.data(), 3, num_tx, num_rx);
                std::vector<double> expected_power(num_rx);
                for (int s = 0; s < 3; ++s)
                    for (int t = 0; t < num_tx; ++t)
                        for (int a = 0; a < num_rx; ++a) {
                            if (a > 0 && a == num_rx - 1)
                                gain(s, t, a) = 0;
                            expected_power[a] += std::norm(gain(s, t, a)) / (3 * num_tx);
                        }
                std::vector<std::complex<float>> values = normals(num_symbols * num_rx * num_active, random);
                const kaq::ArrayView grid(values.data(), num_symbols, num_rx, num_active);
                for (std::size_t i = 0; i < map.indices.size(); ++i) {
                    const int s = i / (num_tx * map.num_places), t = i / map.num_places % num_tx;
                    for (int a = 0; a < num_rx; ++a)
                        grid(map.symbols[s], a, map.indices[i]) = std::complex<float>(
                            gain(s, t, a) * std::polar(1.0, -turn * delay * map.carriers[i]) / map.inverse[i]);
                }
                std::vector<ComplexDouble> estimates(map.indices.size() * num_rx);
                const kaq::ArrayView ls(estimates.data(), 3, num_tx, map.num_places, num_rx);
                std::vector<double> power(num_rx, 7);
                BOOST_TEST(std::abs(kaq::least_squares(map, grid, ls, power) - delay) < 1e-7);
                for (int a = 0; a < num_rx; ++a)
                    BOOST_TEST(std::abs(power[a] - expected_power[a]) <= 1e-6 * expected_power[a]);
                for (int s = 0; s < 3; ++s)
                    for (int t = 0; t < num_tx; ++t)
                        for (int p = 0; p < map.num_places; ++p)
                            for (int a = 0; a < num_rx; ++a)
                                BOOST_REQUIRE_SMALL(std::abs(ls(s, t, p, a) - gain(s, t, a)), 1e-5);
            }
}

BOOST_AUTO_TEST_CASE(least_squares_of_zeros_are_zeros) {
    Generator random(1);
    const kaq::TrainingMap map = make_map(2, random);
    const std::vector<std::complex<float>> grid(num_symbols * 2 * num_active);
    std::vector<ComplexDouble> ls(map.indices.size() * 2, 1);
    std::vector<double> power(2, 1);
    BOOST_TEST(kaq::least_squares(map, {grid.data(), num_symbols, 2, num_active}, {ls.data(), 3, 2, map.num_places, 2},
                                  power) == 0);
    BOOST_TEST(std::ranges::all_of(ls, [](ComplexDouble each) { return each == 0.0; }));
    BOOST_TEST(power == std::vector<double>(2), boost::test_tools::per_element());
}

namespace {

constexpr int num_modes = 11, num_spreads = 6;
constexpr double shares[] = {1, 0.1};

// Exponential delays of 0.5 to 2.9 modes, with all of the power spread or a tenth of it; the rest is in the first mode.
kaq::DelayModels delay_models() {
    kaq::DelayModels models{2 * num_spreads, num_modes, num_spreads, {}, {}};
    for (const double share : shares)
        for (int i = 0; i < num_spreads; ++i) {
            const double spread = 0.5 * std::pow(std::sqrt(2.0), i);
            double sum = 0;
            for (int k = 0; k < num_modes; ++k)
                sum += std::exp(-k / spread);
            for (int k = 0; k < num_modes; ++k)
                models.energies.push_back(num_modes * (share * std::exp(-k / spread) / sum + (k ? 0 : 1 - share)));
            models.scores.push_back(share < 1 ? 1.5 : 0);
        }
    return models;
}

// Coefficients of a model's channel, [rows][num_modes][num_rx].
std::vector<ComplexDouble> draw(const kaq::DelayModels &models, int model, int rows, int num_rx, double noise,
                                Generator &random) {
    auto values = normals<double>(rows * num_modes * num_rx, random);
    const kaq::ArrayView coefficients(values.data(), rows, num_modes, num_rx);
    for (int i = 0; i < rows; ++i)
        for (int k = 0; k < num_modes; ++k)
            for (ComplexDouble &each : coefficients.row(i, k))
                each *= std::sqrt(models.energies[model * num_modes + k] + noise);
    return values;
}

// The choice as its definition has it: one logarithm for each mode and model, the posterior normalised over all models,
// the error of each filter averaged over each channel that it may meet.
int chosen_delay(const kaq::DelayModels &models, const kaq::ReceivedModes &received) {
    const auto energy = [&](int model, int k) { return (long double)models.energies[model * num_modes + k]; };
    const long double noise = received.noise;
    std::vector<long double> posterior;
    for (int m = 0; m < models.num_models; ++m) {
        long double log_likelihood = 0;
        for (int k = 0; k < num_modes; ++k) {
            long double mean_square = 0;
            for (std::size_t i = 0; i < received.coefficients.extent(0); ++i)
                for (const ComplexDouble &each : received.coefficients.row(i, k))
                    mean_square += std::norm(each) / received.num_observed;
            log_likelihood -= std::log(energy(m, k) + noise) + mean_square / (energy(m, k) + noise);
        }
        posterior.push_back(received.independent * log_likelihood - models.scores[m]);
    }
    const long double most = *std::ranges::max_element(posterior);
    for (long double &each : posterior)
        each = std::exp(each - most);
    const auto mass = [&](int share) {
        long double sum = 0;
        for (int i = 0; i < num_spreads; ++i)
            sum += posterior[share * num_spreads + i];
        return sum;
    };
    const int first = mass(1) > mass(0) ? num_spreads : 0;
    std::vector<long double> errors;
    for (int filter = first; filter < first + num_spreads; ++filter) {
        long double error = 0;
        for (int truth = first; truth < first + num_spreads; ++truth)
            for (int k = 0; k < num_modes; ++k) {
                const long double gain = energy(filter, k) / (energy(filter, k) + noise);
                error += posterior[truth] * ((1 - gain) * (1 - gain) * energy(truth, k) + gain * gain * noise);
            }
        errors.push_back(error);
    }
    return first + static_cast<int>(std::ranges::min_element(errors) - errors.begin());
}

} // namespace

BOOST_AUTO_TEST_CASE(delay_of_much_received_is_the_true_one_of_12) {
    const kaq::DelayModels models = delay_models();
    Generator random(5);
    const int rows = 60, num_rx = 20;
    const double noise = 0.01, observed = rows * num_rx;
    for (int model = 0; model < models.num_models; ++model) {
        const auto values = draw(models, model, rows, num_rx, noise, random);
        BOOST_TEST(kaq::choose_delay(models, {{values.data(), rows, num_modes, num_rx}, observed, noise, observed}) ==
                   model);
    }
}

BOOST_AUTO_TEST_CASE(delay_of_1x1_to_4x4_frames_is_the_choice_by_definition) {
    const kaq::DelayModels models = delay_models();
    Generator random(6);
    std::vector<int> counts(models.num_models);
    for (const int num_tx : {1, 2, 4})
        for (const int num_rx : {1, 4})
            for (const double noise : {1e-4, 0.1, 3.0})
                for (int model = 0; model < models.num_models; ++model) {
                    const int rows = 3 * num_tx;
                    const auto values = draw(models, model, rows, num_rx, noise, random);
                    const double observed = rows * num_rx;
                    const kaq::ReceivedModes received{
                        {values.data(), rows, num_modes, num_rx}, observed, noise, observed / 4};
                    const int chosen = kaq::choose_delay(models, received);
                    BOOST_TEST(chosen == chosen_delay(models, received));
                    ++counts[chosen];
                }
    BOOST_TEST(std::ranges::all_of(counts, [](int count) { return count > 0; }));
}

BOOST_AUTO_TEST_CASE(delay_of_nothing_is_a_model) {
    const kaq::DelayModels models = delay_models();
    const std::vector<ComplexDouble> zeros(3 * num_modes);
    const kaq::ReceivedModes received{{zeros.data(), 3, num_modes, 1}, 3, 1e-6, 0.75};
    BOOST_TEST(kaq::choose_delay(models, received) == chosen_delay(models, received));
}

BOOST_AUTO_TEST_CASE(delay_where_an_antenna_is_dead_is_that_of_the_others) {
    const kaq::DelayModels models = delay_models();
    Generator random(7);
    const int rows = 12, num_rx = 4;
    for (int model = 0; model < models.num_models; ++model) {
        auto values = draw(models, model, rows, num_rx, 0.1, random);
        std::vector<ComplexDouble> others;
        for (std::size_t i = 0; i < values.size(); ++i)
            if (i % num_rx == 2)
                values[i] = 0;
            else
                others.push_back(values[i]);
        const double observed = rows * (num_rx - 1);
        BOOST_TEST(
            kaq::choose_delay(models, {{values.data(), rows, num_modes, num_rx}, observed, 0.1, observed / 4}) ==
            kaq::choose_delay(models, {{others.data(), rows, num_modes, num_rx - 1}, observed, 0.1, observed / 4}));
    }
}

namespace {

// The channel of 3 training symbols, Jakes Doppler, in a few modes; noise of its own on each coefficient.
struct Fading {
    static constexpr int modes = 4, dopplers = 7;
    static constexpr double noise = 0.02, lags[3] = {7, 13, 6}; // from symbol 0 to 7, 0 to 13, 7 to 13

    using Covariance = std::array<std::array<double, 3>, 3>;

    static double doppler(int index) { return 0.04 * index * index / ((dopplers - 1) * (dopplers - 1)); }

    static Covariance covariance(int index, int mode) {
        const auto correlation = [&](int pair) {
            const double x = turn * doppler(index) * lags[pair];
            double mean = 0; // J0
            for (int i = 0; i < 64; ++i)
                mean += std::cos(x * std::cos((i + 0.5) * std::numbers::pi / 64)) / 64;
            return mean * (4.0 - mode);
        };
        const double own = 4.0 - mode + noise;
        return {{{own, correlation(0), correlation(1)},
                 {correlation(0), own, correlation(2)},
                 {correlation(1), correlation(2), own}}};
    }

    static double determinant(const Covariance &c) {
        return c[0][0] * (c[1][1] * c[2][2] - c[1][2] * c[2][1]) - c[0][1] * (c[1][0] * c[2][2] - c[1][2] * c[2][0]) +
               c[0][2] * (c[1][0] * c[2][1] - c[1][1] * c[2][0]);
    }

    static Covariance inverse(const Covariance &c) {
        Covariance result;
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) {
                const int a = (j + 1) % 3, b = (j + 2) % 3, p = (i + 1) % 3, q = (i + 2) % 3;
                result[i][j] = (c[a][p] * c[b][q] - c[a][q] * c[b][p]) / determinant(c);
            }
        return result;
    }

    std::vector<double> diagonals, pairs, constant;
    kaq::OffsetModels offsets{};
    std::vector<double> offset_values;

    Fading() {
        pairs.resize(3 * dopplers * modes);
        for (int d = 0; d < dopplers; ++d) {
            constant.push_back(0);
            for (int mode = 0; mode < modes; ++mode) {
                const Covariance c = covariance(d, mode), i = inverse(c);
                constant.back() += std::log(determinant(c));
                for (int s = 0; s < 3; ++s)
                    diagonals.push_back(i[s][s]);
                const double upper[] = {i[0][1], i[0][2], i[1][2]};
                for (int p = 0; p < 3; ++p)
                    pairs[(p * dopplers + d) * modes + mode] = upper[p];
            }
        }
        for (int o = -10; o <= 10; ++o)
            offset_values.push_back(0.002 * o);
        offsets.num_offsets = static_cast<int>(offset_values.size());
        for (const bool imaginary : {false, true})
            for (const double lag : lags)
                for (const double offset : offset_values)
                    offsets.turns.push_back(
                        2 * (imaginary ? std::sin(turn * lag * offset) : std::cos(turn * lag * offset)));
        for (const double offset : offset_values)
            offsets.scores.push_back(0.5 * std::pow(offset / 0.01, 2));
    }

    // [symbol][num_tx][modes][num_rx]
    std::vector<ComplexDouble> draw(int index, double offset, int num_tx, int num_rx, Generator &random) const {
        std::vector<ComplexDouble> values(3 * num_tx * modes * num_rx);
        const kaq::ArrayView coefficients(values.data(), 3, num_tx, modes, num_rx);
        for (int mode = 0; mode < modes; ++mode) {
            const Covariance c = covariance(index, mode); // = L L^T
            double l[3][3] = {};
            for (int i = 0; i < 3; ++i)
                for (int j = 0; j <= i; ++j) {
                    double rest = c[i][j];
                    for (int k = 0; k < j; ++k)
                        rest -= l[i][k] * l[j][k];
                    l[i][j] = i == j ? std::sqrt(rest) : rest / l[j][j];
                }
            for (int t = 0; t < num_tx; ++t)
                for (int a = 0; a < num_rx; ++a) {
                    const auto white = normals<double>(3, random);
                    const double symbols[] = {0, 7, 13};
                    for (int s = 0; s < 3; ++s)
                        coefficients(s, t, mode, a) = std::polar(1.0, turn * offset * symbols[s]) *
                                                      (l[s][0] * white[0] + l[s][1] * white[1] + l[s][2] * white[2]);
                }
        }
        return values;
    }

    kaq::DopplerChoice choose(const std::vector<ComplexDouble> &values, int num_tx, int num_rx, double observed) const {
        return kaq::choose_doppler(
            {{diagonals.data(), dopplers, modes, 3}, {pairs.data(), 3, dopplers, modes}, constant}, offsets,
            {values.data(), 3, num_tx, modes, num_rx}, observed);
    }

    // The most likely pair by c^H R^-1 c + ln det R of every vector c over the symbols, turned back.
    std::pair<int, int> most_likely(const std::vector<ComplexDouble> &values, int num_tx, int num_rx,
                                    double observed) const {
        const kaq::ArrayView coefficients(values.data(), 3, num_tx, modes, num_rx);
        long double least = std::numeric_limits<long double>::infinity();
        std::pair<int, int> best;
        for (int d = 0; d < dopplers; ++d)
            for (int o = 0; o < offsets.num_offsets; ++o) {
                long double score = offsets.scores[o];
                for (int mode = 0; mode < modes; ++mode) {
                    const Covariance c = covariance(d, mode), i = inverse(c);
                    score += observed * std::log(determinant(c));
                    for (int t = 0; t < num_tx; ++t)
                        for (int a = 0; a < num_rx; ++a) {
                            const double symbols[] = {0, 7, 13};
                            ComplexDouble back[3];
                            for (int s = 0; s < 3; ++s)
                                back[s] = coefficients(s, t, mode, a) *
                                          std::polar(1.0, -turn * offset_values[o] * symbols[s]);
                            for (int s = 0; s < 3; ++s)
                                for (int r = 0; r < 3; ++r)
                                    score += (std::conj(back[s]) * i[s][r] * back[r]).real();
                        }
                }
                if (score < least) {
                    least = score;
                    best = {d, o};
                }
            }
        return best;
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(doppler_and_offset_of_much_received_are_the_true_ones) {
    const Fading fading;
    Generator random(8);
    for (int d = 0; d < Fading::dopplers; ++d)
        for (const int o : {4, 10, 13}) {
            const auto values = fading.draw(d, fading.offset_values[o], 4, 300, random);
            const kaq::DopplerChoice chosen = fading.choose(values, 4, 300, 1200);
            BOOST_TEST(chosen.doppler == d);
            BOOST_TEST(chosen.offset == o);
        }
}

BOOST_AUTO_TEST_CASE(doppler_and_offset_of_1x1_to_4x4_frames_are_the_most_likely) {
    const Fading fading;
    Generator random(9);
    for (const int num_tx : {1, 2, 4})
        for (const int num_rx : {1, 4})
            for (int d = 0; d < Fading::dopplers; ++d)
                for (const bool dead : {false, true}) {
                    auto values = fading.draw(d, 0.003, num_tx, num_rx, random);
                    if (dead) // the last antenna
                        for (std::size_t i = num_rx - 1; i < values.size(); i += num_rx)
                            values[i] = 0;
                    const double observed = num_tx * (num_rx - (dead && num_rx > 1));
                    const kaq::DopplerChoice chosen = fading.choose(values, num_tx, num_rx, observed);
                    const auto [doppler, offset] = fading.most_likely(values, num_tx, num_rx, observed);
                    BOOST_TEST(chosen.doppler == doppler);
                    BOOST_TEST(chosen.offset == offset);
                }
}

BOOST_AUTO_TEST_CASE(doppler_of_nan_is_the_first_model) {
    const Fading fading;
    const std::vector<ComplexDouble> values(3 * Fading::modes, std::numeric_limits<double>::quiet_NaN());
    const kaq::DopplerChoice chosen = fading.choose(values, 1, 1, 1);
    BOOST_TEST(chosen.doppler == 0);
    BOOST_TEST(chosen.offset == 0);
}
