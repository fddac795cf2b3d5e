// SPDX-License-Identifier: GPL-3.0-or-later
// What remembers frames, and its parts. tests/estimation/test_frame_memory.py compares the whole with its definition.
#include <boost/test/unit_test.hpp>

#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "frames/alignment.h"
#include "frames/doppler_track.h"
#include "frames/fading_correlation.h"
#include "frames/frame_memory.h"
#include "frames/oscillator_track.h"
#include "frames/time_filters.h"
#include "tests/frames/tracked_frames.h"

using namespace kaq_test;

namespace {

constexpr double turn = 2 * std::numbers::pi;

// Squared error of frames one symbol apart, and what the memory expects.
struct Result {
    double error = 0, expected = 0;
};

Result interpolate(kaq::FrameMemory &memory, const TrackedFrames &frames, const kaq::ObservedFrame &frame,
                   const std::optional<kaq::FrameArrival> &arrival, double delay = 0) {
    using F = TrackedFrames;
    std::vector<std::complex<float>> h(F::num_symbols * frames.channel.size());
    std::array<double, F::num_symbols> error{};
    memory.interpolate(frame, arrival, {}, {h.data(), F::num_symbols, F::num_active, F::num_rx, F::num_tx}, error);
    Result result;
    for (int s = 0; s < F::num_symbols; ++s) {
        result.expected += error[s] / F::num_symbols;
        for (std::size_t i = 0; i < frames.channel.size(); ++i) {
            const double carrier = frames.format.carriers[i / (F::num_rx * F::num_tx)];
            const std::complex<float> came =
                frames.channel[i] * std::complex<float>(std::polar(1.0, -turn * delay * carrier));
            result.error += std::norm(h[s * frames.channel.size() + i] - came) / double(h.size());
        }
    }
    return result;
}

} // namespace

BOOST_AUTO_TEST_CASE(correlation_is_that_of_a_bessel_function_that_ends) {
    for (const double turned : {0.0, 1e-9, 0.01, 0.5, 2.4048, 7.77, 15.0, 19.999, 29.99})
        for (const double sign : {-1.0, 1.0})
            BOOST_CHECK_SMALL(kaq::fading_correlation(sign * turned) - ::j0(turned) * std::exp(-turned * turned / 25),
                              1e-10);
    for (const double turned : {30.0, 31.0, 1e9, 1e300, HUGE_VAL})
        BOOST_TEST(kaq::fading_correlation(turned) == 0);
    BOOST_TEST(kaq::fading_correlation(std::nan("")) == 0);
}

BOOST_AUTO_TEST_CASE(filters_over_time_are_the_best_linear_ones) {
    kaq::TimeFilters filters({0, 0.01});
    const std::array known{0, 70, 130};
    const std::array wanted{70, 200};
    filters.set_noise(std::array{0.1, 1.0});
    const kaq::TimeFilter moving = filters.get({0, 1, 1}, known, wanted);
    BOOST_TEST(moving.weights.size() == 12u);
    BOOST_TEST(moving.errors.size() == 4u);
    BOOST_TEST(moving.errors[2] > moving.errors[0]); // more noise
    BOOST_TEST(moving.errors[1] > moving.errors[0]); // farther away
    const double r = kaq::fading_correlation(turn * 0.01 * 7), s = kaq::fading_correlation(turn * 0.01 * 13);
    const double far = kaq::fading_correlation(turn * 0.01 * 6), n = 1.1;
    // the filter's error is orthogonal to what it knows
    for (std::size_t k = 0; k < 3; ++k) {
        const std::array<double, 3> rows[3] = {{n, r, s}, {r, n, far}, {s, far, n}};
        const double wants[3] = {r, 1, far};
        double sum = 0;
        for (std::size_t i = 0; i < 3; ++i)
            sum += moving.weights[i] * rows[k][i];
        BOOST_TEST(std::abs(sum - wants[k]) < 1e-6);
    }
    filters.set_noise(std::array{0.3});
    const kaq::TimeFilter &still = filters.get({0, 0, 1}, known, std::array{70});
    for (const float weight : still.weights)
        BOOST_TEST(std::abs(weight - 1 / 3.3) < 1e-6);
    BOOST_TEST(std::abs(still.errors[0] - 0.1 / 1.1) < 1e-12);
}

BOOST_AUTO_TEST_CASE(filters_of_up_to_40_processes_do_not_depend_on_their_number) {
    const std::array known{-200, -130, 0};
    const std::array wanted{0, 10, 20, 130};
    for (const std::size_t count : {1, 2, 7, 8, 9, 16, 40}) {
        std::vector<double> noise;
        for (std::size_t i = 0; i < count; ++i)
            noise.push_back(1e-3 * double(i + 1));
        kaq::TimeFilters all({1e-3, 2e-2}), one({1e-3, 2e-2});
        all.set_noise(noise);
        const kaq::TimeFilter together = all.get({4, 0, 1}, known, wanted);
        for (std::size_t i = 0; i < count; ++i) {
            one.set_noise(std::array{noise[i]});
            const int doppler = i + 1 < count;
            const kaq::TimeFilter &alone = one.get({doppler ? 0 : 4, doppler, 0}, known, wanted);
            for (std::size_t j = 0; j < alone.weights.size(); ++j)
                BOOST_REQUIRE_SMALL(together.weights[i * alone.weights.size() + j] - alone.weights[j], 1e-6f);
            for (std::size_t j = 0; j < alone.errors.size(); ++j)
                BOOST_REQUIRE_SMALL(together.errors[i * alone.errors.size() + j] - alone.errors[j], 1e-12);
        }
    }
}

