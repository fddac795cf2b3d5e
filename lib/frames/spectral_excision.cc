// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/spectral_excision.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "frames/antenna_sums.h"
#include "frames/four_lanes.h"
#include "support/complex_product.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

// Of the spectrum over its median: what is above is interference. A tone that stays below has a fourth of a frame's
// power at most, and does not hide its preamble.
constexpr float standing_out = 4;

// By how much it is cut down at most, in amplitude. Beneath something louder there is no frame to be found.
constexpr float deepest = 1e3;

constexpr int num_lags = SpectralExcision::num_lags, num_bins = SpectralExcision::num_bins;
constexpr int lanes = widest_register / 4;
constexpr int lags_at_once = 4;

typedef float Lanes __attribute__((vector_size(widest_register)));
typedef float LooseLanes __attribute__((vector_size(widest_register), aligned(4), may_alias));

[[gnu::always_inline]] inline float total_of_lanes(const Lanes &of) {
    const float *values = reinterpret_cast<const float *>(&of);
    Four sum = four(values);
    for (int i = 4; i < lanes; i += 4)
        sum += four(values + i);
    return total(sum);
}

// Sums of conj(sample) times the one `lag` later, over the first `count` samples.
KAQ_EACH_PROCESSOR void correlate_lags(const float *re, const float *im, int count, float *sum_re, float *sum_im) {
    for (int lag = 0; lag < num_lags; lag += lags_at_once) {
        Lanes by_re[lags_at_once] = {}, by_im[lags_at_once] = {};
        for (int n = 0; n < count; n += lanes) {
            const Lanes x = *reinterpret_cast<const LooseLanes *>(re + n),
                        y = *reinterpret_cast<const LooseLanes *>(im + n);
#pragma GCC unroll 4
            for (int k = 0; k < lags_at_once; ++k) {
                const Lanes later_x = *reinterpret_cast<const LooseLanes *>(re + n + lag + k),
                            later_y = *reinterpret_cast<const LooseLanes *>(im + n + lag + k);
                by_re[k] += x * later_x + y * later_y;
                by_im[k] += x * later_y - y * later_x;
            }
        }
        for (int k = 0; k < lags_at_once; ++k) {
            sum_re[lag + k] = total_of_lanes(by_re[k]);
            sum_im[lag + k] = total_of_lanes(by_im[k]);
        }
    }
}

// Samples times taps, the first of which belongs to the first sample of all.
KAQ_EACH_PROCESSOR void filter(const float *re, const float *im, const float *taps_re, const float *taps_im,
                               int num_taps, int count, float *out_re, float *out_im) {
    for (int n = 0; n < count; n += lanes) {
        Lanes re_re = {}, im_im = {}, re_im = {}, im_re = {};
        for (int k = 0; k < num_taps; ++k) {
            const Lanes x = *reinterpret_cast<const LooseLanes *>(re + n + k),
                        y = *reinterpret_cast<const LooseLanes *>(im + n + k);
            re_re += taps_re[k] * x;
            im_im += taps_im[k] * y;
            re_im += taps_re[k] * y;
            im_re += taps_im[k] * x;
        }
        *reinterpret_cast<LooseLanes *>(out_re + n) = re_re - im_im;
        *reinterpret_cast<LooseLanes *>(out_im + n) = re_im + im_re;
    }
}

// exp(2 pi i k j / num_bins), [k][j], and Hann's window over the lags k.
struct Tables {
    float cosine[num_lags][num_bins], sine[num_lags][num_bins], window[num_lags];

    Tables() {
        for (int k = 0; k < num_lags; ++k) {
            window[k] = static_cast<float>(0.5 * (1 + std::cos(std::numbers::pi * k / num_lags)));
            for (int j = 0; j < num_bins; ++j) {
                const double angle = 2 * std::numbers::pi * (k * j % num_bins) / num_bins;
                cosine[k][j] = static_cast<float>(std::cos(angle));
                sine[k][j] = static_cast<float>(std::sin(angle));
            }
        }
    }
};

const Tables tables;

KAQ_EACH_PROCESSOR void transform(const float *re, const float *im, float *spectrum) {
    for (int j = 0; j < num_bins; ++j)
        spectrum[j] = re[0];
    for (int k = 1; k < num_lags; ++k) {
        const float x = 2 * re[k] * tables.window[k], y = 2 * im[k] * tables.window[k];
        for (int j = 0; j < num_bins; ++j)
            spectrum[j] += x * tables.cosine[k][j] + y * tables.sine[k][j];
    }
}

