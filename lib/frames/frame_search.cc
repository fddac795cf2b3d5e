// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace kaq {
namespace {

// Of exceeding the thresholds in white noise, at one place. Step 1 only keeps step 2 from being busy; together they are
// far below 1e-9 per sample (benchmarks/false_alarms.py).
constexpr double metric_probability = 1e-4, profile_probability = 1e-10;

// The least M of a preamble: -7 dB, where nothing could be decoded. With many antennas, noise stays far below.
constexpr double least_metric = 0.03;

// What preamble and training symbol both have to explain at one delay. At 5 dB and with many paths it is 0.1 at least,
// other training symbols reach 0.06.
constexpr double explained_share = 0.07;

// Of sum_a |C_a| / E_a at the preamble and a length of it before or after, with E_a at the preamble.
constexpr double periodic_contrast = 1.75;

// A path this far below the strongest one, in power, still counts as the first. Band limitation smears a path over its
// neighbours, 0.05 of its power one sample early.
constexpr float first_path_share = 0.2f;

constexpr int step_divisor = 4;         // M is looked at every P/4 samples
constexpr int lag_periods = 5;          // of the second estimate of the carrier offset
constexpr std::size_t max_piece = 8192; // samples that are worked on at once: they fit into the cache

constexpr double dead_ratio = 1e-3; // of the other antennas' mean power
constexpr float peak_tolerance = 1e-3f;
constexpr double peak_share = 0.005;

constexpr double turn = 2 * std::numbers::pi;

// As every processor has them.
typedef float Four __attribute__((vector_size(16)));
typedef float LooseFour __attribute__((vector_size(16), aligned(4), may_alias));
typedef std::int32_t FourCounts __attribute__((vector_size(16)));

inline Four four(const float *from) { return *reinterpret_cast<const LooseFour *>(from); }
inline float total(const Four &of) { return (of[0] + of[1]) + (of[2] + of[3]); }

// Sum of term(0) to term(count - 1), in a few partial sums that a processor adds at once.
template <typename Term>
inline double sum(int count, Term term) {
    constexpr int parts = 8;
    double partial[parts] = {};
    int n = 0;
    for (; n + parts <= count; n += parts)
        for (int k = 0; k < parts; ++k)
            partial[k] += term(n + k);
    for (; n < count; ++n)
        partial[0] += term(n);
    double total = 0;
    for (const double each : partial)
        total += each;
    return total;
}

inline double energy(AntennaView of, int count, std::complex<double> without = 0) {
    const double re = without.real(), im = without.imag();
    return sum(count, [=](int n) { return (of.re[n] - re) * (of.re[n] - re) + (of.im[n] - im) * (of.im[n] - im); });
}

inline std::complex<double> mean(AntennaView of, int count) {
    return {sum(count, [=](int n) { return of.re[n]; }) / count, sum(count, [=](int n) { return of.im[n]; }) / count};
}

// With themselves `lag` samples later, their mean taken away.
std::complex<double> self_correlation(AntennaView of, int count, int lag) {
    const std::complex<double> m = mean(of, count);
    const double re = m.real(), im = m.imag();
    const AntennaView later{of.re + lag, of.im + lag};
    return {sum(count - lag,
                [=](int n) { return (of.re[n] - re) * (later.re[n] - re) + (of.im[n] - im) * (later.im[n] - im); }),
            sum(count - lag,
                [=](int n) { return (of.re[n] - re) * (later.im[n] - im) - (of.im[n] - im) * (later.re[n] - re); })};
}

// 0 for an antenna that receives nothing.
inline double inverse(double value) { return value > 0 ? 1 / value : 0; }

// Sums of `window` successive values from each of `count` places on, added to `total`. They are made of sums over 1, 2,
// 4, ... values: nothing accumulates from one window to the next.
void add_windows(std::vector<double> &values, int window, std::vector<double> &total) {
    const std::size_t count = total.size();
    std::size_t size = values.size(), begin = 0;
    for (int length = 1; window; length *= 2) {
        if (window & length) {
            for (std::size_t i = 0; i < count; ++i)
                total[i] += values[begin + i];
            begin += length;
            window -= length;
        }
        if (window) {
            size -= length;
            for (std::size_t i = 0; i < size; ++i)
                values[i] += values[i + length];
        }
    }
}

// exp(-2 pi i offset n)
struct Rotation {
    std::vector<float> re, im;