BOOST_AUTO_TEST_CASE(phase_and_delay_of_products) {
    std::vector<int> carriers;
    std::vector<std::complex<double>> products;
    for (int f = -26; f <= 26; ++f) {
        carriers.push_back(f);
        products.push_back(std::polar(3.0, 2.5 - turn * 0.004 * f));
    }
    kaq::CarrierPhases phases(carriers);
    const kaq::Alignment found = kaq::align(products, carriers, phases);
    BOOST_TEST(std::abs(found.phase - 2.5) < 1e-9);
    BOOST_TEST(std::abs(found.delay - 0.004) < 1e-9);
    products.assign(products.size(), 0);
    BOOST_TEST(kaq::align(products, carriers, phases).delay == 0);
}

BOOST_AUTO_TEST_CASE(dopplers_of_two_streams_are_told_apart) {
    Generator random(1);
    constexpr std::size_t num_tx = 2, num_modes = 3, num_rx = 4, size = num_tx * num_modes * num_rx;
    kaq::DopplerTrack track({0, 1e-3, 4e-3, 1.6e-2}, num_tx);
    track.begin(2);
    BOOST_TEST(track.fading()[0].strongest == 2);
    const double correlation[num_tx] = {kaq::fading_correlation(turn * 1e-3 * 30),
                                        kaq::fading_correlation(turn * 1.6e-2 * 30)};
    for (int frame = 0; frame < 60; ++frame) {
        auto earlier = normals(size, random), later = normals(size, random);
        for (std::size_t i = 0; i < size; ++i) {
            const double r = correlation[i / (num_modes * num_rx)];
            later[i] = earlier[i] * float(r) + later[i] * float(std::sqrt(1 - r * r));
        }
        track.take(std::array{kaq::DopplerTrack::Pair{30, earlier.data(), later.data()}}, std::array{1., 1., 1., 1.},
                   std::array{1e-3, 1e-3, 1e-3});
    }
    for (int stream = 0; stream < 2; ++stream) {
        BOOST_TEST(track.fading()[stream].strongest == (stream ? 3 : 1));
        BOOST_TEST(track.fading()[stream].others == (stream ? 3 : 1));
    }
}

BOOST_AUTO_TEST_CASE(a_line_of_sight_is_found_in_the_strongest_mode) {
    Generator random(1);
    constexpr std::size_t num_modes = 2, num_rx = 4, size = num_modes * num_rx;
    kaq::DopplerTrack track({0, 1e-3, 1.6e-2}, 1);
    track.begin(1);
    const auto line = normals(num_rx, random); // the same for all frames
    for (int frame = 0; frame < 60; ++frame) {
        std::vector<std::complex<float>> values[3];
        for (auto &each : values) {
            each = normals(size, random); // the rest has faded by the next one
            for (std::size_t a = 0; a < num_rx; ++a) {
                auto &strongest = each[num_rx + a];
                strongest = line[a] * float(std::sqrt(0.9)) + strongest * float(std::sqrt(0.1));
            }
        }
        track.take(std::array{kaq::DopplerTrack::Pair{40, values[0].data(), values[2].data()},
                              kaq::DopplerTrack::Pair{30, values[1].data(), values[2].data()}},
                   std::array{1., 1., 1., 1.}, std::array{1e-3, 1e-3});
    }
    BOOST_TEST(kaq::line_shares[track.fading()[0].line] == 0.9, boost::test_tools::tolerance(0.06));
    BOOST_TEST(track.fading()[0].strongest == 2);
    BOOST_TEST(track.fading()[0].others == 2);
}

BOOST_AUTO_TEST_CASE(an_oscillator_is_followed_and_another_one_noticed) {
    Generator random(1);
    std::normal_distribution<double> noise(0, 1);
    kaq::OscillatorTrack track;
    const double offset = 0.02;
    track.begin(0, 0.3, offset + 2e-3 * noise(random), 4e-6);
    for (int frame = 1; frame <= 40; ++frame) {
        const double time = 20 * frame;
        BOOST_REQUIRE(track.advance(time, offset + 2e-3 * noise(random), 4e-6));
        track.take_phase(std::remainder(0.3 + turn * offset * time + 0.02 * noise(random), turn), 4e-4);
    }
    BOOST_TEST(std::abs(track.offset() - offset) < 1e-5);
    BOOST_TEST(std::abs(std::remainder(track.phase() - (0.3 + turn * offset * 800), turn)) < 0.05);
    BOOST_TEST(std::abs(std::remainder(track.phase_at(900) - (0.3 + turn * offset * 900), turn)) < 0.05);
    BOOST_TEST(!track.advance(820, 2 * offset, 4e-6));
}

