// SPDX-License-Identifier: GPL-3.0-or-later
// Carriers with interference, and noise that antennas have in common: training symbols of which both are known.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "frames/carrier_interference.h"
#include "frames/noise_covariance.h"
#include "support/hermitian.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

using Complex = std::complex<double>;

constexpr int num_active = 52;
constexpr double turn = 2 * std::numbers::pi;

// As the frame has it: symbols 0, 7 and 13, a comb for each stream, which moves by half in the middle.
kaq::TrainingMap make_map(int num_tx) {
    const int comb = num_tx > 2 ? 4 : num_tx;
    kaq::TrainingMap map{14, num_active, num_tx, num_active / comb, comb, {0, 7, 13}, {}, {}, {}};
    for (int s = 0; s < 3; ++s)
        for (int t = 0; t < num_tx; ++t)
            for (int p = 0; p < map.num_places; ++p) {
                map.indices.push_back((t + (s == 1) * comb / 2) % comb + p * comb);
                map.carriers.push_back(map.indices.back() - num_active / 2 + (map.indices.back() >= num_active / 2));
                map.inverse.push_back(1);
            }
    return map;
}

// Estimates of a channel of two paths, half a sample of 64 apart, in noise.
struct Training {
    kaq::TrainingMap map;
    int num_rx;
    double noise;
    std::vector<Complex> channel, ls;
    std::vector<double> power;
    double delay = 0;

    Training(int num_tx, int num_rx, double noise, Generator &random)
        : map(make_map(num_tx)), num_rx(num_rx), noise(noise), power(num_rx) {
        auto gains = normals<double>(2 * num_tx * num_rx, random);
        for (std::size_t i = 0; i < map.indices.size(); ++i) {
            const int stream = static_cast<int>(i) / map.num_places % num_tx;
            for (int a = 0; a < num_rx; ++a) {
                const Complex *path = gains.data() + 2 * (stream * num_rx + a);
                channel.push_back(path[0] + path[1] * std::polar(0.7, -turn * map.carriers[i] / 128));
                ls.push_back(channel.back() + std::sqrt(noise) * normal<double>(random));
            }
        }
    }

    // Somebody else on these carriers, from one direction.
    void jam(int first, int last, double power, Generator &random) {
        const auto direction = normals<double>(num_rx, random);
        for (std::size_t i = 0; i < map.indices.size(); ++i)
            if (map.indices[i] >= first && map.indices[i] <= last) {
                const Complex signal = std::sqrt(power) * normal<double>(random);
                for (int a = 0; a < num_rx; ++a)
                    ls[i * num_rx + a] += direction[a] * signal;
            }
    }

    bool find(const kaq::CarrierSearch &search, kaq::CarrierState &state, kaq::CarrierScratch &scratch) {
        std::fill(power.begin(), power.end(), 0.0);
        for (std::size_t i = 0; i < ls.size(); ++i)
            power[i % num_rx] += std::norm(ls[i]) / static_cast<double>(map.indices.size());
        return search.find(map, {ls.data(), 3, map.num_tx, map.num_places, num_rx}, power, delay, state, scratch);
    }

    // Mean square of what is wrong about the estimates, the delay that was taken out put back.
    double error() const {
        double sum = 0;
        for (std::size_t i = 0; i < ls.size(); ++i)
            sum += std::norm(ls[i] * std::polar(1.0, -turn * delay * map.carriers[i / num_rx]) - channel[i]);
        return sum / static_cast<double>(ls.size());
    }
};

std::vector<int> interfered(const kaq::CarrierState &state) {
    std::vector<int> carriers;
    for (int c = 0; c < num_active; ++c)
        if (state.interfered[c])
            carriers.push_back(c);
    return carriers;
}

// Noise of so many samples, which a factor [n][n] correlates.
std::vector<Complex> correlated(const std::vector<Complex> &factor, int n, int count, Generator &random) {
    std::vector<Complex> samples(count * n);
    for (int i = 0; i < count; ++i) {
        const auto white = normals<double>(n, random);
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b)
                samples[i * n + a] += factor[a * n + b] * white[b];
    }
    return samples;
}

kaq::NoiseSum sum_of(const std::vector<Complex> &samples, int n) {
    kaq::NoiseSum sum;
    sum.clear(n);
    sum.add(samples);
    return sum;
}

std::vector<double> levels(const kaq::NoiseSum &sum) {
    std::vector<double> levels;
    for (std::size_t a = 0; a < sum.num_rx; ++a)
        levels.push_back(sum.energy(a) / sum.count);
    return levels;
}