    Rotation(double offset, int count) : re(count), im(count) {
        const double step_re = std::cos(turn * offset), step_im = -std::sin(turn * offset);
        double now_re = 1, now_im = 0;
        for (int n = 0; n < count; ++n) {
            re[n] = static_cast<float>(now_re);
            im[n] = static_cast<float>(now_im);
            const double next_re = now_re * step_re - now_im * step_im;
            now_im = now_re * step_im + now_im * step_re;
            now_re = next_re;
        }
    }
};

// Correlations with the taps of all streams, [sample][re, im][stream] and each four times: out[re, im][stream][lags],
// for a multiple of 4 lags.
template <int Streams>
void correlate(AntennaView with, const std::vector<float> &taps, int lags, float *out) {
    const int num_taps = static_cast<int>(taps.size()) / (4 * 2 * Streams);
    for (int lag = 0; lag < lags; lag += 4) {
        Four re[Streams] = {}, im[Streams] = {};
        const float *tap = taps.data();
        for (int n = 0; n < num_taps; ++n, tap += 4 * 2 * Streams) {
            const Four x = four(with.re + lag + n), y = four(with.im + lag + n);
            for (int s = 0; s < Streams; ++s) {
                const Four tap_re = four(tap + 4 * s), tap_im = four(tap + 4 * (Streams + s));
                re[s] += tap_re * x + tap_im * y;
                im[s] += tap_re * y - tap_im * x;
            }
        }
        for (int s = 0; s < Streams; ++s) {
            *reinterpret_cast<LooseFour *>(out + s * lags + lag) = re[s];
            *reinterpret_cast<LooseFour *>(out + (Streams + s) * lags + lag) = im[s];
        }
    }
}

void correlate(AntennaView with, const std::vector<float> &taps, int num_streams, int lags, float *out) {
    switch (num_streams) {
    case 1:
        return correlate<1>(with, taps, lags, out);
    case 2:
        return correlate<2>(with, taps, lags, out);
    case 3:
        return correlate<3>(with, taps, lags, out);
    default:
        return correlate<max_streams>(with, taps, lags, out);
    }
}

inline int multiple_of_4(int count) { return (count + 3) / 4 * 4; }

} // namespace

double carrier_offset(const std::vector<AntennaView> &antennas, int count, int period) {
    const int lag = lag_periods * period;
    std::complex<double> near = 0, far = 0;
    for (const AntennaView antenna : antennas) {
        const std::complex<double> m = mean(antenna, count), next = self_correlation(antenna, count, period);
        const double all = energy(antenna, count, m), signal = std::abs(next) * count / (count - period),
                     weight = inverse(std::max(all - signal, 1e-2 * all));
        near += weight * next;
        far += weight * self_correlation(antenna, count, lag);
    }
    const double coarse = std::arg(near) / (turn * period);
    return coarse + std::arg(far * std::polar(1.0, -turn * coarse * lag)) / (turn * lag);
}

FrameSearch::FrameSearch(const FrameLayout &layout, int num_rx, int num_tx, const std::complex<float> *known)
    : layout_(layout), num_tx_(num_tx), step_(layout.period / step_divisor),
      window_(layout.preamble_length() - layout.period), vicinity_(lag_periods * step_divisor),
      lookahead_(2 * layout.preamble_length()), num_lags_(layout.symbol_length() + 1), samples_(num_rx),
      margin_(layout.preamble_length() + num_lags_), last_start_(-layout.frame_length()) {
    metric_threshold_ = std::max(least_metric, -std::log(metric_probability) / (double(window_) * num_rx));
    // Laurent and Massart, "Adaptive estimation of a quadratic functional by model selection", Ann. Stat. 28(5), 2000,
    // lemma 1: P(Gamma(n) > n + sqrt(2 n x) + x) <= exp(-x)
    const double pairs = double(num_rx) * num_tx, exponent = std::log(num_lags_ / profile_probability);
    profile_threshold_ = pairs + std::sqrt(2 * pairs * exponent) + exponent;

    const int preamble_length = layout.preamble_length(), known_length = layout.known_length();
    const auto add_taps = [&](int first, int count, std::vector<float> &to) {
        double energy = 0;
        for (int n = first; n < first + count; ++n) {
            for (int s = 0; s < num_tx; ++s)
                to.insert(to.end(), 4, known[s * known_length + n].real());
            for (int s = 0; s < num_tx; ++s)
                to.insert(to.end(), 4, known[s * known_length + n].imag());
            for (int s = 0; s < num_tx; ++s)
                energy += std::norm(std::complex<double>(known[s * known_length + n])) / num_tx;
        }
        return energy;
    };
    preamble_energy_ = layout.num_periods * add_taps(0, layout.period, preamble_taps_);
    training_energy_ = add_taps(preamble_length, layout.symbol_length(), training_taps_);
    const int training_lags = multiple_of_4(num_lags_), period_lags = training_lags + preamble_length - layout.period;
    by_period_.resize(2 * num_tx * period_lags);
    by_training_.resize(2 * num_tx * training_lags);

    for (Samples &antenna : samples_)
        for (std::vector<float> *part : {&antenna.re, &antenna.im})
            part->resize(margin_);
}

