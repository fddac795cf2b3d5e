// SPDX-License-Identifier: GPL-3.0-or-later
// The search for frames: starts, carrier offsets and faults that are known, and its metric and windows as their
// definitions have them (python/gr_kaq/frames/synchronization.py).
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "frames/antenna_faults.h"
#include "frames/carrier_offset.h"
#include "tests/frames/sent_frames.h"

using namespace kaq_test;

namespace {

constexpr double turn = 2 * std::numbers::pi;
constexpr float no_number = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

std::vector<Kept> find(const Sent &sent, const Received &received) {
    kaq::FrameSearch search = sent.search(received.num_rx);
    Collector collector(search);
    push(search, received.view(), collector);
    return collector.frames;
}

std::vector<std::int64_t> starts(const std::vector<Kept> &frames) {
    std::vector<std::int64_t> all;
    for (const Kept &frame : frames)
        all.push_back(frame.start);
    return all;
}

// M at a place, sum by sum; samples before the first are 0.
double metric_at(const Received &received, const kaq::FrameLayout &layout, int place) {
    const int period = layout.period, window = layout.preamble_length() - period;
    const auto at = [&](int a, int n) { return n < 0 ? 0.0 : ComplexDouble(received.view()(a, n)); };
    ComplexDouble sum = 0;
    for (int a = 0; a < received.num_rx; ++a) {
        ComplexDouble mean[2] = {}, correlation = 0;
        double energy[2] = {};
        for (int k = 0; k < 2; ++k)
            for (int m = 0; m < window; ++m)
                mean[k] += at(a, place + m + k * period) / double(window);
        for (int m = 0; m < window; ++m) {
            const ComplexDouble first = at(a, place + m) - mean[0], second = at(a, place + m + period) - mean[1];
            correlation += std::conj(first) * second;
            energy[0] += std::norm(first);
            energy[1] += std::norm(second);
        }
        sum += correlation / std::max(energy[0], energy[1]);
    }
    return std::norm(sum / double(received.num_rx));
}

void expect_error(const std::string &text, const auto &call) {
    BOOST_CHECK_EXCEPTION(call(), std::invalid_argument, [&](const std::exception &error) {
        BOOST_TEST(error.what() == text);
        return true;
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(frames_of_1_to_4_streams_on_1_to_4_antennas_are_found_at_their_sample_and_offset) {
    for (const int fft_size : {64, 256})
        for (const int num_tx : {1, 2, 3, 4})
            for (const int num_rx : {1, 2, 4})
                for (const double snr : {3.2, 1000.0}) { // 5 dB and 30 dB
                    Generator random(fft_size + 10 * num_tx + num_rx);
                    const Sent sent(fft_size, num_tx, random);
                    const int period = sent.layout.period, start = 777;
                    const double offset = std::uniform_real_distribution<double>(-0.45, 0.45)(random) / period;
                    Received received(num_rx, start + sent.layout.frame_length() + 100, 1 / snr, random);
                    received.add(sent, start, flat_channel(num_rx, num_tx, random), offset);
                    const std::vector<Kept> found = find(sent, received);
                    BOOST_REQUIRE_EQUAL(found.size(), 1u);
                    BOOST_TEST(found[0].start == start);
                    BOOST_TEST(!found[0].overlapping);
                    BOOST_TEST(found[0].dead == std::vector<std::uint8_t>(num_rx), boost::test_tools::per_element());
                    BOOST_TEST(found[0].saturated == found[0].dead, boost::test_tools::per_element());
                    // the phase over 5 periods of 10, of which each sample's has the variance (1 / SNR + 1 / (2 SNR^2))
                    const double variance = (1 / snr + 0.5 / (snr * snr)) / (5 * period * num_rx);
                    BOOST_TEST(std::abs(found[0].carrier_offset - offset) <
                               6 * std::sqrt(variance) / (turn * 5 * period));
                }
}

// Where nothing stands out of the spectrum: one stream, one path.
BOOST_AUTO_TEST_CASE(metric_of_frames_on_1_to_4_antennas_is_m_by_definition) {
    for (const int fft_size : {64, 256})
        for (const int num_rx : {1, 2, 4})
            for (const double noise_var : {1e-3, 0.3, 1.0})
                for (const int start : {0, 403}) {
                    Generator random(fft_size + num_rx);
                    const Sent sent(fft_size, 1, random, true);
                    Received received(num_rx, start + sent.layout.frame_length() + 100, noise_var, random);
                    received.add(sent, start, flat_channel(num_rx, 1, random), 0.1 / fft_size);
                    for (Complex &each : received.values)
                        each += Complex(0.3f, -0.2f); // at 0 Hz, which does not count
                    const std::vector<Kept> found = find(sent, received);
                    BOOST_REQUIRE_EQUAL(found.size(), 1u);
                    // the greatest of those that are looked at, a quarter of a period apart
                    double greatest = 0;
                    const int step = sent.layout.period / 4;
                    for (int place = 0; place < start + sent.layout.preamble_length(); place += step)
                        greatest = std::max(greatest, metric_at(received, sent.layout, place));
                    BOOST_TEST(std::abs(found[0].metric - std::min(greatest, 1.0)) < 1e-5);
                }
}

BOOST_AUTO_TEST_CASE(windows_of_14_symbols_are_the_samples_without_their_carrier_offset) {
    for (const int fft_size : {64, 256})
        for (const int num_rx : {1, 3}) {
            Generator random(fft_size + num_rx);
            const Sent sent(fft_size, 2, random);
            const kaq::FrameLayout &layout = sent.layout;
            const int start = 901;
            Received received(num_rx, start + layout.frame_length(), 0.01, random);
            received.add(sent, start, flat_channel(num_rx, 2, random), -0.3 / layout.period);
            const std::vector<Kept> found = find(sent, received);
            BOOST_REQUIRE_EQUAL(found.size(), 1u);
            const kaq::ArrayView windows(found[0].windows.data(), 14, num_rx, fft_size);
            for (int s = 0; s < 14; ++s)
                for (int a = 0; a < num_rx; ++a)
                    for (int n = 0; n < fft_size; ++n) {
                        const int place = layout.preamble_length() + s * layout.symbol_length() + layout.cp_length -
                                          layout.timing_advance + n;
                        const ComplexDouble expected = ComplexDouble(received.view()(a, start + place)) *
                                                       std::polar(1.0, -turn * found[0].carrier_offset * place);
                        BOOST_REQUIRE_SMALL(std::abs(ComplexDouble(windows(s, a, n)) - expected), 2e-6);
                    }
        }
}

// Where both channels are alike, one drowns in the other.
BOOST_AUTO_TEST_CASE(nine_of_ten_frames_that_begin_in_one_of_4_db_more_are_found) {
    int num_frames = 0, num_found = 0;
    for (const int num_tx : {1, 2})
        for (const int num_rx : {2, 4})
            for (int begin = 0; begin < 20; ++begin) {
                Generator random(100 * num_tx + 10 * num_rx + begin);
                const Sent sent(64, num_tx, random);
                const int first = 300, length = sent.layout.frame_length(),
                          second = first + length / 5 + begin * length / 32;
                Received received(num_rx, second + length, 1e-3, random);
                received.add(sent, first, flat_channel(num_rx, num_tx, random));
                std::vector<ComplexDouble> gains = flat_channel(num_rx, num_tx, random);
                for (ComplexDouble &gain : gains)
                    gain *= std::pow(10.0, -4.0 / 20);
                received.add(sent, second, gains);
                const std::vector<std::int64_t> found = starts(find(sent, received));
                num_found += std::find(found.begin(), found.end(), second) != found.end();
                ++num_frames;
            }
    BOOST_TEST(num_found >= 0.9 * num_frames);
}

BOOST_AUTO_TEST_CASE(frames_are_the_same_however_the_stream_is_cut) {
    for (const int fft_size : {64, 256})
        for (const int num_tx : {1, 2, 3, 4})
            for (const int num_rx : {1, 3}) {
                Generator random(fft_size + num_tx);
                const Sent sent(fft_size, num_tx, random);
                const int length = sent.layout.frame_length();
                Received received(num_rx, 6 * length, 0.0025, random);
                // the fourth begins in the third
                const std::vector<std::int64_t> expected{0, length + 100, 2 * length + 100, 5 * length / 2 + 100};
                const std::vector<ComplexDouble> gains = flat_channel(num_rx, num_tx, random);
                for (const std::int64_t start : expected)
                    received.add(sent, static_cast<int>(start), gains);
                received.antenna(0)[length + 50] = no_number;
                received.antenna(0)[length + 51] = {0, inf};
                received.antenna(0)[length - 200] = 3e38f; // its square is infinite
                const std::vector<Kept> whole = find(sent, received);
                BOOST_TEST(starts(whole) == expected, boost::test_tools::per_element());
                for (std::size_t i = 0; i < whole.size(); ++i)
                    BOOST_TEST(whole[i].overlapping == (i == 3));
                for (const int piece : {997, 61, 8192, 8193}) {
                    kaq::FrameSearch search = sent.search(num_rx);
                    Collector collector(search);
                    std::size_t invalid = 0;
                    for (int first = 0; first < received.length; first += piece) {
                        const int count = std::min(piece, received.length - first);
                        Received part(num_rx, count);
                        for (int a = 0; a < num_rx; ++a)
                            std::ranges::copy(received.antenna(a).subspan(first, count), part.antenna(a).begin());
                        invalid += push(search, part.view(), collector);
                    }
                    BOOST_TEST(search.position() == received.length);
                    BOOST_TEST(invalid == 2u);
                    BOOST_TEST((collector.frames == whole));
                    BOOST_TEST(search.interrupt() == 0u);
                }
            }
}

BOOST_AUTO_TEST_CASE(nan_and_inf_are_taken_as_0_and_counted) {
    Generator random(1);
    const Sent sent(64, 1, random);
    Received zeros(2, 3000, 0.01, random);
    zeros.add(sent, 500, flat_channel(2, 1, random));
    Received wrong = zeros;
    const Complex invalid[] = {{no_number, 0}, {0, no_number}, {inf, 1}, {1, -inf}, {no_number, inf}};
    for (int i = 0; i < 5; ++i) {
        zeros.antenna(i % 2)[600 + 100 * i] = 0;
        wrong.antenna(i % 2)[600 + 100 * i] = invalid[i];
    }
    kaq::FrameSearch search = sent.search(2);
    Collector collector(search);
    BOOST_TEST(push(search, wrong.view(), collector) == 5u);
    BOOST_REQUIRE_EQUAL(collector.frames.size(), 1u);
    BOOST_TEST((collector.frames == find(sent, zeros)));
}

BOOST_AUTO_TEST_CASE(in_zeros_noise_and_tones_there_is_no_frame) {
    Generator random(2);
    for (const int num_rx : {1, 4}) {
        const Sent sent(64, 2, random);
        BOOST_TEST(find(sent, Received(num_rx, 50'000)).empty());
        BOOST_TEST(find(sent, Received(num_rx, 50'000, 1, random)).empty());
        BOOST_TEST(find(sent, Received(num_rx, 0)).empty());
        Received tone(num_rx, 50'000, 1e-4, random); // it repeats itself after every period, but goes on
        for (int a = 0; a < num_rx; ++a)
            for (int n = 0; n < tone.length; ++n)
                tone.antenna(a)[n] += Complex(std::polar(1.0, turn * n / 16));
        BOOST_TEST(find(sent, tone).empty());
        Received constant(num_rx, 50'000);
        std::ranges::fill(constant.values, Complex(1e4f, 1));
        BOOST_TEST(find(sent, constant).empty());
    }
}

BOOST_AUTO_TEST_CASE(a_first_path_5_db_below_the_strongest_counts_and_one_13_db_below_does_not) {
    for (const auto &[level_db, expected] : {std::pair{-5.0, 400}, std::pair{-13.0, 420}}) {
        Generator random(3);
        const Sent sent(256, 1, random);
        Received received(4, 8000, 1e-3, random);
        for (int i = 0; i < 2; ++i) { // 20 samples apart, in a window of 48
            auto gains = flat_channel(4, 1, random);
            for (ComplexDouble &each : gains)
                each *= i ? 1 : std::pow(10, level_db / 20);
            received.add(sent, 400 + 20 * i, gains);
        }
        BOOST_TEST(starts(find(sent, received)) == std::vector<std::int64_t>{expected},
                   boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(a_frame_is_given_out_with_the_last_sample_of_its_last_window) {
    Generator random(4);
    const Sent sent(64, 2, random);
    const int last = 300 + sent.layout.frame_length() - sent.layout.timing_advance;
    Received received(2, last, 0.01, random);
    received.add(sent, 300, flat_channel(2, 2, random));
    kaq::FrameSearch search = sent.search(2);
    Collector collector(search);
    for (int n = 0; n < last; ++n) {
        BOOST_REQUIRE(collector.frames.empty());
        const std::vector<Complex> sample{received.antenna(0)[n], received.antenna(1)[n]};
        push(search, {sample.data(), 2, 1}, collector);
    }
    BOOST_TEST(starts(collector.frames) == std::vector<std::int64_t>{300}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(no_frame_reaches_across_an_interruption_and_those_behind_are_found) {
    Generator random(5);
    const Sent sent(64, 2, random);
    const int length = sent.layout.frame_length();
    Received cut(2, 1000 + length / 2 + 400, 0.01, random), next(2, 3 * length, 0.01, random);
    cut.add(sent, 1000, flat_channel(2, 2, random));
    next.add(sent, 10, flat_channel(2, 2, random));
    kaq::FrameSearch search = sent.search(2);
    Collector collector(search);
    push(search, cut.view(), collector);
    BOOST_TEST(search.interrupt() == 1u);
    BOOST_TEST(search.interrupt() == 0u);
    push(search, next.view(), collector);
    BOOST_TEST(starts(collector.frames) == std::vector<std::int64_t>{cut.length + 10},
               boost::test_tools::per_element());
    BOOST_TEST(search.position() == cut.length + next.length);
}

BOOST_AUTO_TEST_CASE(what_a_sink_throws_passes_through_and_frames_behind_are_found) {
    Generator random(11);
    const Sent sent(64, 2, random);
    Received received(2, 20000, 0.01, random), next(2, 5000, 0.01, random);
    for (const int start : {9000, 12000})
        received.add(sent, start, flat_channel(2, 2, random));
    next.add(sent, 100, flat_channel(2, 2, random));
    kaq::FrameSearch search = sent.search(2);
    Unwilling unwilling(search);
    Collector collector(search);
    BOOST_CHECK_THROW(push(search, received.view(), unwilling), std::runtime_error);
    const std::int64_t before = search.position();
    push(search, next.view(), collector);
    BOOST_TEST(starts(collector.frames) == std::vector<std::int64_t>{before + 100}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_frame_of_many_carriers_whose_last_samples_are_missing_is_given_up) {
    Generator random(12);
    const Sent sent(2048, 1, random); // its preamble and what is compared with it are longer than a piece
    const int length = sent.layout.frame_length();
    Received cut(1, 20000 + length - 300, 0.01, random);
    cut.add(sent, 20000, flat_channel(1, 1, random));
    kaq::FrameSearch search = sent.search(1);
    Collector collector(search);
    push(search, cut.view(), collector);
    BOOST_TEST(search.interrupt() == 1u);
    BOOST_TEST(collector.frames.empty());
}

BOOST_AUTO_TEST_CASE(a_frame_that_begins_before_the_stream_is_found) {
    Generator random(6);
    const Sent sent(64, 2, random);
    Received received(2, 3000, 0.01, random);
    received.add(sent, -20, flat_channel(2, 2, random));
    const std::vector<Kept> found = find(sent, received);
    BOOST_TEST(starts(found) == std::vector<std::int64_t>{-20}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(dead_and_saturated_antennas_of_4_are_told_and_do_not_disturb) {
    Generator random(7);
    const Sent sent(256, 2, random);
    Received received(4, 8000, 0.01, random);
    received.add(sent, 500, flat_channel(4, 2, random));
    std::ranges::fill(received.antenna(1), Complex(0));
    for (Complex &each : received.antenna(2))
        each = {std::clamp(each.real(), -0.7f, 0.7f), each.imag()};
    for (Complex &each : received.antenna(3))
        each *= 0.01f; // 40 dB less
    const std::vector<Kept> found = find(sent, received);
    BOOST_REQUIRE_EQUAL(found.size(), 1u);
    BOOST_TEST(found[0].start == 500);
    BOOST_TEST(found[0].dead == (std::vector<std::uint8_t>{0, 1, 0, 1}), boost::test_tools::per_element());
    BOOST_TEST(found[0].saturated == (std::vector<std::uint8_t>{0, 0, 1, 0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(faults_of_antennas_by_their_samples) {
    Generator random(8);
    std::vector<std::vector<float>> re(5), im(5);
    for (int a = 0; a < 5; ++a)
        for (int n = 0; n < 400; ++n) {
            const Complex each = normal(random);
            const float part = a == 4 ? 1e-2f : 1; // 40 dB less than the others' mean
            re[a].push_back(part * each.real());
            im[a].push_back(part * each.imag());
        }
    for (float &part : re[1]) // 5 % of them
        part = std::clamp(part, -1.4f, 1.4f);
    re[2][17] = re[2][200] = 9; // nothing piles up there
    std::ranges::fill(re[3], 0.0f);
    std::ranges::fill(im[3], 0.0f);
    std::vector<kaq::AntennaView> antennas;
    for (int a = 0; a < 5; ++a)
        antennas.emplace_back(re[a], im[a]);
    std::vector<std::uint8_t> dead(5), saturated(5);
    std::vector<double> power(5);
    kaq::find_faults(antennas, dead, saturated, power);
    BOOST_TEST(dead == (std::vector<std::uint8_t>{0, 0, 0, 1, 1}), boost::test_tools::per_element());
    BOOST_TEST(saturated == (std::vector<std::uint8_t>{0, 1, 0, 0, 0}), boost::test_tools::per_element());
    for (int a = 0; a < 5; ++a) {
        double expected = 0;
        for (int n = 0; n < 400; ++n)
            expected += (re[a][n] * double(re[a][n]) + im[a][n] * double(im[a][n])) / 400;
        BOOST_TEST(std::abs(power[a] - expected) <= 1e-5 * expected);
    }
    kaq::find_faults(std::span(antennas).subspan(3, 1), std::span(dead).first(1), std::span(saturated).first(1),
                     std::span(power).first(1));
    BOOST_TEST(dead[0] == 1); // alone
}

namespace {

struct Split {
    std::vector<float> re, im;

    explicit Split(const std::vector<ComplexDouble> &samples) {
        for (const ComplexDouble each : samples) {
            re.push_back(static_cast<float>(each.real()));
            im.push_back(static_cast<float>(each.imag()));
        }
    }
    kaq::AntennaView view() const { return {re, im}; }
};

// 10 periods of 16 samples
Split preamble(double offset, double noise_var, double gain, Generator &random) {
    const auto period = normals<double>(16, random);
    std::vector<ComplexDouble> samples;
    for (int n = 0; n < 160; ++n)
        samples.push_back(gain * period[n % 16] * std::polar(1.0, turn * offset * n) +
                          std::sqrt(noise_var) * normal<double>(random));
    return Split(samples);
}

} // namespace

BOOST_AUTO_TEST_CASE(carrier_offset_of_10_periods_of_16_without_noise_is_exact) {
    Generator random(9);
    for (const double offset : {0.0, 0.001, -0.02, 0.031, -0.031}) {
        const Split one = preamble(offset, 0, 1, random), two = preamble(offset, 0, 0.1, random),
                    zeros(std::vector<ComplexDouble>(160));
        const kaq::AntennaView antennas[] = {one.view(), two.view(), zeros.view()};
        BOOST_TEST(std::abs(kaq::carrier_offset(antennas, 16) - offset) < 2e-4); // the mean that is taken away
        BOOST_TEST(kaq::carrier_offset(std::span(antennas).last(1), 16) == 0);
    }
    BOOST_TEST(kaq::carrier_offset({}, 16) == 0);
}

BOOST_AUTO_TEST_CASE(carrier_offset_is_that_of_the_antenna_without_noise) {
    Generator random(10);
    for (int i = 0; i < 20; ++i) {
        const Split good = preamble(0.01, 1e-4, 1, random), noise = preamble(0, 1e4, 0, random);
        const kaq::AntennaView antennas[] = {noise.view(), good.view(), noise.view()};
        BOOST_TEST(std::abs(kaq::carrier_offset(antennas, 16) - 0.01) < 4e-4);
    }
}

BOOST_AUTO_TEST_CASE(rotation_of_1000_samples) {
    std::vector<float> re(1000), im(1000);
    kaq::fill_rotation(0.0123, re, im);
    for (int n = 0; n < 1000; ++n)
        BOOST_REQUIRE_SMALL(std::abs(ComplexDouble(re[n], im[n]) - std::polar(1.0, -turn * 0.0123 * n)), 1e-7);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_searched_for_is_told_with_its_value) {
    const kaq::FrameLayout good = layout_of(64);
    const auto make = [](kaq::FrameLayout layout, int num_rx, int num_tx, int missing = 0) {
        const std::vector<Complex> known(std::size_t(num_tx) * 1000, 1);
        kaq::FrameSearch(layout, num_rx, {known.data(), num_tx, layout.known_length() - missing});
    };
    const auto with = [&](auto change) {
        kaq::FrameLayout layout = good;
        change(layout);
        return [=] { make(layout, 1, 1); };
    };
    make(good, 1, 8);
    expect_error("fft_size is 66; a multiple of 4 up to 65536 expected", with([](auto &of) { of.fft_size = 66; }));
    expect_error("cp_length is 0; a multiple of 4 up to 65536 expected", with([](auto &of) { of.cp_length = 0; }));
    expect_error("timing_advance is -4; a multiple of 4 up to 65536 expected",
                 with([](auto &of) { of.timing_advance = -4; }));
    expect_error("timing_advance is 16; less than cp_length expected, 16",
                 with([](auto &of) { of.timing_advance = 16; }));
    expect_error("delay_window is 0; a multiple of 4 up to 65536 expected",
                 with([](auto &of) { of.delay_window = 0; }));
    expect_error("delay_window is 84; at most symbol_length expected, 80",
                 with([](auto &of) { of.delay_window = 84; }));
    expect_error("period is 24; a multiple of 16 up to 65536 expected", with([](auto &of) { of.period = 24; }));
    expect_error("num_periods is 5; 6 to 100 expected", with([](auto &of) { of.num_periods = 5; }));
    expect_error("num_symbols is 101; 1 to 100 expected", with([](auto &of) { of.num_symbols = 101; }));
    expect_error("OFDM symbols have 144 samples; at most 106 expected, two thirds of the preamble",
                 with([](auto &of) { of.fft_size = 128; }));
    expect_error("num_rx is 0; at least 1 expected", [&] { make(good, 0, 1); });
    expect_error("1 to 8 streams expected; 9 given", [&] { make(good, 1, 9); });
    expect_error("1 to 8 streams expected; 0 given", [&] { make(good, 1, 0); });
    expect_error("240 known samples of each stream expected; 236 given", [&] { make(good, 1, 1, 4); });
}

BOOST_AUTO_TEST_CASE(a_sink_that_throws_loses_its_frame_and_the_search_goes_on) {
    struct Throwing : kaq::FrameSink {
        std::span<Complex> windows() override { throw std::bad_alloc(); }
        void take(const kaq::FoundFrame &) override {}
    } throwing;
    Generator random(11);
    const Sent sent(64, 1, random);
    Received received(1, 20'000, 0.01, random);
    for (int start = 100; start < 15'000; start += 2000)
        received.add(sent, start, flat_channel(1, 1, random));
    kaq::FrameSearch search = sent.search(1);
    Collector collector(search);
    for (int round = 0; round < 5; ++round)
        BOOST_CHECK_THROW(push(search, received.view(), throwing), std::bad_alloc);
    const std::int64_t position = search.position();
    push(search, received.view(), collector);
    BOOST_TEST(collector.frames.size() == 8u);
    BOOST_TEST(collector.frames.front().start == position + 100);
}
