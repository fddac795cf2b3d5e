// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/antenna_whitening.h"

#include <algorithm>
#include <cmath>

#include "frames/antenna_sums.h"
#include "support/hermitian.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

// What of an antenna's power counts as noise at least: no antenna is so good that the others have no say.
constexpr double least_noise_share = 1e-2;

KAQ_EACH_PROCESSOR void scale(const AntennaView &samples, float by, float *re, float *im) {
    const float *x = samples.re.data(), *y = samples.im.data();
    for (int n = 0; n < samples.size(); ++n) {
        re[n] = x[n] * by;
        im[n] = y[n] * by;
    }
}

// row -= factor * other.
KAQ_EACH_PROCESSOR void subtract(const float *other_re, const float *other_im, std::complex<float> factor, int count,
                                 float *re, float *im) {
    const float x = factor.real(), y = factor.imag();
    for (int n = 0; n < count; ++n) {
        re[n] -= x * other_re[n] - y * other_im[n];
        im[n] -= x * other_im[n] + y * other_re[n];
    }
}

// Sum of one times the conjugate of the other, means taken away.
KAQ_EACH_PROCESSOR Complex covariance(const AntennaView &one, const AntennaView &other) {
    const float *x = one.re.data(), *y = one.im.data(), *u = other.re.data(), *v = other.im.data();
    const Complex of_means = Complex(mean(one)) * std::conj(Complex(mean(other))) * double(one.size());
    return Complex(sum(one.size(), [=](int n) { return x[n] * u[n] + y[n] * v[n]; }),
                   sum(one.size(), [=](int n) { return y[n] * u[n] - x[n] * v[n]; })) -
           of_means;
}

} // namespace

AntennaWhitening::AntennaWhitening(int num_rx, int length)
    : length_(length), values_(2 * num_rx * length_), scale_(num_rx), factor_(std::size_t(num_rx) * num_rx) {
    const std::span<const float> all = values_;
    for (int a = 0; a < num_rx; ++a)
        rows_.emplace_back(all.subspan(2 * a * length_, length_), all.subspan((2 * a + 1) * length_, length_));
}

std::span<const AntennaView> AntennaWhitening::whiten(std::span<const AntennaView> antennas,
                                                      std::span<const AntennaView> noise, int first) {
    const std::size_t num_rx = rows_.size();
    KAQ_ASSERT(antennas.size() == num_rx && noise.size() == num_rx);
    const int count = noise[0].size();
    for (std::size_t a = 0; a < num_rx; ++a) {
        const AntennaView all = antennas[a].part(first, count);
        const double least = least_noise_share * energy(all, mean(all));
        scale_[a] = std::sqrt(count * inverse(energy(noise[a], mean(noise[a])) + least));
    }
    // towards none, the more antennas the samples have to tell apart
    const double correlated = std::max(0.0, 1 - double(num_rx) / count);
    for (std::size_t a = 0; a < num_rx; ++a) {
        for (std::size_t b = 0; b < a; ++b)
            factor_[a * num_rx + b] = covariance(noise[a], noise[b]) * (correlated * scale_[a] * scale_[b] / count);
        factor_[a * num_rx + a] = 1;
    }
    const bool is_finite = cholesky(factor_, num_rx);
    const auto re = [&](std::size_t a) { return values_.data() + 2 * a * length_; };
    const auto im = [&](std::size_t a) { return re(a) + length_; };
    for (std::size_t a = 0; a < num_rx; ++a) {
        KAQ_ASSERT(antennas[a].re.size() == length_);
        scale(antennas[a], static_cast<float>(scale_[a]), re(a), im(a));
        if (!is_finite)
            continue;
        for (std::size_t b = 0; b < a; ++b)
            subtract(re(b), im(b), std::complex<float>(factor_[a * num_rx + b]), static_cast<int>(length_), re(a),
                     im(a));
        scale(rows_[a], static_cast<float>(1 / factor_[a * num_rx + a].real()), re(a), im(a));
    }
    return rows_;
}

} // namespace kaq