AntennaView FrameSearch::view(int antenna, std::int64_t sample) const {
    const std::int64_t place = margin_ + sample - begin_;
    return {samples_[antenna].re.data() + place, samples_[antenna].im.data() + place};
}

std::vector<AntennaView> FrameSearch::views(std::int64_t sample) const {
    std::vector<AntennaView> all;
    for (int a = 0; a < num_rx(); ++a)
        all.push_back(view(a, sample));
    return all;
}

std::size_t FrameSearch::push(const std::complex<float> *const *antennas, std::size_t count,
                              std::vector<FoundFrame> &found) {
    std::size_t invalid = 0;
    for (std::size_t first = 0; first < count; first += max_piece) {
        invalid += append(antennas, first, std::min(max_piece, count - first));
        measure();
        search();
        complete(found);
        forget();
    }
    return invalid;
}

std::size_t FrameSearch::interrupt() {
    const std::size_t lost = waiting_.size();
    waiting_.clear();
    begin_ = position();
    count_ = 0;
    for (Samples &antenna : samples_)
        for (std::vector<float> *part : {&antenna.re, &antenna.im})
            part->resize(margin_);
    metric_.clear();
    metric_begin_ = next_step_ = (begin_ + step_ - 1) / step_;
    last_start_ = begin_ - layout_.frame_length();
    return lost;
}

std::size_t FrameSearch::append(const std::complex<float> *const *antennas, std::size_t first, std::size_t count) {
    std::size_t invalid = 0;
    for (int a = 0; a < num_rx(); ++a) {
        Samples &to = samples_[a];
        to.re.resize(margin_ + count_ + count);
        to.im.resize(margin_ + count_ + count);
        float *re = to.re.data() + margin_ + count_, *im = to.im.data() + margin_ + count_;
        const float *from = reinterpret_cast<const float *>(antennas[a] + first);
        int bad = 0;
        for (std::size_t n = 0; n < count; ++n) {
            const float x = from[2 * n], y = from[2 * n + 1];
            const bool finite = (x - x) + (y - y) == 0;
            re[n] = finite ? x : 0;
            im[n] = finite ? y : 0;
            bad += !finite;
        }
        invalid += bad;
    }
    count_ += static_cast<std::int64_t>(count);
    return invalid;
}

