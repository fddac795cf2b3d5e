// SPDX-License-Identifier: GPL-3.0-or-later
// Antennas whose noise is made white.
#include <boost/test/unit_test.hpp>

#include "frames/antenna_whitening.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

using Complex = std::complex<float>;
using ComplexDouble = std::complex<double>;

// Real and imaginary parts apart, [num_rx][length].
struct Antennas {
    std::vector<std::vector<float>> re, im;

    Antennas(int num_rx, int length) : re(num_rx, std::vector<float>(length)), im(re) {}

    void set(int antenna, int n, Complex value) {
        re[antenna][n] = value.real();
        im[antenna][n] = value.imag();
    }

    std::vector<kaq::AntennaView> views() const {
        std::vector<kaq::AntennaView> all;
        for (std::size_t a = 0; a < re.size(); ++a)
            all.emplace_back(re[a], im[a]);
        return all;
    }
};

ComplexDouble correlation(const kaq::AntennaView &one, const kaq::AntennaView &other) {
    ComplexDouble sum = 0;
    for (int n = 0; n < one.size(); ++n)
        sum += ComplexDouble(one.re[n], one.im[n]) * ComplexDouble(other.re[n], -other.im[n]) / double(one.size());
    return sum;
}

} // namespace

BOOST_AUTO_TEST_CASE(noise_from_one_direction_that_is_20_db_louder_becomes_white_and_dead_antennas_stay_0) {
    Generator random(1);
    const int num_rx = 4, length = 2000;
    Antennas noise(num_rx + 1, length);
    for (int n = 0; n < length; ++n) {
        const Complex loud = 10.0f * normal(random);
        for (int a = 0; a < num_rx; ++a)
            noise.set(a, n, (a == 2 ? 1e3f : 1.0f) * (loud * Complex(std::polar(1.0, 0.7 * a)) + normal(random)));
    }
    kaq::AntennaWhitening whitening(num_rx + 1, length);
    const std::vector<kaq::AntennaView> views = noise.views();
    const std::span<const kaq::AntennaView> white = whitening.whiten(views, views, 0);
    for (int a = 0; a < num_rx; ++a)
        for (int b = 0; b < a; ++b)
            BOOST_TEST(std::abs(correlation(white[a], white[b])) < 0.5);
    for (int a = 1; a < num_rx; ++a) // what is left there is the quiet noise, and the share that always counts as noise
        BOOST_TEST(correlation(white[a], white[a]).real() < 1.0);
    BOOST_TEST(correlation(white[num_rx], white[num_rx]).real() == 0.0);
    // A signal from elsewhere stands out of the noise by 15 dB more than on any antenna.
    Antennas signal(num_rx + 1, length);
    for (int n = 0; n < length; ++n)
        for (int a = 0; a < num_rx; ++a)
            signal.set(a, n, (a == 2 ? 1e3f : 1.0f) * Complex(std::polar(1.0, 2.3 * a)));
    const std::vector<kaq::AntennaView> sent = signal.views();
    double power = 0, noise_power = 0;
    for (int a = 0; a < num_rx; ++a)
        noise_power += correlation(white[a], white[a]).real();
    const std::span<const kaq::AntennaView> received = whitening.whiten(sent, views, 0);
    for (int a = 0; a < num_rx; ++a)
        power += correlation(received[a], received[a]).real();
    BOOST_TEST(power / noise_power > std::pow(10, 1.5) / 101);
}
