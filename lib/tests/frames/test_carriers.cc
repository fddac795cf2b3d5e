// SPDX-License-Identifier: GPL-3.0-or-later
// Phases and data carriers, against frames whose phases and channels are known and against sums written out.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <numbers>
#include <numeric>

#include "frames/frame_carriers.h"
#include "frames/pilot_correction.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

using Complex = std::complex<float>;
using ComplexDouble = std::complex<double>;

constexpr int num_symbols = 14, num_active = 52;

struct Frame {
    kaq::CarrierMap map;
    int num_rx;
    std::vector<Complex> grid_values, h_values, slope;
    std::vector<double> scale, phase; // phase: the true one of each symbol

    kaq::ArrayView<const Complex, 3> grid() const { return {grid_values.data(), num_symbols, num_rx, num_active}; }
    kaq::ArrayView<Complex, 4> h() { return {h_values.data(), num_symbols, num_active, num_rx, map.num_tx}; }
};

// Symbols 1, 2 and 12 have 4 pilots each, and data on all other carriers. The channel h lacks the slope and the phases
// with which it is received.
Frame make_frame(int num_rx, int num_tx, double noise_var, Generator &random) {
    Frame frame{{num_symbols, num_active, num_tx, {1, 2, 12}, {}, {}, {}}, num_rx, {}, {}, {}, {}, {}};
    kaq::CarrierMap &map = frame.map;
    for (int s = 0; s < 3; ++s)
        for (int carrier = 0; carrier < num_active; ++carrier)
            (carrier % 13 == s ? map.pilots : map.data).push_back(carrier);
    map.values = normals(map.pilots.size() * num_tx, random);
    frame.h_values = normals(num_symbols * num_active * num_rx * num_tx, random);
    frame.grid_values = normals(num_symbols * num_rx * num_active, random);
    std::uniform_real_distribution<double> angle(-0.5, 0.5);
    for (int carrier = 0; carrier < num_active; ++carrier)
        frame.slope.push_back(Complex(std::polar(1.0, 0.1 * carrier)));
    for (int s = 0; s < num_symbols; ++s)
        frame.phase.push_back(angle(random));
    for (int a = 0; a < num_rx; ++a)
        frame.scale.push_back(1 + 0.5 * a);
    const kaq::ArrayView grid(frame.grid_values.data(), num_symbols, num_rx, num_active);
    for (std::size_t p = 0; p < map.pilots.size(); ++p)
        for (int a = 0; a < num_rx; ++a) {
            const int symbol = map.symbols[p / map.num_pilots()], carrier = map.pilots[p];
            ComplexDouble sum = 0;
            for (int t = 0; t < num_tx; ++t)
                sum += ComplexDouble(frame.h()(symbol, carrier, a, t)) * ComplexDouble(map.values[p * num_tx + t]);
            const ComplexDouble noise = std::sqrt(noise_var) / frame.scale[a] * normal<double>(random);
            grid(symbol, a, carrier) =
                Complex(sum * ComplexDouble(frame.slope[carrier]) * std::polar(1.0, frame.phase[symbol]) + noise);
        }
    return frame;
}

} // namespace

BOOST_AUTO_TEST_CASE(phases_of_4_symbols_without_noise_are_exact) {
    const std::vector<double> phases{0.3, -0.2, 1.5, -3}, energy{1, 2, 3, 4};
    std::vector<ComplexDouble> correlation;
    for (int s = 0; s < 4; ++s)
        correlation.push_back(std::polar(energy[s], phases[s]));
    const std::vector<double> estimates = kaq::common_phases({correlation, energy, energy, 8});
    for (int s = 0; s < 4; ++s)
        BOOST_TEST(std::abs(estimates[s] - phases[s]) < 1e-12);
}