// M at every step whose samples are there.
void FrameSearch::measure() {
    const int window = window_ / step_, ahead = step_divisor;
    const std::int64_t first = metric_begin_ + static_cast<std::int64_t>(metric_.size()),
                       stop = position() / step_ - window - ahead + 1;
    if (stop <= first)
        return;
    const std::size_t count = stop - first, num_products = count + window - 1, num_steps = num_products + ahead;
    std::vector<double> product_re(num_products), product_im(num_products), squares(num_steps), sum_re(num_steps),
        sum_im(num_steps), combined_re(count), combined_im(count);
    for (int a = 0; a < num_rx(); ++a) {
        for (std::size_t i = 0; i < num_steps; ++i) {
            const AntennaView at = view(a, (first + static_cast<std::int64_t>(i)) * step_);
            const bool with_product = i < num_products;
            const int lag = with_product ? layout_.period : 0;
            Four sums[5] = {};
            for (int n = 0; n < step_; n += 4) {
                const Four x = four(at.re + n), y = four(at.im + n), later_x = four(at.re + n + lag),
                           later_y = four(at.im + n + lag);
                sums[0] += x;
                sums[1] += y;
                sums[2] += x * x + y * y;
                sums[3] += x * later_x + y * later_y;
                sums[4] += x * later_y - y * later_x;
            }
            sum_re[i] = total(sums[0]);
            sum_im[i] = total(sums[1]);
            squares[i] = total(sums[2]);
            if (with_product) {
                product_re[i] = total(sums[3]);
                product_im[i] = total(sums[4]);
            }
        }
        std::vector<double> energy(count + ahead), correlation_re(count), correlation_im(count), mean_re(count + ahead),
            mean_im(count + ahead);
        add_windows(product_re, window, correlation_re);
        add_windows(product_im, window, correlation_im);
        add_windows(squares, window, energy);
        add_windows(sum_re, window, mean_re);
        add_windows(sum_im, window, mean_im);
        // Where nearly everything is the mean, rounding is what remains
        for (std::size_t i = 0; i < count + ahead; ++i) {
            const double of_mean = (mean_re[i] * mean_re[i] + mean_im[i] * mean_im[i]) / window_;
            energy[i] = std::max(energy[i] - of_mean, 1e-5 * energy[i]);
        }
        constexpr double least = std::numeric_limits<float>::min();
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t later = i + ahead;
            const double re = mean_re[i] * mean_re[later] + mean_im[i] * mean_im[later],
                         im = mean_re[i] * mean_im[later] - mean_im[i] * mean_re[later],
                         scale = 1 / (std::max(std::max(energy[i], energy[later]), least) * num_rx());
            combined_re[i] += (correlation_re[i] - re / window_) * scale;
            combined_im[i] += (correlation_im[i] - im / window_) * scale;
        }
    }
    for (std::size_t i = 0; i < count; ++i)
        metric_.push_back(combined_re[i] * combined_re[i] + combined_im[i] * combined_im[i]);
}

// Look at the places for which enough samples are there.
void FrameSearch::search() {
    if (position() < lookahead_)
        return;
    for (const std::int64_t stop = (position() - lookahead_) / step_ + 1; next_step_ < stop; ++next_step_)
        if (const double metric = metric_[next_step_ - metric_begin_]; metric > metric_threshold_)
            if (is_peak(next_step_))
                examine(next_step_ * step_, metric);
}

// Greater than all before, so that of equal ones there is one.
bool FrameSearch::is_peak(std::int64_t step) const {
    const std::int64_t place = step - metric_begin_, count = static_cast<std::int64_t>(metric_.size());
    const double here = metric_[place];
    for (std::int64_t i = std::max<std::int64_t>(0, place - vicinity_); i < place; ++i)
        if (metric_[i] >= here)
            return false;
    for (std::int64_t i = place + 1; i <= std::min(place + vicinity_, count - 1); ++i)
        if (metric_[i] > here)
            return false;
    return true;
}

// Step 2, around `place`.
void FrameSearch::examine(std::int64_t place, double metric) {
    if (!is_preamble(place))
        return;
    const int length = layout_.preamble_length();
    double offset = carrier_offset(views(place), length, layout_.period);
    const std::optional<std::int64_t> found = compare(place - num_lags_ / 2, offset);
    if (!found || *found < last_start_ + length / 2) // the same again
        return;
    // starts are not exact
    const bool overlapping = *found < last_start_ + layout_.frame_length() - layout_.cp_length;
    if (*found != place)
        offset = carrier_offset(views(*found), length, layout_.period);
    waiting_.push_back({*found, offset, std::min(metric, 1.0), overlapping});
    last_start_ = *found;
}

// Whether more is periodic here than a preamble's length before or after.
bool FrameSearch::is_preamble(std::int64_t place) const {
    const int length = layout_.preamble_length();
    double periodic[3] = {}; // before, here, after
    for (int a = 0; a < num_rx(); ++a) {
        const AntennaView here = view(a, place);
        const double weight = inverse(energy(here, length, mean(here, length)));
        for (int k = 0; k < 3; ++k)
            periodic[k] +=
                weight * std::abs(self_correlation(view(a, place + (k - 1) * length), length, layout_.period));
    }
    const bool begins = place - length < begin_; // the stream, so that nothing is earlier
    return periodic[1] > periodic_contrast * (begins ? periodic[2] : std::min(periodic[0], periodic[2]));
}