// One direction, 20 dB above white noise of unit variance.
std::vector<Complex> one_direction(int n, Generator &random) {
    std::vector<Complex> factor(n * n);
    const auto direction = normals<double>(n, random);
    for (int a = 0; a < n; ++a) {
        factor[a * n + a] = 1;
        factor[a * n] += 10.0 * direction[a];
    }
    return factor;
}

kaq::NoiseTrack clean_track(const kaq::TrainingMap &map) {
    kaq::NoiseTrack track;
    track.carriers = kaq::CarrierSearch(map).clean();
    return track;
}

} // namespace

BOOST_AUTO_TEST_CASE(white_noise_holds_no_interference) {
    Generator random(1);
    for (const int num_tx : {1, 2, 3, 4})
        for (const int num_rx : {1, 2, 4, 5})
            for (const double noise : {1e-1, 1e-2, 1e-4, 0.0}) {
                const kaq::CarrierSearch search(make_map(num_tx));
                kaq::CarrierState state;
                kaq::CarrierScratch scratch;
                for (int frame = 0; frame < 30; ++frame) {
                    Training training(num_tx, num_rx, noise, random);
                    const std::vector<Complex> before = training.ls;
                    BOOST_TEST(!training.find(search, state, scratch));
                    BOOST_TEST(!scratch.is_uneven);
                    BOOST_TEST((training.ls == before));
                    BOOST_TEST(training.delay == 0);
                }
            }
}

BOOST_AUTO_TEST_CASE(interference_is_found_and_replaced_by_what_its_neighbours_say) {
    Generator random(2);
    for (const int num_tx : {1, 2, 3, 4})
        for (const int num_rx : {1, 2, 4})
            for (const double power : {0.3, 3.0, 300.0})
                for (const int first : {0, 20, 48}) {
                    const kaq::CarrierSearch search(make_map(num_tx));
                    double jammed = 0, clean = 0, found = 0, wrong = 0;
                    constexpr int frames = 20;
                    for (int i = 0; i < frames; ++i) {
                        Training training(num_tx, num_rx, 3e-3, random);
                        training.jam(first, first + 3, power, random);
                        jammed += training.error() / frames;
                        kaq::CarrierState state;
                        kaq::CarrierScratch scratch;
                        const bool is_found = training.find(search, state, scratch);
                        BOOST_TEST(is_found == state.any());
                        clean += training.error() / frames;
                        for (const int c : interfered(state))
                            (c >= first && c < first + 4 ? found : wrong) += 1. / frames;
                    }
                    BOOST_TEST(clean < (power < 1 ? 1 : 0.3) * jammed);
                    BOOST_TEST(clean < 0.06, "streams " << num_tx << " antennas " << num_rx << " power " << power
                                                        << " first " << first << ": " << clean);
                    BOOST_TEST((power < 1 || found > 3)); // what is weak and from one direction may miss an antenna
                    BOOST_TEST(wrong < 1);
                }
}

BOOST_AUTO_TEST_CASE(interference_on_many_carriers_is_a_second_level_of_noise) {
    Generator random(4);
    for (const int num_tx : {1, 2, 4})
        for (const int num_rx : {2, 4})
            for (const auto &[first, last] : {std::pair{0, 25}, {26, 51}, {12, 39}}) {
                constexpr double noise = 1e-2, power = 0.1;
                const kaq::CarrierSearch search(make_map(num_tx));
                int found = 0;
                double ratio = 0, amiss = 0;
                constexpr int frames = 20;
                for (int i = 0; i < frames; ++i) {
                    Training training(num_tx, num_rx, noise, random);
                    training.jam(first, last, power, random);
                    const std::vector<Complex> before = training.ls;
                    kaq::CarrierState state;
                    kaq::CarrierScratch scratch;
                    if (training.find(search, state, scratch) || !scratch.is_uneven)
                        continue;
                    BOOST_TEST((training.ls == before));
                    ++found;
                    const double loud = scratch.noise[(first + last) / 2], quiet = scratch.noise[first > 0 ? 0 : 51];
                    ratio += loud / quiet;
                    amiss += std::abs(scratch.loud_first - first) + std::abs(scratch.loud_last - last);
                    BOOST_TEST(scratch.noise[scratch.loud_first] == loud);
                }
                BOOST_TEST(found >= 0.9 * frames,
                           num_tx << " streams, " << num_rx << " antennas: " << found << " of " << frames);
                BOOST_TEST(amiss < 3 * found);
                const double expected = 1 + power / noise;
                BOOST_TEST(ratio > expected * found / 3); // antennas differ, from one direction
                BOOST_TEST(ratio < 1.5 * expected * found);
            }
}