BOOST_AUTO_TEST_CASE(phases_of_2_symbols_are_shrunk_by_their_noise) {
    // energies 2 and 8, residuals 2.5 - 2 * 2 + 2 = 0.5 and 8.5 - 2 * 8 + 8 = 0.5, over 4 values each
    const std::vector<double> energy{2, 8}, total{2.5, 8.5};
    const std::vector<ComplexDouble> correlation{std::polar(2.0, 0.4), std::polar(8.0, -0.5)};
    const double residual = (0.5 / 4 + 0.5 / 4) / 2, noise[] = {residual / 4, residual / 16};
    const double spread = (0.16 - 1.5 * noise[0] + 0.25 - 1.5 * noise[1]) / 2;
    const std::vector<double> estimates = kaq::common_phases({correlation, energy, total, 4});
    BOOST_TEST(std::abs(estimates[0] - 0.4 * spread / (spread + noise[0])) < 1e-12);
    BOOST_TEST(std::abs(estimates[1] + 0.5 * spread / (spread + noise[1])) < 1e-12);
}

BOOST_AUTO_TEST_CASE(phases_that_noise_explains_are_0) {
    const std::vector<double> energy{1, 1}, total{9, 9};
    const std::vector<ComplexDouble> correlation{std::polar(0.5, 0.2), std::polar(0.5, -0.2)};
    for (const double phase : kaq::common_phases({correlation, energy, total, 4}))
        BOOST_TEST(phase == 0);
}

BOOST_AUTO_TEST_CASE(phases_are_0_where_a_symbol_has_no_energy_or_nan) {
    const std::vector<ComplexDouble> correlation{std::polar(1.0, 0.2), std::polar(1.0, -0.2)};
    for (const double energy : {0.0, std::numeric_limits<double>::quiet_NaN()}) {
        const std::vector<double> energies{1, energy}, total{1, 1};
        for (const double phase : kaq::common_phases({correlation, energies, total, 4}))
            BOOST_TEST(phase == 0);
    }
    BOOST_TEST(kaq::common_phases({{}, {}, {}, 1}).empty());
}

BOOST_AUTO_TEST_CASE(pilots_say_phase_and_delay_of_a_channel) {
    Generator random(3);
    Frame frame = make_frame(2, 2, 1e-4, random);
    std::vector<int> numbers(num_active);
    std::iota(numbers.begin(), numbers.end(), -20);
    const std::vector<Complex> before = frame.h_values;
    for (std::size_t i = 0; i < before.size(); ++i) // 13 carriers turn by 2.9 radians, with the slope
        frame.h_values[i] *= Complex(std::polar(1.0, -2.5 - 0.12 * double(i / 4 % num_active)));
    kaq::PilotAlignment(frame.map, numbers).align(frame.map, frame.grid(), frame.scale, frame.phase, frame.h());
    double away = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        const std::size_t carrier = i / 4 % num_active;
        away += std::norm(frame.h_values[i] - before[i] * frame.slope[carrier]) / double(before.size());
    }
    BOOST_TEST(away < 1e-3);
}

BOOST_AUTO_TEST_CASE(pilots_correct_a_channel_that_was_forecast) {
    constexpr int num_rx = 2, num_tx = 2, num_modes = 2, trials = 40;
    constexpr double noise_var = 1e-2, variance = 4; // where the noise is 1
    Generator random(4);
    double before = 0, after = 0, told = 0;
    for (int trial = 0; trial < trials; ++trial) {
        Frame frame = make_frame(num_rx, num_tx, noise_var, random);
        frame.scale.assign(num_rx, 1.0);
        kaq::ForecastErrors errors{num_modes, {}, std::vector<double>(num_tx * num_modes * num_symbols, variance)};
        for (int f = 0; f < num_active; ++f)
            for (int k = 0; k < num_modes; ++k)
                errors.frequency.push_back(Complex(std::polar(1.0, -0.05 * k * f)));
        const std::vector<Complex> turns(num_active, Complex(1));
        std::vector<Complex> truth = frame.h_values;
        for (std::size_t i = 0; i < truth.size(); ++i)
            truth[i] *= frame.slope[i / 4 % num_active];
        const auto wrong = normals(num_rx * num_tx * num_modes, random);
        for (std::size_t i = 0; i < truth.size(); ++i) {
            Complex away = 0;
            for (int k = 0; k < num_modes; ++k)
                away += errors.frequency[i / 4 % num_active * num_modes + k] * wrong[i % 4 * num_modes + k];
            frame.h_values[i] = truth[i] - float(std::sqrt(variance * noise_var)) * away;
        }
        const auto squared_error = [&] {
            double sum = 0;
            for (std::size_t i = 0; i < truth.size(); ++i)
                sum += std::norm(frame.h_values[i] - truth[i]);
            return sum;
        };
        before += squared_error();
        const std::vector<double> noises{noise_var, noise_var}; // at most
        told += kaq::PilotCorrection().correct(frame.map, frame.grid(), noises, frame.phase, turns, errors, frame.h()) /
                trials;
        after += squared_error();
    }
    BOOST_TEST(after < 0.3 * before);
    BOOST_TEST(told < 0.4);
    BOOST_TEST(after < 1.1 * told * before);
}