// Where from sample `first` on a frame with this carrier offset begins.
std::optional<std::int64_t> FrameSearch::compare(std::int64_t first, double offset) {
    const int known_length = layout_.known_length(), segment_length = known_length + multiple_of_4(num_lags_);
    const Rotation rotation(offset, segment_length);
    std::vector<float> re(segment_length), im(segment_length);
    Profile profile;
    for (std::vector<float> *part : {&profile.preamble, &profile.training, &profile.both})
        part->resize(num_lags_);
    for (int a = 0; a < num_rx(); ++a) {
        const AntennaView all = view(a, first), known = view(a, first + num_lags_ / 2);
        const std::complex<double> offset_at_0 = mean(known, known_length);
        const double scale = std::sqrt(known_length * inverse(energy(known, known_length)));
        for (int n = 0; n < known_length + num_lags_ - 1; ++n) {
            const float x = static_cast<float>((all.re[n] - offset_at_0.real()) * scale),
                        y = static_cast<float>((all.im[n] - offset_at_0.imag()) * scale);
            re[n] = x * rotation.re[n] - y * rotation.im[n];
            im[n] = x * rotation.im[n] + y * rotation.re[n];
        }
        add_correlations({re.data(), im.data()}, profile);
    }
    const double pairs = double(num_rx()) * num_tx_, most = double(known_length) * num_rx();
    const auto explained = [&](float squares, double energy) { return (squares / energy - pairs) / (energy * most); };
    double most_explained = 0, greatest = 0;
    for (int lag = 0; lag < num_lags_; ++lag) {
        most_explained = std::max(most_explained, std::min(explained(profile.preamble[lag], preamble_energy_),
                                                           explained(profile.training[lag], training_energy_)));
        greatest = std::max(greatest, double(profile.both[lag]));
    }
    if (!(most_explained > explained_share && greatest > profile_threshold_))
        return std::nullopt;
    return first + first_path(profile);
}

// One period serves for the whole preamble.
void FrameSearch::add_correlations(AntennaView segment, Profile &profile) {
    const int lags = multiple_of_4(num_lags_), preamble_length = layout_.preamble_length(),
              period_lags = lags + preamble_length - layout_.period;
    correlate(segment, preamble_taps_, num_tx_, period_lags, by_period_.data());
    correlate({segment.re + preamble_length, segment.im + preamble_length}, training_taps_, num_tx_, lags,
              by_training_.data());
    std::vector<float> preamble(2 * lags);
    for (int s = 0; s < num_tx_; ++s) {
        std::fill(preamble.begin(), preamble.end(), 0.0f);
        for (int part = 0; part < 2; ++part)
            for (int k = 0; k < layout_.num_periods; ++k) {
                const float *from = by_period_.data() + (part * num_tx_ + s) * period_lags + k * layout_.period;
                float *to = preamble.data() + part * lags;
                for (int lag = 0; lag < lags; ++lag)
                    to[lag] += from[lag];
            }
        const float *preamble_re = preamble.data(), *preamble_im = preamble_re + lags,
                    *training_re = by_training_.data() + s * lags, *training_im = training_re + num_tx_ * lags;
        for (int lag = 0; lag < num_lags_; ++lag) {
            const float re = preamble_re[lag] + training_re[lag], im = preamble_im[lag] + training_im[lag];
            profile.preamble[lag] += preamble_re[lag] * preamble_re[lag] + preamble_im[lag] * preamble_im[lag];
            profile.training[lag] += training_re[lag] * training_re[lag] + training_im[lag] * training_im[lag];
            profile.both[lag] += re * re + im * im;
        }
    }
}

// Where the paths begin: the first that counts, in the window that holds most of their power. The window is as long as
// the part of the cyclic prefix that is left behind `timing_advance`.
int FrameSearch::first_path(const Profile &profile) const {
    const int length = layout_.cp_length - layout_.timing_advance;
    int first = 0;
    double most = 0;
    for (int begin = 0; begin + length <= num_lags_; ++begin) {
        double power = 0;
        for (int lag = begin; lag < begin + length; ++lag)
            power += profile.both[lag];
        if (power > most) {
            most = power;
            first = begin;
        }
    }
    // what noise brings in is taken away
    const float noise = static_cast<float>(num_rx() * num_tx_ * training_energy_);
    const float *paths = profile.training.data() + first;
    const float least = first_path_share * (*std::max_element(paths, paths + length) - noise);
    for (int lag = 0; lag < length; ++lag)
        if (paths[lag] - noise >= least)
            return first + lag;
    return first;
}

// The frames whose last window is there.
void FrameSearch::complete(std::vector<FoundFrame> &found) {
    const int length = layout_.frame_length() - layout_.timing_advance;
    for (; !waiting_.empty() && waiting_.front().start + length <= position(); waiting_.pop_front()) {
        const Detection &from = waiting_.front();
        FoundFrame &frame =
            found.emplace_back(FoundFrame{from.start, from.carrier_offset, from.metric, from.overlapping, {}, {}, {}});
        find_faults(frame);
        cut_windows(frame);
    }
}

