// SPDX-License-Identifier: GPL-3.0-or-later
// What narrow interference leaves of the samples that frames are searched in.
#include <boost/test/unit_test.hpp>

#include <limits>
#include <numbers>

#include "frames/spectral_excision.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

using Complex = std::complex<float>;
using ComplexDouble = std::complex<double>;

constexpr double turn = 2 * std::numbers::pi;
constexpr int block = 160, length = 40 * block;

// What is left of the samples of one antenna, and how many are lacking at the end.
std::vector<Complex> excise(const std::vector<Complex> &samples, int piece, int &lacking) {
    const int zeros = 16, kept = 2 * block + 32;
    kaq::SampleHistory from(1, zeros, kept, piece), to(1, zeros, 2 * block, piece + 2 * block);
    kaq::SpectralExcision excision(1, block);
    std::vector<Complex> left;
    for (std::size_t first = 0; first < samples.size(); first += piece) {
        const int count = static_cast<int>(std::min<std::size_t>(piece, samples.size() - first));
        const Complex *antenna = samples.data();
        from.append({&antenna, 1}, first, count);
        excision.update(from, to);
        const int more = static_cast<int>(to.position() - static_cast<std::int64_t>(left.size()));
        const kaq::AntennaView view = to.view(0, to.position() - more, more);
        for (int n = 0; n < more; ++n)
            left.emplace_back(view.re[n], view.im[n]);
        BOOST_REQUIRE(from.position() - to.position() <= excision.delay());
        to.drop_before(to.position() - block);
        from.drop_before(to.position() - kaq::SpectralExcision::reach);
    }
    lacking = static_cast<int>(samples.size() - left.size());
    return left;
}

std::vector<Complex> with_tone(std::vector<Complex> samples, double amplitude, double frequency) {
    for (std::size_t n = 0; n < samples.size(); ++n)
        samples[n] += Complex(std::polar(amplitude, turn * frequency * static_cast<double>(n)));
    return samples;
}

double power(const std::vector<Complex> &samples, std::size_t first) {
    double sum = 0;
    for (std::size_t n = first; n < samples.size(); ++n)
        sum += std::norm(ComplexDouble(samples[n])) / static_cast<double>(samples.size() - first);
    return sum;
}

} // namespace

BOOST_AUTO_TEST_CASE(white_noise_and_offsets_at_0_hz_stay_what_they_are) {
    Generator random(1);
    for (const Complex offset : {Complex(0), Complex(20, -5)}) {
        std::vector<Complex> samples = normals(length, random);
        for (Complex &each : samples)
            each += offset;
        int lacking = 0;
        const std::vector<Complex> left = excise(samples, 1000, lacking);
        BOOST_TEST(lacking <= block + kaq::SpectralExcision::reach - 1);
        samples.resize(left.size());
        BOOST_TEST((left == samples));
    }
}

BOOST_AUTO_TEST_CASE(tones_of_10_to_40_db_are_taken_out_wherever_they_are) {
    for (const double frequency : {0.0625, 0.0703, 0.1234, 0.268, -0.4})
        for (const double level_db : {10.0, 30.0, 40.0}) {
            Generator random(2);
            int lacking = 0;
            const std::vector<Complex> noise = normals(length, random);
            const double amplitude = std::pow(10, level_db / 20);
            const std::vector<Complex> left = excise(with_tone(noise, amplitude, frequency), 1000, lacking);
            BOOST_TEST(power(left, 0) < 1.3);
            ComplexDouble tone = 0;
            for (std::size_t n = 0; n < left.size(); ++n)
                tone += ComplexDouble(left[n]) *
                        std::polar(1.0 / static_cast<double>(left.size()), -turn * frequency * static_cast<double>(n));
            BOOST_TEST(std::norm(tone) < 0.1);
        }
}

BOOST_AUTO_TEST_CASE(what_is_left_does_not_depend_on_pieces_and_is_finite) {
    Generator random(3);
    std::vector<Complex> samples = with_tone(normals(length, random), 5, 0.2);
    samples[1000] = 3e38f; // its square is infinite
    int lacking = 0;
    const std::vector<Complex> whole = excise(samples, length, lacking);
    BOOST_TEST((excise(samples, 37, lacking) == whole));
    for (const Complex each : whole)
        BOOST_REQUIRE(std::isfinite(each.real()) && std::isfinite(each.imag()));
}