BOOST_AUTO_TEST_CASE(interference_that_ends_is_forgotten_at_once) {
    Generator random(3);
    const kaq::CarrierSearch search(make_map(2));
    kaq::CarrierState state;
    kaq::CarrierScratch scratch;
    for (int i = 0; i < 6; ++i) {
        Training training(2, 2, 1e-2, random);
        if (i % 3 < 2)
            training.jam(10 * i, 10 * i + 3, 100, random);
        BOOST_TEST(training.find(search, state, scratch) == (i % 3 < 2));
        for (const int c : interfered(state)) // it moves
            BOOST_TEST((c >= 10 * i - 2 && c <= 10 * i + 5));
    }
    BOOST_TEST(state.predictions.size() == search.clean().predictions.size());
}

BOOST_AUTO_TEST_CASE(interference_everywhere_is_what_the_noise_is) {
    Generator random(4);
    for (const int num_tx : {1, 2, 4}) {
        const kaq::CarrierSearch search(make_map(num_tx));
        for (const double power : {1.0, 1e4}) {
            kaq::CarrierState state;
            kaq::CarrierScratch scratch;
            Training training(num_tx, 2, 1e-2, random);
            training.jam(0, num_active - 1, power, random);
            BOOST_TEST(!training.find(search, state, scratch));
        }
    }
}

BOOST_AUTO_TEST_CASE(whitening_makes_the_noise_of_one_direction_white) {
    Generator random(5);
    const kaq::TrainingMap map = make_map(2);
    for (const int n : {2, 3, 4, 6}) {
        const std::vector<Complex> factor = one_direction(n, random);
        kaq::NoiseTrack track = clean_track(map);
        kaq::Whitening whitening;
        for (int frame = 0; frame < 5; ++frame) {
            const kaq::NoiseSum noise = sum_of(correlated(factor, n, 150, random), n);
            track.find_whitening(noise, levels(noise), 1, map, whitening);
            BOOST_REQUIRE(whitening.is_needed);
        }
        BOOST_TEST(whitening.first == 0);
        BOOST_TEST(whitening.last == num_active - 1);
        BOOST_TEST(whitening.interference > 0.5 * (whitening.noise_var - 1));
        // what other noise becomes, in a grid whose channel is the unit matrix
        const std::vector<Complex> samples = correlated(factor, n, 14 * num_active, random);
        std::vector<std::complex<float>> grid(samples.size()), h(samples.size() * n);
        for (int s = 0; s < 14; ++s)
            for (int c = 0; c < num_active; ++c)
                for (int a = 0; a < n; ++a) {
                    grid[(s * n + a) * num_active + c] = std::complex<float>(samples[(s * num_active + c) * n + a]);
                    h[((s * num_active + c) * n + a) * n + a] = 1;
                }
        kaq::whiten(whitening, {grid.data(), 14, n, num_active}, {h.data(), 14, num_active, n, n});
        std::vector<Complex> white(samples.size());
        for (int s = 0; s < 14; ++s)
            for (int c = 0; c < num_active; ++c)
                for (int a = 0; a < n; ++a) {
                    white[(s * num_active + c) * n + a] = Complex(grid[(s * n + a) * num_active + c]);
                    Complex expected = 0;
                    for (int b = 0; b < n; ++b)
                        expected +=
                            Complex(h[((s * num_active + c) * n + a) * n + b]) * samples[(s * num_active + c) * n + b];
                    BOOST_REQUIRE_SMALL(std::abs(expected - white[(s * num_active + c) * n + a]), 1e-2);
                }
        const kaq::NoiseSum after = sum_of(white, n);
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b)
                BOOST_TEST(std::abs(after.sum[a * n + b] / after.count / whitening.noise_var - double(a == b)) < 0.25);
    }
}

BOOST_AUTO_TEST_CASE(white_noise_needs_no_whitening_whatever_the_gains) {
    Generator random(6);
    const kaq::TrainingMap map = make_map(2);
    for (const int n : {1, 2, 4, 8}) {
        std::vector<Complex> factor(n * n);
        for (int a = 0; a < n; ++a)
            factor[a * n + a] = std::pow(10, a);
        kaq::NoiseTrack track = clean_track(map);
        kaq::Whitening whitening;
        int needed = 0;
        for (int frame = 0; frame < 500; ++frame) {
            const kaq::NoiseSum noise = sum_of(correlated(factor, n, 100, random), n);
            track.find_whitening(noise, levels(noise), 1e-3, map, whitening);
            needed += whitening.is_needed;
        }
        BOOST_TEST(needed <= 1);
    }
}