// Which antennas are dead and which saturated.
void FrameSearch::find_faults(FoundFrame &frame) const {
    const int length = layout_.frame_length() - layout_.timing_advance;
    std::vector<double> power;
    for (int a = 0; a < num_rx(); ++a) {
        const AntennaView samples = view(a, frame.start);
        // squares of real part, imaginary part and magnitude
        const auto visit = [&](auto visitor) {
            for (int n = 0; n < length; n += 4) {
                const Four x = four(samples.re + n), y = four(samples.im + n);
                visitor(Four{x * x}, Four{y * y}, Four{x * x + y * y});
            }
        };
        Four sum{}, greatest[3] = {};
        visit([&](Four re, Four im, Four both) {
            sum += both;
            const Four squares[] = {re, im, both};
            for (int k = 0; k < 3; ++k)
                greatest[k] = squares[k] > greatest[k] ? squares[k] : greatest[k];
        });
        power.push_back((double(sum[0]) + sum[1] + sum[2] + sum[3]) / length);
        float least[3];
        for (int k = 0; k < 3; ++k)
            least[k] = (1 - peak_tolerance) * (1 - peak_tolerance) *
                       std::max({greatest[k][0], greatest[k][1], greatest[k][2], greatest[k][3]});
        FourCounts counts[3] = {};
        visit([&](Four re, Four im, Four both) {
            const Four squares[] = {re, im, both};
            for (int k = 0; k < 3; ++k)
                counts[k] -= squares[k] >= least[k];
        });
        bool saturated = false;
        for (const FourCounts &count : counts)
            saturated |= count[0] + count[1] + count[2] + count[3] >= peak_share * length;
        frame.saturated.push_back(saturated);
    }
    double all = 0;
    for (const double each : power)
        all += each;
    for (int a = 0; a < num_rx(); ++a) {
        const double others = (all - power[a]) / std::max(1, num_rx() - 1);
        frame.dead.push_back(power[a] == 0 || power[a] < dead_ratio * others);
        frame.saturated[a] &= !frame.dead[a];
    }
}

void FrameSearch::cut_windows(FoundFrame &frame) const {
    const int size = layout_.fft_size;
    frame.windows.resize(static_cast<std::size_t>(layout_.num_symbols) * num_rx() * size);
    const Rotation rotation(frame.carrier_offset, size);
    std::vector<float> turn_re(size), turn_im(size);
    float *to = reinterpret_cast<float *>(frame.windows.data());
    for (int symbol = 0; symbol < layout_.num_symbols; ++symbol) {
        const int begin =
            layout_.preamble_length() + symbol * layout_.symbol_length() + layout_.cp_length - layout_.timing_advance;
        const std::complex<float> start(std::polar(1.0, -turn * frame.carrier_offset * begin));
        for (int n = 0; n < size; ++n) {
            turn_re[n] = start.real() * rotation.re[n] - start.imag() * rotation.im[n];
            turn_im[n] = start.real() * rotation.im[n] + start.imag() * rotation.re[n];
        }
        for (int a = 0; a < num_rx(); ++a, to += 2 * size) {
            const AntennaView from = view(a, frame.start + begin);
            for (int n = 0; n < size; ++n) {
                to[2 * n] = from.re[n] * turn_re[n] - from.im[n] * turn_im[n];
                to[2 * n + 1] = from.re[n] * turn_im[n] + from.im[n] * turn_re[n];
            }
        }
    }
}

// Drop what nothing needs any more.
void FrameSearch::forget() {
    std::int64_t needed = next_step_ * step_ - layout_.preamble_length();
    if (!waiting_.empty())
        needed = std::min(needed, waiting_.front().start);
    if (const std::int64_t drop = needed - begin_; drop > 0) {
        for (Samples &antenna : samples_)
            for (std::vector<float> *part : {&antenna.re, &antenna.im})
                part->erase(part->begin() + margin_, part->begin() + margin_ + drop);
        begin_ += drop;
        count_ -= drop;
    }
    if (const std::int64_t drop = next_step_ - vicinity_ - metric_begin_; drop > 0) {
        metric_.erase(metric_.begin(), metric_.begin() + drop);
        metric_begin_ += drop;
    }
}

} // namespace kaq