BOOST_AUTO_TEST_CASE(phases_of_frames_from_1x1_to_5x4_are_tracked) {
    for (const int num_tx : {1, 3, 4})
        for (const int num_rx : {1, 2, 5})
            for (const double known : {0.0, 0.7}) { // of the phase, before
                Generator random(num_tx * 10 + num_rx);
                Frame frame = make_frame(num_rx, num_tx, 0, random);
                const std::vector<Complex> before = frame.h_values;
                std::vector<double> phase = frame.phase;
                for (double &each : phase)
                    each *= known;
                const std::vector<double> given = phase;
                const double residual =
                    kaq::track_phases(frame.map, frame.grid(), frame.slope, frame.scale, frame.h(), phase);
                BOOST_TEST(std::abs(residual) < 1e-5);
                for (int s = 0; s < num_symbols; ++s) {
                    const bool tracked = s == 1 || s == 2 || s == 12;
                    BOOST_TEST(std::abs(phase[s] - (tracked ? frame.phase[s] : given[s])) < 1e-6);
                }
                for (std::size_t i = 0; i < before.size(); ++i) {
                    const std::size_t carrier = i / (num_rx * num_tx) % num_active;
                    BOOST_REQUIRE_SMALL(std::abs(frame.h_values[i] - before[i] * frame.slope[carrier]), 1e-5f);
                }
            }
}

BOOST_AUTO_TEST_CASE(what_4x2_frames_leave_unexplained_is_the_noise) {
    // scaled, every antenna has this noise; of 4 pilots on 4 antennas one phase is estimated: 31/32 of it remain
    const double noise_var = 0.01;
    Generator random(3);
    double sum = 0;
    const int frames = 100;
    for (int i = 0; i < frames; ++i) {
        Frame frame = make_frame(4, 2, noise_var, random);
        std::vector<double> phase(num_symbols);
        sum += kaq::track_phases(frame.map, frame.grid(), frame.slope, frame.scale, frame.h(), phase);
        for (const int s : frame.map.symbols)
            BOOST_TEST(std::abs(phase[s] - frame.phase[s]) < 0.08); // 5 sigma
    }
    // the mean of 100 * 3 * 4 * 4 squares, each with variance noise_var^2
    BOOST_TEST(std::abs(sum / frames / 4 / noise_var - 31.0 / 32) < 5 / std::sqrt(4800.0));
}

BOOST_AUTO_TEST_CASE(an_antenna_of_scale_0_has_no_say_in_the_phase) {
    Generator random(4);
    Frame frame = make_frame(2, 2, 0, random);
    frame.scale[1] = 0;
    const kaq::ArrayView grid(frame.grid_values.data(), num_symbols, 2, num_active);
    for (int s = 0; s < num_symbols; ++s)
        std::ranges::fill(grid.row(s, 1), Complex(1e6f, -1e6f));
    std::vector<double> phase(num_symbols);
    BOOST_TEST(kaq::track_phases(frame.map, frame.grid(), frame.slope, frame.scale, frame.h(), phase) < 1e-5);
    for (const int s : frame.map.symbols)
        BOOST_TEST(std::abs(phase[s] - frame.phase[s]) < 1e-6);
}