KAQ_EACH_PROCESSOR int count_below(const float *spectrum, float limit) {
    int count = 0;
    for (int j = 0; j < num_bins; ++j)
        count += spectrum[j] < limit;
    return count;
}

} // namespace

void SpectralExcision::update(const SampleHistory &from, SampleHistory &to) {
    for (; to.position() + block_ + reach <= from.position(); to.finish(block_))
        for (int a = 0; a < num_rx_; ++a) {
            AntennaView block = from.view(a, to.position(), block_);
            if (stands_out(from.view(a, to.position(), block_ + reach))) {
                const AntennaView around = from.view(a, to.position() - reach, block_ + 2 * reach);
                filter(around.re.data(), around.im.data(), taps_re_.data(), taps_im_.data(), 2 * reach + 1, block_,
                       re_.data(), im_.data());
                if (to.begin() == to.position()) { // what is before is not known
                    const std::complex<float> usual(mean(AntennaView(re_, im_).part(reach, block_ - reach)));
                    std::fill_n(re_.begin(), reach, usual.real());
                    std::fill_n(im_.begin(), reach, usual.imag());
                }
                block = {re_, im_};
            }
            to.append(a, block);
        }
}

// Whether a part of the spectrum is to be cut down; then there is the filter that does it.
bool SpectralExcision::stands_out(const AntennaView &samples) {
    float re[num_lags], im[num_lags];
    correlate_lags(samples.re.data(), samples.im.data(), block_, re, im);
    // Without the mean, which no step of the search counts. `later` is the sum of the later factors.
    const std::complex<double> mean = kaq::mean(samples.part(0, block_));
    std::complex<double> later = mean * double(block_);
    for (int k = 0; k < num_lags; ++k) {
        const std::complex<double> of_mean = std::conj(mean) * later;
        re[k] -= static_cast<float>(of_mean.real());
        im[k] -= static_cast<float>(of_mean.imag());
        if (k < reach)
            later +=
                std::complex<double>(samples.re[block_ + k] - samples.re[k], samples.im[block_ + k] - samples.im[k]);
    }
    transform(re, im, spectrum_.data());
    const float greatest = *std::max_element(spectrum_.begin(), spectrum_.end());
    if (!std::isfinite(greatest) || count_below(spectrum_.data(), greatest / standing_out) <= num_bins / 2)
        return false;
    sorted_ = spectrum_;
    std::nth_element(sorted_.begin(), sorted_.begin() + num_bins / 2, sorted_.end());
    const float most = standing_out * std::max(sorted_[num_bins / 2], 0.0f);
    for (float &each : spectrum_)
        each = std::clamp(each / most, 1.0f, deepest);
    make_taps();
    return true;
}

// A filter whose frequency response is the inverse of the spectrum, with no delay: the prediction error filter forwards
// and backwards. It has its zeros where a tone is, wherever that lies between the bins.
void SpectralExcision::make_taps() {
    Complex correlation[num_lags], filter[num_lags] = {1}, before[num_lags];
    for (int k = 0; k < num_lags; ++k)
        for (int j = 0; j < num_bins; ++j)
            correlation[k] += Complex(tables.cosine[k][j], tables.sine[k][j]) * double(spectrum_[j] / num_bins);
    double error = correlation[0].real();
    for (int order = 1; order < num_lags; ++order) { // Levinson's recursion
        Complex sum = 0;
        for (int k = 0; k < order; ++k)
            sum += product(filter[k], correlation[order - k]);
        const Complex reflection = -sum / error;
        std::copy_n(filter, order, before);
        for (int k = 1; k <= order; ++k)
            filter[k] += product(reflection, std::conj(before[order - k]));
        error *= 1 - std::norm(reflection);
    }
    for (int shift = 0; shift < num_lags; ++shift) {
        Complex tap = 0;
        for (int k = 0; k + shift < num_lags; ++k)
            tap += product(filter[k + shift], std::conj(filter[k]));
        taps_re_[reach - shift] = taps_re_[reach + shift] = static_cast<float>(tap.real() / error);
        taps_im_[reach - shift] = static_cast<float>(tap.imag() / error);
        taps_im_[reach + shift] = -taps_im_[reach - shift];
    }
}

} // namespace kaq
