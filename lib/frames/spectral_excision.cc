// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/spectral_excision.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "frames/antenna_sums.h"
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

typedef float Lanes __attribute__((vector_size(widest_register)));
typedef float LooseLanes __attribute__((vector_size(widest_register), aligned(4), may_alias));
typedef float Lags __attribute__((vector_size(4 * num_lags)));
typedef float LooseLags __attribute__((vector_size(4 * num_lags), aligned(4), may_alias));

// The autocorrelation: sums of conj(sample) times the one `lag` later, over the first `count` samples, an even number.
KAQ_EACH_PROCESSOR void correlate_lags(const float *re, const float *im, int count, Lags &sum_re, Lags &sum_im) {
    Lags re_re[2] = {}, im_im[2] = {}, re_im[2] = {}, im_re[2] = {};
    for (int n = 0; n < count; n += 2)
#pragma GCC unroll 2
        for (int k = 0; k < 2; ++k) {
            // volatile: GCC would read each twice, and most lie across two cache lines
            const Lags x = *reinterpret_cast<const volatile LooseLags *>(re + n + k),
                       y = *reinterpret_cast<const volatile LooseLags *>(im + n + k);
            re_re[k] += re[n + k] * x;
            im_im[k] += im[n + k] * y;
            re_im[k] += re[n + k] * y;
            im_re[k] += im[n + k] * x;
        }
    sum_re = (re_re[0] + re_re[1]) + (im_im[0] + im_im[1]);
    sum_im = (re_im[0] + re_im[1]) - (im_re[0] + im_re[1]);
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

// exp(2 pi i k j / num_bins), [k][j], and Hann's window over the lags k, where all but the first count twice.
struct Tables {
    alignas(64) float cosine[num_lags][num_bins], sine[num_lags][num_bins], window[num_lags];

    Tables() {
        for (int k = 0; k < num_lags; ++k) {
            window[k] = static_cast<float>((k ? 1 : 0.5) * (1 + std::cos(std::numbers::pi * k / num_lags)));
            for (int j = 0; j < num_bins; ++j) {
                const double angle = 2 * std::numbers::pi * (k * j % num_bins) / num_bins;
                cosine[k][j] = static_cast<float>(std::cos(angle));
                sine[k][j] = static_cast<float>(std::sin(angle));
            }
        }
    }
};

const Tables tables;

// Of an autocorrelation. Returns the greatest.
KAQ_EACH_PROCESSOR float transform(const Lags &re, const Lags &im, float *spectrum) {
    const Lags window = *reinterpret_cast<const LooseLags *>(tables.window), x = re * window, y = im * window;
    constexpr int parts = num_bins / num_lags;
    Lags by_re[parts] = {}, by_im[parts] = {};
#pragma GCC unroll 16
    for (int k = 0; k < num_lags; ++k)
#pragma GCC unroll 2
        for (int part = 0; part < parts; ++part) {
            by_re[part] += x[k] * *reinterpret_cast<const LooseLags *>(&tables.cosine[k][part * num_lags]);
            by_im[part] += y[k] * *reinterpret_cast<const LooseLags *>(&tables.sine[k][part * num_lags]);
        }
    Lags greatest = by_re[0] + by_im[0];
    for (int part = 0; part < parts; ++part) {
        const Lags sum = by_re[part] + by_im[part];
        *reinterpret_cast<LooseLags *>(spectrum + part * num_lags) = sum;
        greatest = sum > greatest ? sum : greatest;
    }
    float most = greatest[0];
    for (int j = 1; j < num_lags; ++j)
        most = std::max(most, greatest[j]);
    return most;
}

KAQ_EACH_PROCESSOR int count_below(const float *spectrum, float limit) {
    int count = 0;
    for (int j = 0; j < num_bins; ++j)
        count += spectrum[j] < limit;
    return count;
}

// Less what is usual.
KAQ_EACH_PROCESSOR void subtract(const AntennaView &samples, float usual_re, float usual_im, float *re, float *im) {
    const float *x = samples.re.data(), *y = samples.im.data();
    for (int n = 0; n < samples.size(); ++n) {
        re[n] = x[n] - usual_re;
        im[n] = y[n] - usual_im;
    }
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
                    const std::complex<float> usual = mean(AntennaView(re_, im_).part(reach, block_ - reach));
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
    // without the mean, which no step of the search counts
    const std::complex<float> usual = mean(samples.part(0, block_));
    subtract(samples, usual.real(), usual.imag(), centred_re_.data(), centred_im_.data());
    Lags re, im;
    correlate_lags(centred_re_.data(), centred_im_.data(), block_, re, im);
    const float greatest = transform(re, im, spectrum_.data());
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
