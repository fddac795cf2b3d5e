// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/known_correlation.h"

#include <algorithm>
#include <cmath>

#include "frames/antenna_sums.h"
#include "frames/carrier_offset.h"
#include "support/processors.h"

namespace kaq {
namespace {

// Of exceeding the threshold in white noise, at any lag around one place.
constexpr double false_alarm_probability = 1e-10;

// What preamble and training symbol both have to explain at one delay. At 5 dB and with many paths it is 0.1 at least,
// other training symbols reach 0.06.
constexpr double explained_share = 0.07;

// Of a part: what explains as much is the frame, whichever other carrier offset its preamble may have. Of one that is
// off by what a period cannot tell, 0.1 may be explained.
constexpr double sure_share = 0.3;

// Of M: from an SNR of -3 dB on. Below, most places are noise, which is not worth three comparisons.
constexpr double clear_metric = 0.1;

// Of a period's length: what a preamble explains of one that is shifted by a few carriers, at an M of 1. With 64
// carriers the strongest path of a frame explains 0.28 M at least; what is off by more than all offsets that are
// compared, 0.15.
constexpr double sidelobes = 3.5;

// A path this far below the strongest one, in power, still counts as the first. Band limitation smears a path over its
// neighbours, 0.05 of its power one sample early.
constexpr float first_path_share = 0.2f;

constexpr int lags_at_once = widest_register / 4;

typedef float LagLanes __attribute__((vector_size(4 * lags_at_once)));
typedef float LooseLagLanes __attribute__((vector_size(4 * lags_at_once), aligned(4), may_alias));

template <int Streams>
[[gnu::always_inline]] inline void correlate(const float *samples_re, const float *samples_im, const float *taps,
                                             int num_taps, int lags, float *out) {
    for (int lag = 0; lag < lags; lag += lags_at_once) {
        LagLanes re[Streams] = {}, im[Streams] = {};
        const float *tap = taps;
        for (int n = 0; n < num_taps; ++n, tap += 2 * Streams) {
            const LagLanes x = *reinterpret_cast<const LooseLagLanes *>(samples_re + lag + n),
                           y = *reinterpret_cast<const LooseLagLanes *>(samples_im + lag + n);
#pragma GCC unroll 8
            for (int s = 0; s < Streams; ++s) {
                re[s] += tap[s] * x;
                re[s] += tap[Streams + s] * y;
                im[s] += tap[s] * y;
                im[s] -= tap[Streams + s] * x;
            }
        }
        for (int s = 0; s < Streams; ++s) {
            *reinterpret_cast<LooseLagLanes *>(out + s * lags + lag) = re[s];
            *reinterpret_cast<LooseLagLanes *>(out + (Streams + s) * lags + lag) = im[s];
        }
    }
}

// The same for at least so many streams.
template <int Streams>
[[gnu::always_inline]] inline void correlate_from(const float *samples_re, const float *samples_im, const float *taps,
                                                  int num_taps, int num_streams, int lags, float *out) {
    if constexpr (Streams < max_frame_streams)
        if (num_streams > Streams)
            return correlate_from<Streams + 1>(samples_re, samples_im, taps, num_taps, num_streams, lags, out);
    correlate<Streams>(samples_re, samples_im, taps, num_taps, lags, out);
}

// Correlations with the taps of all streams, [sample][re, im][stream]: out[re, im][stream][lags].
KAQ_EACH_PROCESSOR void correlate(const float *samples_re, const float *samples_im, const float *taps, int num_taps,
                                  int num_streams, int lags, float *out) {
    correlate_from<1>(samples_re, samples_im, taps, num_taps, num_streams, lags, out);
}

void correlate(const AntennaView &with, const std::vector<float> &taps, int num_streams, int lags,
               std::span<float> out) {
    const int num_taps = static_cast<int>(taps.size()) / (2 * num_streams);
    KAQ_ASSERT(with.size() >= lags + num_taps - 1);
    KAQ_ASSERT(lags % lags_at_once == 0 && out.size() == static_cast<std::size_t>(2 * num_streams * lags));
    correlate(with.re.data(), with.im.data(), taps.data(), num_taps, num_streams, lags, out.data());
}

// Squares of a correlation at each lag. Imaginary parts are so far behind the real ones.
KAQ_EACH_PROCESSOR void add_squares(const float *values, int to_imaginary, int count, float *squares) {
    for (int lag = 0; lag < count; ++lag) {
        const float x = values[lag], y = values[to_imaginary + lag];
        squares[lag] += x * x + y * y;
    }
}

// And of the sum of two.
KAQ_EACH_PROCESSOR void add_squares_of_sum(const float *one, const float *other, int to_imaginary, int count,
                                           float *squares) {
    for (int lag = 0; lag < count; ++lag) {
        const float x = one[lag] + other[lag], y = one[to_imaginary + lag] + other[to_imaginary + lag];
        squares[lag] += x * x + y * y;
    }
}

// Sums of samples that are whole periods apart: so many, from each of `count` samples on.
KAQ_EACH_PROCESSOR void add_periods(const float *samples, int period, int num_periods, int count, float *sums) {
    std::copy_n(samples, count, sums);
    for (int k = 1; k < num_periods; ++k)
        for (int n = 0; n < count; ++n)
            sums[n] += samples[k * period + n];
}

int padded(int lags) { return (lags + lags_at_once - 1) / lags_at_once * lags_at_once; }

// What Q exceeds with this probability at one of `num_lags` lags of white noise.
double noise_threshold(double pairs, int num_lags, double probability) {
    // Laurent and Massart, "Adaptive estimation of a quadratic functional by model selection", Ann. Stat. 28(5), 2000,
    // lemma 1: P(Gamma(n) > n + sqrt(2 n x) + x) <= exp(-x)
    const double exponent = std::log(num_lags / probability);
    return pairs + std::sqrt(2 * pairs * exponent) + exponent;
}

// Columns of `known` as taps. Returns their energy, the mean of all streams.
double make_taps(ArrayView<const std::complex<float>, 2> known, int first, int count, std::vector<float> &taps) {
    const int num_tx = static_cast<int>(known.extent(0));
    double energy = 0;
    for (int n = first; n < first + count; ++n) {
        for (int s = 0; s < num_tx; ++s)
            taps.push_back(known(s, n).real());
        for (int s = 0; s < num_tx; ++s)
            taps.push_back(known(s, n).imag());
        for (int s = 0; s < num_tx; ++s)
            energy += std::norm(std::complex<double>(known(s, n))) / num_tx;
    }
    return energy;
}

} // namespace

KnownCorrelation::KnownCorrelation(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known)
    : layout_(layout), num_rx_(num_rx), num_tx_(static_cast<int>(known.extent(0))),
      num_lags_(layout.symbol_length() + 1), padded_lags_(padded(num_lags_)),
      threshold_(noise_threshold(double(num_rx) * num_tx_, num_lags_, false_alarm_probability)) {
    KAQ_ASSERT(num_tx_ >= 1 && num_tx_ <= max_frame_streams);
    KAQ_ASSERT(known.extent(1) == static_cast<std::size_t>(layout.known_length()));
    const int preamble_length = layout.preamble_length(), segment_length = layout.known_length() + padded_lags_;
    preamble_energy_ = layout.num_periods * make_taps(known, 0, layout.period, preamble_taps_);
    training_energy_ = make_taps(known, preamble_length, layout.symbol_length(), training_taps_);
    for (std::vector<float> *part : {&rotation_re_, &rotation_im_})
        part->resize(segment_length);
    samples_.resize(2 * num_rx * segment_length);
    const std::span<const float> all = samples_;
    for (int i = 0; i < 2 * num_rx; i += 2)
        segments_.emplace_back(all.subspan(i * segment_length, segment_length),
                               all.subspan((i + 1) * segment_length, segment_length));
    for (std::vector<float> *part : {&folded_re_, &folded_im_})
        part->resize(padded_lags_ + layout.period);
    by_training_.resize(2 * num_tx_ * padded_lags_);
    preamble_.resize(num_rx * by_training_.size());
    for (std::vector<float> *part : {&with_preamble_, &with_training_, &with_both_})
        part->resize(num_lags_);
}

std::optional<KnownCorrelation::Start> KnownCorrelation::find_start(std::span<const AntennaView> antennas,
                                                                    double offset, int missing, double metric) {
    KAQ_ASSERT(antennas.size() == static_cast<std::size_t>(num_rx_));
    const double least_explained = std::max(explained_share, sidelobes / layout_.period * metric);
    const double scale = scale_of(antennas);
    std::optional<Start> best;
    double most_explained = 0;
    for (const int turns : {0, 1, -1}) { // the usual one first, so that it is the only one
        if (turns != 0 && (metric < clear_metric || most_explained > sure_share))
            break;
        const double other = offset + static_cast<double>(turns) / layout_.period;
        rotate(antennas, scale, other, missing);
        correlate_preamble();
        if (!preamble_explains(least_explained)) // nor do both parts
            continue;
        correlate_training();
        const double explained = explained_by_both();
        if (explained > std::max(most_explained, least_explained) && exceeds_noise()) {
            most_explained = explained;
            best = {first_path(), other};
        }
    }
    return best;
}

// To a mean power of 1.
double KnownCorrelation::scale_of(std::span<const AntennaView> antennas) const {
    double power = 0; // of all antennas
    for (const AntennaView &antenna : antennas) {
        const AntennaView known = antenna.part(num_lags_ / 2, layout_.known_length());
        power += energy(known, mean(known)) / known.size();
    }
    return std::sqrt(num_rx_ * inverse(power));
}

// No mean at the place in the middle, and no carrier offset. What pads a segment stays 0.
void KnownCorrelation::rotate(std::span<const AntennaView> antennas, double scale, double offset, int missing) {
    fill_rotation(offset, rotation_re_, rotation_im_);
    for (int a = 0; a < num_rx_; ++a) {
        const AntennaView &antenna = antennas[a];
        KAQ_ASSERT(antenna.size() == num_samples());
        const std::complex<float> usual = mean(antenna.part(num_lags_ / 2, layout_.known_length()));
        const float mean_re = usual.real(), mean_im = usual.imag(), by = static_cast<float>(scale);
        const float *from_re = antenna.re.data(), *from_im = antenna.im.data();
        float *re = samples_.data() + 2 * a * rotation_re_.size(), *im = re + rotation_re_.size();
        for (int n = 0; n < antenna.size(); ++n) {
            const float x = (from_re[n] - mean_re) * by, y = (from_im[n] - mean_im) * by;
            re[n] = x * rotation_re_[n] - y * rotation_im_[n];
            im[n] = x * rotation_im_[n] + y * rotation_re_[n];
        }
        std::fill_n(re, missing, 0.0f);
        std::fill_n(im, missing, 0.0f);
    }
}

// What repeats itself is added up first, so that one period is all that is compared.
void KnownCorrelation::correlate_preamble() {
    const int lags = padded_lags_, folded = lags + layout_.period;
    std::fill(with_preamble_.begin(), with_preamble_.end(), 0.0f);
    std::span<float> preamble(preamble_);
    for (const AntennaView &segment : segments_) {
        add_periods(segment.re.data(), layout_.period, layout_.num_periods, folded, folded_re_.data());
        add_periods(segment.im.data(), layout_.period, layout_.num_periods, folded, folded_im_.data());
        correlate({folded_re_, folded_im_}, preamble_taps_, num_tx_, lags, preamble.first(by_training_.size()));
        for (int s = 0; s < num_tx_; ++s)
            add_squares(preamble.data() + s * lags, num_tx_ * lags, num_lags_, with_preamble_.data());
        preamble = preamble.subspan(by_training_.size());
    }
}

void KnownCorrelation::correlate_training() {
    const int lags = padded_lags_, to_imaginary = num_tx_ * lags, preamble_length = layout_.preamble_length();
    for (std::vector<float> *part : {&with_training_, &with_both_})
        std::fill(part->begin(), part->end(), 0.0f);
    const float *preamble = preamble_.data(), *training = by_training_.data();
    for (const AntennaView &segment : segments_) {
        correlate(segment.part(preamble_length, segment.size() - preamble_length), training_taps_, num_tx_, lags,
                  by_training_);
        for (int s = 0; s < num_tx_; ++s) {
            add_squares(training + s * lags, to_imaginary, num_lags_, with_training_.data());
            add_squares_of_sum(preamble + s * lags, training + s * lags, to_imaginary, num_lags_, with_both_.data());
        }
        preamble += by_training_.size();
    }
}

// The share of the power that a part with this energy explains, of which these are the squares at one lag.
double KnownCorrelation::explained(float squares, double energy) const {
    const double pairs = double(num_rx_) * num_tx_, most = double(layout_.known_length()) * num_rx_;
    return (squares / energy - pairs) / (energy * most);
}

// Whether the preamble alone explains more than this share at a lag.
bool KnownCorrelation::preamble_explains(double share) const {
    return explained(*std::max_element(with_preamble_.begin(), with_preamble_.end()), preamble_energy_) > share;
}

// The share of the power that both parts explain at one lag.
double KnownCorrelation::explained_by_both() const {
    double most_explained = 0;
    for (int lag = 0; lag < num_lags_; ++lag)
        most_explained = std::max(most_explained, std::min(explained(with_preamble_[lag], preamble_energy_),
                                                           explained(with_training_[lag], training_energy_)));
    return most_explained;
}

// Whether Q exceeds what noise reaches.
bool KnownCorrelation::exceeds_noise() const {
    return *std::max_element(with_both_.begin(), with_both_.end()) > threshold_;
}

// Where the paths begin: the first that counts, in the window that holds most of their power.
int KnownCorrelation::first_path() const {
    const int length = layout_.delay_window;
    int first = 0;
    double most = 0;
    for (int begin = 0; begin + length <= num_lags_; ++begin) {
        double power = 0;
        for (int lag = begin; lag < begin + length; ++lag)
            power += with_both_[lag];
        if (power > most) {
            most = power;
            first = begin;
        }
    }
    // what noise brings in is taken away
    const float noise = static_cast<float>(num_rx_ * num_tx_ * training_energy_);
    const std::span<const float> paths(with_training_.data() + first, static_cast<std::size_t>(length));
    const float least = first_path_share * (*std::max_element(paths.begin(), paths.end()) - noise);
    for (int lag = 0; lag < length; ++lag)
        if (paths[lag] - noise >= least)
            return first + lag;
    return first;
}

} // namespace kaq
