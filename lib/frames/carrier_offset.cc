// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/carrier_offset.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <numbers>

#include "frames/antenna_sums.h"
#include "frames/frame_layout.h"

namespace kaq {
namespace {

constexpr double turn = 2 * std::numbers::pi;

// What of an antenna's energy counts as noise at least: no antenna is so good that the others have no say.
constexpr double least_noise_share = 1e-2;

// Antennas in the ratio of weight(antenna, its mean, what it has in common with itself a period later).
double combined(std::span<const AntennaView> antennas, int period, auto weight) {
    const int lag = lag_periods * period;
    std::complex<double> near = 0, far = 0;
    for (const AntennaView &antenna : antennas) {
        const std::complex<float> usual = mean(antenna);
        const std::complex<double> next = self_correlation(antenna, usual, period);
        const double by = weight(antenna, usual, next);
        near += by * next;
        far += by * self_correlation(antenna, usual, lag);
    }
    const double coarse = std::arg(near) / (turn * period);
    return coarse + std::arg(far * std::polar(1.0, -turn * coarse * lag)) / (turn * lag);
}

} // namespace

double carrier_offset(std::span<const AntennaView> antennas, int period) {
    const auto inverse_noise = [=](const AntennaView &antenna, std::complex<float> usual, std::complex<double> next) {
        const int count = antenna.size();
        const double all = energy(antenna, usual), signal = std::abs(next) * count / (count - period);
        return inverse(std::max(all - signal, least_noise_share * all));
    };
    return combined(antennas, period, inverse_noise);
}

double carrier_offset_of_white(std::span<const AntennaView> antennas, int period) {
    return combined(antennas, period, [](auto...) { return 1.0; });
}

void period_difference(const AntennaView &antenna, int period, double offset, std::span<float> re,
                       std::span<float> im) {
    const std::complex<float> turned(std::polar(1.0, -turn * offset * period));
    const float c = turned.real(), s = turned.imag();
    const std::size_t count = antenna.re.size() - period;
    KAQ_ASSERT(re.size() == count && im.size() == count);
    for (std::size_t n = 0; n < count; ++n) {
        const float x = antenna.re[n + period], y = antenna.im[n + period];
        re[n] = c * x - s * y - antenna.re[n];
        im[n] = c * y + s * x - antenna.im[n];
    }
}

void fill_rotation(double offset, std::span<float> re, std::span<float> im) {
    KAQ_ASSERT(re.size() == im.size());
    const double step_re = std::cos(turn * offset), step_im = -std::sin(turn * offset);
    double now_re = 1, now_im = 0;
    for (std::size_t n = 0; n < re.size(); ++n) {
        re[n] = static_cast<float>(now_re);
        im[n] = static_cast<float>(now_im);
        const double next_re = now_re * step_re - now_im * step_im;
        now_im = now_re * step_im + now_im * step_re;
        now_re = next_re;
    }
}

} // namespace kaq