BOOST_AUTO_TEST_CASE(memory_of_a_still_channel_lowers_the_error_as_it_expects) {
    Generator random(1);
    const TrackedFrames frames(random);
    kaq::FrameMemory memory(frames.format, 8, frames.fit()), none(frames.format, 1, frames.fit());
    BOOST_TEST(!memory.track().has_value());
    double remembered = 0, alone = 0, expected = 0;
    for (int i = 0; i < 60; ++i) {
        const double delay = 0.004 * std::sin(i);
        const kaq::ObservedFrame frame = frames.receive(random, delay);
        const kaq::FrameArrival arrival{500.0 * i, 0};
        const Result result = interpolate(memory, frames, frame, arrival, delay),
                     single = interpolate(none, frames, frame, arrival, delay);
        if (i < 20)
            continue;
        remembered += result.error;
        expected += result.expected;
        alone += single.error;
    }
    BOOST_TEST(memory.lost() == 0);
    BOOST_TEST(memory.track()->frames == 8);
    BOOST_TEST(*frames.fits >= 8);
    BOOST_TEST(remembered < 0.5 * alone);
    BOOST_TEST(remembered < 1.6 * expected);
    BOOST_TEST(remembered > 0.6 * expected);
    BOOST_TEST(!none.track().has_value());
}

BOOST_AUTO_TEST_CASE(a_still_channel_is_forecast_as_well_as_expected) {
    using F = TrackedFrames;
    Generator random(2);
    const F frames(random);
    kaq::FrameMemory memory(frames.format, 8, frames.fit());
    std::vector<std::complex<float>> h(F::num_symbols * frames.channel.size());
    std::array<double, F::num_symbols> error{};
    kaq::ForecastErrors errors;
    const auto forecast = [&](double sample) {
        return memory.forecast({sample, 0.001}, 1 / (F::sigma * F::sigma),
                               {h.data(), F::num_symbols, F::num_active, F::num_rx, F::num_tx}, error, errors);
    };
    BOOST_TEST(!forecast(0).has_value()); // nothing is known
    for (int i = 0; i < 30; ++i)
        interpolate(memory, frames, frames.receive(random), kaq::FrameArrival{500.0 * i, 0});
    const int before = memory.track()->frames;
    const std::optional<double> left = forecast(500 * 30);
    BOOST_REQUIRE(left.has_value());
    BOOST_TEST(std::abs(*left + 0.001 * frames.format.symbol_length) < 1e-3); // what was taken and is not there
    double away = 0;
    for (std::size_t i = 0; i < h.size(); ++i) { // but for a phase
        const std::complex<float> expected = frames.channel[i % frames.channel.size()];
        away += std::norm(std::abs(h[i]) - std::abs(expected)) / double(h.size());
    }
    BOOST_TEST(away < 0.1 * F::sigma * F::sigma);
    BOOST_TEST(error[0] > 0);
    BOOST_TEST(memory.track()->frames == before);
    BOOST_TEST(!forecast(500 * 29).has_value()); // not after the others
    BOOST_TEST(!forecast(1e7).has_value());      // too late
}

BOOST_AUTO_TEST_CASE(frames_of_other_antennas_and_of_no_antenna_begin_anew) {
    Generator random(1);
    const TrackedFrames frames(random);
    kaq::FrameMemory memory(frames.format, 8, frames.fit());
    kaq::ObservedFrame frame = frames.receive(random);
    for (int i = 0; i < 3; ++i)
        interpolate(memory, frames, frame, kaq::FrameArrival{500.0 * i, 0});
    BOOST_TEST(memory.track()->frames == 3);
    // one antenna only
    kaq::ObservedFrame one = frame;
    one.noise_var.resize(1);
    one.training.clear();
    for (std::size_t i = 0; i < frame.training.size(); i += TrackedFrames::num_rx)
        one.training.push_back(frame.training[i]);
    std::vector<std::complex<float>> h(TrackedFrames::num_symbols * TrackedFrames::num_active * TrackedFrames::num_tx);
    std::array<double, TrackedFrames::num_symbols> error{};
    memory.interpolate(one, kaq::FrameArrival{2000, 0}, {},
                       {h.data(), TrackedFrames::num_symbols, TrackedFrames::num_active, 1, TrackedFrames::num_tx},
                       error);
    BOOST_TEST(memory.track()->frames == 1);
    BOOST_TEST(memory.lost() == 1);
    frame.noise_var.assign(TrackedFrames::num_rx, 0);
    BOOST_TEST(interpolate(memory, frames, frame, kaq::FrameArrival{2500, 0}).expected == 0);
    BOOST_TEST(!memory.track().has_value());
}