BOOST_AUTO_TEST_CASE(data_of_frames_from_1x1_to_5x4_are_taken_with_their_channel) {
    for (const int num_tx : {1, 3, 4})
        for (const int num_rx : {1, 2, 5}) {
            Generator random(num_tx * 10 + num_rx);
            Frame frame = make_frame(num_rx, num_tx, 0.1, random);
            const int num_data = frame.map.num_data();
            BOOST_REQUIRE_EQUAL(num_data, 48);
            std::vector<double> noise_var, error(num_symbols);
            for (int a = 0; a < num_rx; ++a)
                noise_var.push_back(a == 3 ? 0 : 0.5 * (a + 1)); // a dead antenna among them
            for (int s = 0; s < num_symbols; ++s)
                error[s] = 0.1 * s;
            double mean_noise = 0, mean_error = 0;
            for (const double each : noise_var)
                mean_noise += each / (num_rx > 3 ? num_rx - 1 : num_rx);
            for (const int s : frame.map.symbols)
                mean_error += (1 + error[s]) / 3;
            std::vector<Complex> received_values(num_rx * 3 * num_data), channel_values(3 * num_data * num_rx * num_tx);
            const kaq::ArrayView received(received_values.data(), num_rx, 3, num_data);
            const kaq::ArrayView channel(channel_values.data(), 3, num_data, num_rx, num_tx);
            std::vector<Complex *> antennas;
            for (int a = 0; a < num_rx; ++a)
                antennas.push_back(received.row(a, 0).data());
            const kaq::DataNoise noise =
                kaq::take_data(frame.map, frame.grid(), frame.h(), frame.phase, noise_var, error, antennas, channel);
            double power = 0;
            for (int s = 0; s < 3; ++s)
                for (int d = 0; d < num_data; ++d) {
                    const int symbol = frame.map.symbols[s], carrier = frame.map.data[s * num_data + d];
                    for (int a = 0; a < num_rx; ++a) {
                        const double scale =
                            a == 3 ? 0 : std::sqrt(mean_error / (1 + error[symbol]) * mean_noise / noise_var[a]);
                        const ComplexDouble expected =
                            ComplexDouble(frame.grid()(symbol, a, carrier)) * std::polar(scale, -frame.phase[symbol]);
                        BOOST_REQUIRE_SMALL(std::abs(ComplexDouble(received(a, s, d)) - expected), 2e-6);
                        for (int t = 0; t < num_tx; ++t) {
                            const ComplexDouble pair = scale * ComplexDouble(frame.h()(symbol, carrier, a, t));
                            BOOST_REQUIRE_SMALL(std::abs(ComplexDouble(channel(s, d, a, t)) - pair), 2e-6);
                            power += std::norm(pair) / (3 * num_data * num_rx);
                        }
                    }
                }
            BOOST_TEST(std::abs(noise.noise_var - mean_noise * mean_error) < 1e-12);
            BOOST_TEST(std::abs(noise.snr_db - 10 * std::log10(power / noise.noise_var)) < 1e-5);
        }
}

BOOST_AUTO_TEST_CASE(errors_are_what_the_pilots_show_within_limits) {
    Generator random(5);
    const Frame frame = make_frame(2, 2, 0.1, random); // symbols 1, 2 and 12 have data
    const std::vector<double> noise_var{1, 3};
    std::vector<double> error(num_symbols, 0.02), share(num_symbols);
    error[12] = 0.05;
    const double snr = 10, expected = (0.2 + 0.2 + 0.5) / 3;
    const auto shown = [&](double times) {
        kaq::error_shares(frame.map, noise_var, 4 * (1 + times * expected), snr, error, share);
        return share[12] / 0.5;
    };
    BOOST_TEST(std::abs(shown(2) - 2) < 1e-9);
    BOOST_TEST(std::abs(share[5] - 0.4) < 1e-9);
    BOOST_TEST(std::abs(shown(-1) - 0.25) < 1e-9);
    BOOST_TEST(std::abs(shown(50) - 10) < 1e-9);
    kaq::error_shares(frame.map, std::vector<double>(2), 0, snr, error, share);
    BOOST_TEST(share == std::vector<double>(num_symbols), boost::test_tools::per_element());
}
