// SPDX-License-Identifier: GPL-3.0-or-later
// The receiver's frames, on shapes of every kind: for the sanitizers. What they compute is tested in Python
// (tests/frames/test_synchronization.py, test_channel_estimation.py, test_payload.py).
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "frames/frame_carriers.h"
#include "frames/frame_search.h"
#include "frames/frame_training.h"
#include "frames/frame_windows.h"
#include "frames/soft_levels.h"

namespace {

using Complex = std::complex<float>;
using Generator = std::mt19937;

Complex normal(Generator &random) {
    std::normal_distribution<float> part(0, std::sqrt(0.5f));
    const float re = part(random);
    return {re, part(random)};
}

std::vector<Complex> normals(std::size_t count, Generator &random) {
    std::vector<Complex> values(count);
    for (Complex &each : values)
        each = normal(random);
    return values;
}

// What `num_tx` streams send: a preamble of equal periods, random samples otherwise.
std::vector<std::vector<Complex>> frame(const kaq::FrameLayout &layout, int num_tx, Generator &random) {
    std::vector<std::vector<Complex>> streams;
    for (int s = 0; s < num_tx; ++s) {
        streams.push_back(normals(layout.frame_length(), random));
        for (int n = layout.period; n < layout.preamble_length(); ++n)
            streams.back()[n] = streams.back()[n - layout.period];
    }
    return streams;
}

std::vector<Complex> known_of(const kaq::FrameLayout &layout, const std::vector<std::vector<Complex>> &streams) {
    std::vector<Complex> known;
    for (const auto &stream : streams) {
        double energy = 0;
        for (int n = 0; n < layout.known_length(); ++n)
            energy += std::norm(stream[n]);
        for (int n = 0; n < layout.known_length(); ++n)
            known.push_back(stream[n] * static_cast<float>(1 / std::sqrt(energy)));
    }
    return known;
}

} // namespace

BOOST_AUTO_TEST_CASE(frames_are_found_however_the_stream_is_cut) {
    for (const int size : {64, 256})
        for (const int num_tx : {1, 2, 3, 4})
            for (const int num_rx : {1, 3}) {
                Generator random(size + num_tx);
                const kaq::FrameLayout layout{size, size / 4, size / 16, 14, size / 4, 10};
                const auto streams = frame(layout, num_tx, random);
                const auto known = known_of(layout, streams);
                const int length = layout.frame_length(), count = 4 * length;
                const std::vector<std::int64_t> starts{0, length + 100, 2 * length + 100};
                std::vector<std::vector<Complex>> antennas;
                for (int a = 0; a < num_rx; ++a) {
                    antennas.push_back(normals(count, random));
                    for (Complex &each : antennas.back())
                        each *= 0.05f;
                    for (const auto &stream : streams) {
                        const Complex gain = normal(random);
                        for (const std::int64_t start : starts)
                            for (int n = 0; n < length; ++n)
                                antennas.back()[start + n] += gain * stream[n];
                    }
                }
                antennas[0][length + 50] = std::numeric_limits<float>::quiet_NaN();
                antennas[0][length + 51] = {0, std::numeric_limits<float>::infinity()};
                antennas[0][length - 200] = 3e38f;
                for (const std::size_t piece : {std::size_t(count), std::size_t(997), std::size_t(61)}) {
                    kaq::FrameSearch search(layout, num_rx, num_tx, known.data());
                    std::vector<kaq::FoundFrame> found;
                    std::size_t invalid = 0;
                    for (std::size_t first = 0; first < antennas[0].size(); first += piece) {
                        std::vector<const Complex *> pointers;
                        for (const auto &antenna : antennas)
                            pointers.push_back(antenna.data() + first);
                        invalid += search.push(pointers.data(), std::min(piece, antennas[0].size() - first), found);
                    }
                    BOOST_TEST(search.position() == count);
                    BOOST_TEST(invalid == 2u);
                    BOOST_REQUIRE_EQUAL(found.size(), starts.size());
                    for (std::size_t i = 0; i < starts.size(); ++i) {
                        BOOST_TEST(found[i].start == starts[i]);
                        BOOST_TEST(found[i].windows.size() == std::size_t(14 * num_rx * size));
                        BOOST_TEST(std::abs(found[i].carrier_offset) < 1e-3 / size * 64);
                    }
                    BOOST_TEST(search.interrupt() == 0u);
                }
            }
}