BOOST_AUTO_TEST_CASE(noise_that_changes_is_another_noise_at_once) {
    Generator random(7);
    const kaq::TrainingMap map = make_map(2);
    constexpr int n = 4;
    const std::vector<Complex> first = one_direction(n, random), second = one_direction(n, random);
    std::vector<Complex> white(n * n);
    for (int a = 0; a < n; ++a)
        white[a * n + a] = 1;
    kaq::NoiseTrack track = clean_track(map);
    kaq::Whitening whitening;
    for (const std::vector<Complex> *factor :
         std::array<const std::vector<Complex> *, 4>{&first, &second, &white, &first}) {
        for (int frame = 0; frame < 10; ++frame) {
            const double gain = frame < 5 ? 1 : 30; // which alone changes nothing
            std::vector<Complex> samples = correlated(*factor, n, 150, random);
            for (Complex &each : samples)
                each *= gain;
            const kaq::NoiseSum noise = sum_of(samples, n);
            track.find_whitening(noise, levels(noise), gain * gain, map, whitening);
            BOOST_REQUIRE(whitening.is_needed == (factor != &white));
            if (factor == &white)
                continue;
            // of the factor's first column, which is the direction, next to nothing remains
            double remains = 0, before = 0;
            for (int a = 0; a < n; ++a) {
                Complex sum = 0;
                for (int b = 0; b < n; ++b)
                    sum += whitening.antennas[a * n + b] * (*factor)[b * n];
                remains += std::norm(gain * sum);
                before += std::norm((*factor)[a * n]);
            }
            BOOST_TEST(remains < 3);
            BOOST_TEST(before > 20);
        }
    }
}

BOOST_AUTO_TEST_CASE(antennas_that_receive_nothing_have_no_part_in_it) {
    Generator random(8);
    const kaq::TrainingMap map = make_map(2);
    for (int dead = 0; dead < 3; ++dead) {
        std::vector<Complex> factor = one_direction(3, random);
        for (int b = 0; b < 3; ++b)
            factor[dead * 3 + b] = 0;
        kaq::NoiseTrack track = clean_track(map);
        kaq::Whitening whitening;
        const kaq::NoiseSum noise = sum_of(correlated(factor, 3, 150, random), 3);
        track.find_whitening(noise, levels(noise), 1, map, whitening);
        BOOST_REQUIRE(whitening.is_needed);
        for (int c = 0; c < num_active; ++c)
            for (int a = 0; a < 3; ++a)
                for (int b = 0; b < 3; ++b) {
                    const std::complex<float> each = whitening.carrier[(c * 3 + a) * 3 + b];
                    BOOST_REQUIRE(std::isfinite(std::abs(each)));
                    if (a == dead || b == dead)
                        BOOST_REQUIRE(each == 0.0f);
                }
    }
}

BOOST_AUTO_TEST_CASE(cholesky_factors_solve_and_invert_and_refuse_what_is_not_positive_definite) {
    Generator random(9);
    for (const int n : {1, 2, 5, 9}) {
        const auto root = normals<double>(n * n, random);
        std::vector<Complex> matrix(n * n), factor;
        for (int i = 0; i < n; ++i)
            for (int j = 0; j < n; ++j)
                for (int k = 0; k < n; ++k)
                    matrix[i * n + j] += root[i * n + k] * std::conj(root[j * n + k]);
        factor = matrix;
        BOOST_REQUIRE(kaq::cholesky(factor, n));
        std::vector<Complex> inverse = factor;
        kaq::invert_lower(inverse, n);
        auto solution = normals<double>(n, random);
        const std::vector<Complex> right = solution;
        kaq::solve_cholesky(factor, solution);
        for (int i = 0; i < n; ++i) {
            Complex back = 0;
            for (int j = 0; j < n; ++j) {
                Complex product = 0, unit = 0;
                for (int k = 0; k < n; ++k) {
                    product += factor[i * n + k] * std::conj(factor[j * n + k]);
                    unit += factor[i * n + k] * inverse[k * n + j];
                }
                BOOST_TEST(std::abs(product - matrix[i * n + j]) < 1e-9);
                BOOST_TEST(std::abs(unit - double(i == j)) < 1e-9);
                back += matrix[i * n + j] * solution[j];
            }
            BOOST_TEST(std::abs(back - right[i]) < 1e-6);
        }
        for (const double wrong : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
            std::vector<Complex> other = matrix;
            other[n * n - 1] = wrong;
            BOOST_TEST(!kaq::cholesky(other, n));
        }
    }
}