BOOST_AUTO_TEST_CASE(carriers_and_training_stay_within_their_arrays) {
    for (const int num_tx : {1, 3, 4})
        for (const int num_rx : {1, 2, 5}) {
            Generator random(num_tx * 10 + num_rx);
            const int num_symbols = 14, num_active = 52, comb = num_tx == 1 ? 1 : 4;
            kaq::CarrierMap map{num_symbols, num_active, num_tx, {1, 2, 12}, {}, {}, {}};
            for (int s = 0; s < 3; ++s)
                for (int carrier = 0; carrier < num_active; ++carrier)
                    (carrier % 13 == s ? map.pilots : map.data).push_back(carrier);
            map.values = normals(map.pilots.size() * num_tx, random);
            const auto grid = normals(num_symbols * num_rx * num_active, random);
            auto h = normals(num_symbols * num_active * num_rx * num_tx, random);
            const std::vector<Complex> slope(num_active, 1);
            const std::vector<double> scale(num_rx, 1);
            std::vector<double> phase(num_symbols);
            BOOST_TEST(
                kaq::track_phases(map, num_rx, grid.data(), slope.data(), scale.data(), h.data(), phase.data()) >= 0);
            std::vector<Complex> received(num_rx * map.data.size()), channel(map.data.size() * num_rx * num_tx);
            const std::vector<float> scales(3 * num_rx, 2);
            BOOST_TEST(kaq::take_data(map, num_rx, grid.data(), h.data(), phase.data(), scales.data(), received.data(),
                                      channel.data()) > 0);
            BOOST_TEST(channel.back() == 2.0f * h[((12 * num_active + num_active - 1) * num_rx + num_rx) * num_tx - 1]);

            kaq::TrainingMap training{num_symbols, num_active, num_tx, num_active / comb, comb, {0, 7, 13}, {}, {}, {}};
            for (int i = 0; i < 3 * num_tx; ++i)
                for (int p = 0; p < training.num_places; ++p) {
                    training.indices.push_back(i % comb + p * comb);
                    training.carriers.push_back(training.indices.back() - num_active / 2);
                    training.inverse.push_back(1);
                }
            std::vector<std::complex<double>> ls(training.indices.size() * num_rx);
            std::vector<double> power(num_rx);
            const double delay = kaq::least_squares(training, num_rx, grid.data(), ls.data(), power.data());
            BOOST_TEST(std::abs(delay) <= 0.5);
            BOOST_TEST(power.back() > 0);
            BOOST_TEST(kaq::antenna_energies(grid.data(), num_symbols, num_rx, num_active).back() > 0);

            const int num_modes = 11, dopplers = 4;
            kaq::DelayModels models{6, num_modes, 3, std::vector<double>(6 * num_modes, 1), std::vector<double>(6)};
            models.scores[4] = -5;
            for (int k = 0; k < num_modes; ++k)
                models.energies[4 * num_modes + k] = 1.01;
            const std::vector<std::complex<double>> received_modes(2 * num_modes * num_rx, std::sqrt(1.01));
            BOOST_TEST(kaq::choose_delay(models, 2, num_rx, received_modes.data(), 2 * num_rx, 0.1, 4) == 4);
            const std::vector<double> weights(3 * num_modes * dopplers), constant{3, 2, 1, 2};
            kaq::OffsetModels offsets{5, std::vector<double>(30), {2, 1, 0, 1, 2}};
            const std::vector<std::complex<double>> coefficients(3 * num_tx * num_modes * num_rx, 1);
            const auto chosen =
                kaq::choose_doppler({dopplers, num_modes, weights.data(), weights.data(), constant.data()}, offsets,
                                    num_tx, num_rx, coefficients.data(), 1);
            BOOST_TEST(chosen.first == 2);
            BOOST_TEST(chosen.second == 2);
        }
}

BOOST_AUTO_TEST_CASE(windows_and_back) {
    for (const int num_active : {52, 208}) {
        const kaq::WindowShape shape{14, num_active, 3, 2, 52};
        Generator random(num_active);
        const auto channel = normals(14 * num_active * 6, random);
        const std::vector<float> scale{1, 2, 0.5f};
        std::vector<float> grids(2 * channel.size());
        kaq::cut_windows(shape, channel.data(), scale.data(), grids.data());
        // symbol 5, carrier 51 (of window 0), antenna 1, stream 1
        const Complex expected = channel[((5 * num_active + 51) * 3 + 1) * 2 + 1];
        const std::size_t place = ((0 * 6 + 3) * 52 + 51) * 14 + 5;
        BOOST_TEST(grids[place] == 2 * expected.real());
        BOOST_TEST(grids[channel.size() + place] == 2 * expected.imag());
        std::vector<Complex> back(channel.size());
        BOOST_TEST(kaq::join_windows(shape, grids.data(), scale.data(), back.data()));
        BOOST_TEST((back == channel));
        for (const std::size_t broken : {std::size_t(0), channel.size(), grids.size() - 1})
            for (const float value :
                 {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
                auto wrong = grids;
                wrong[broken] = value;
                BOOST_TEST(!kaq::join_windows(shape, wrong.data(), scale.data(), back.data()));
            }
    }
}

BOOST_AUTO_TEST_CASE(levels_of_anything) {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    const std::vector<float> llrs{1, -1, 0, nan, -1, inf, -inf, 3e38f};
    std::vector<std::uint8_t> levels(llrs.size());
    BOOST_TEST(kaq::soft_levels(llrs.data(), llrs.size(), 48, levels.data()));
    BOOST_TEST(levels[2] == 128);
    BOOST_TEST(levels[3] == 128);
    BOOST_TEST(levels[5] == 255);
    BOOST_TEST(levels[6] == 0);
    BOOST_TEST(!kaq::soft_levels(&nan, 1, 48, levels.data()));
    BOOST_TEST(!kaq::soft_levels(nullptr, 0, 48, levels.data()));
}
