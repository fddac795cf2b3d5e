// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_track.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "support/assert.h"
#include "support/complex_matrix.h"
#include "support/complex_product.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<float>;

constexpr double turn = 2 * std::numbers::pi;
constexpr double max_age = 4000; // symbols, 160 ms at the reference numerology: what is older says nothing
constexpr int refit = 16;        // frames from one fit of the profile to the next; sooner while there are few
constexpr int profile_frames = 32, noise_frames = 16; // that means are taken over, about
constexpr double max_noise_ratio = 2.5;               // of a frame's noise variance to the track's, either way
constexpr double least_noise = 1e-30;                 // of that of the noisiest antenna
// Squared deviation from what was predicted, over what was expected of it: by how much it may exceed 1 for one pair of
// antennas; for a mean over some, by as much less as it varies less
constexpr double max_surprise = 3;
constexpr double least_match = 0.5; // of a frame with its prediction, for phase and delay to mean something
constexpr int tenths = 10;          // of a symbol, that times over frames are counted in

// Products [count][rows][width] of matrices [count][rows][inner] and [count][inner][width].
template <typename T>
[[gnu::always_inline]] inline void multiply_each(const T *a, const Complex *b, Complex *to, std::size_t count,
                                                 std::size_t rows, std::size_t inner, std::size_t width) {
    for (std::size_t i = 0; i < count; ++i)
        multiply(a + i * rows * inner, b + i * inner * width, to + i * rows * width, rows, inner, width);
}

KAQ_EACH_PROCESSOR void multiply_complex(const Complex *a, const Complex *b, Complex *to, std::size_t count,
                                         std::size_t rows, std::size_t inner, std::size_t width) {
    multiply_each(a, b, to, count, rows, inner, width);
}

KAQ_EACH_PROCESSOR void multiply_real(const float *a, const Complex *b, Complex *to, std::size_t count,
                                      std::size_t rows, std::size_t inner, std::size_t width) {
    multiply_each(a, b, to, count, rows, inner, width);
}

// Adds the product of values [places][num_rx] with their conjugate transpose.
KAQ_EACH_PROCESSOR void add_covariance(const Complex *values, const Complex *conjugate, Complex *to, std::size_t places,
                                       std::size_t num_rx) {
    multiply<true>(values, conjugate, to, places, num_rx, places);
}

// Which antennas receive something that is worth a look: noise above this.
double noise_floor(std::span<const double> noise_var) {
    return least_noise * *std::max_element(noise_var.begin(), noise_var.end());
}

} // namespace

FrameTrack::FrameTrack(TrackedFormat format, int frames, FitProfile fit)
    : format_(std::move(format)), max_past_(frames - 1), fit_(std::move(fit)),
      doppler_(format_.dopplers, format_.training.num_tx), filters_(format_.dopplers), frames_(1),
      phases_(format_.carriers) {
    KAQ_ASSERT(frames >= 1);
}

void FrameTrack::describe(TrackState &state) const {
    state.frames = used_;
    state.carrier_offset = oscillators_.offset() / format_.symbol_length;
    state.delay = delay_;
    state.dopplers.clear();
    state.lines.clear();
    for (const StreamFading &of_stream : doppler_.fading()) {
        state.dopplers.push_back(doppler_.doppler(of_stream.strongest));
        state.lines.push_back(line_shares[of_stream.line]);
    }
}

bool FrameTrack::is_old(const FrameArrival &arrival) const {
    return time_of(arrival.sample) - time_of(frames_[num_past_ - 1].sample) > max_age;
}

bool FrameTrack::is_next(const FrameArrival &arrival) const {
    return arrival.sample > frames_[num_past_ - 1].sample && !is_old(arrival);
}

int FrameTrack::since(const Placed &frame) const {
    return static_cast<int>(std::nearbyint(tenths * time_of(frame.sample - frames_[num_past_].sample)));
}

void FrameTrack::forget(std::size_t count) {
    std::rotate(frames_.begin(), frames_.begin() + static_cast<std::ptrdiff_t>(count), frames_.end());
    num_past_ -= count;
}

// Where a frame is

void FrameTrack::begin(const ObservedFrame &frame, const FrameArrival &arrival) {
    num_past_ = 0;
    count_ = 0;
    surprised_ = false;
    take_noise(frame.noise_var);
    doppler_.begin(frame.doppler);
    const double offset = arrival.carrier_offset * format_.symbol_length + frame.carrier_offset;
    oscillators_.begin(time_of(arrival.sample), -turn * frame.carrier_offset * format_.lead, offset,
                       offset_variance(doppler_.doppler(frame.doppler), frame.snr, num_rx() * format_.training.num_tx));
    Placed &placed = newest();
    placed.sample = arrival.sample;
    placed.training = frame.training;
    placed.phase = placed.offset = placed.delay = 0;
}

bool FrameTrack::place(const ObservedFrame &frame, const FrameArrival &arrival) {
    const TrainingMap &map = format_.training;
    const double time = time_of(arrival.sample), taken = arrival.carrier_offset * format_.symbol_length;
    if (!(arrival.sample > frames_[num_past_ - 1].sample) || !take_noise_if_usual(frame.noise_var))
        return false;
    while (num_past_ && time - time_of(frames_[0].sample) > max_age)
        forget(1);
    if (!oscillators_.advance(time, taken + frame.carrier_offset,
                              offset_variance(doppler_.doppler(frame.doppler), frame.snr, num_rx() * map.num_tx)))
        return false;
    const double left = oscillators_.offset() - taken; // what the synchronizer has left
    Placed &placed = newest();
    placed.sample = arrival.sample;
    placed.phase = placed.delay = 0;
    placed.offset = left - frame.carrier_offset;
    take_training(frame);
    predict();
    const Comparison compared = compare();
    if (!(compared.power > 0))
        return false;
    // a mode that is predicted wrongly is so at all its symbols and carriers alike
    const double alike = double(map.symbols.size() * map.num_places) / profile_.modes.independent(),
                 lead = turn * left * format_.lead;
    const OscillatorTrack without_phase = oscillators_;
    oscillators_.take_phase(compared.alignment.phase - lead, alike / (2 * compared.power));
    placed.phase = oscillators_.phase() + lead;
    placed.delay = compared.alignment.delay;
    take_training(frame);
    surprised_ = is_surprising();
    if (surprised_) {
        if (!(compared.match > least_match)) { // phase and delay that were found mean nothing; it gets its own
            oscillators_ = without_phase;
            oscillators_.begin_phase(-lead);
            placed.phase = placed.delay = 0;
            take_training(frame);
        }
        forget(num_past_);
    }
    return true;
}

// The newest frame, in its phase, offset and delay.
void FrameTrack::take_training(const ObservedFrame &frame) {
    const TrainingMap &map = format_.training;
    const std::size_t num_rx = noise_var_.size(), per_symbol = map.carriers.size() / map.symbols.size();
    Placed &placed = newest();
    placed.training.resize(frame.training.size());
    for (std::size_t s = 0; s < map.symbols.size(); ++s) {
        phases_.set(-placed.phase - turn * placed.offset * map.symbols[s], turn * placed.delay);
        for (std::size_t i = s * per_symbol; i < (s + 1) * per_symbol; ++i) {
            const Complex back(phases_[map.carriers[i]]);
            for (std::size_t a = 0; a < num_rx; ++a)
                placed.training[i * num_rx + a] = product(frame.training[i * num_rx + a], back);
        }
    }
    find_modes(placed);
}

// predicted_ and errors_ of the newest frame.
void FrameTrack::predict() {
    const TrainingMap &map = format_.training;
    const std::size_t num_symbols = map.symbols.size(), of_symbol = map.num_tx * profile_.modes.num_modes,
                      num_rx = noise_var_.size();
    filter(map.symbols, false);
    predicted_.resize(num_symbols * of_symbol * num_rx);
    for (std::size_t s = 0; s < num_symbols; ++s)
        for (std::size_t i = 0; i < of_symbol; ++i)
            std::copy_n(filtered_.data() + (i * num_symbols + s) * num_rx, num_rx,
                        predicted_.data() + (s * of_symbol + i) * num_rx);
}

FrameTrack::Comparison FrameTrack::compare() {
    const TrainingMap &map = format_.training;
    const DelayModes &modes = profile_.modes;
    const std::size_t num_symbols = map.symbols.size(), num_tx = map.num_tx, num_places = map.num_places,
                      num_rx = noise_var_.size(), num_modes = modes.num_modes;
    const std::vector<Complex> &training = newest().training;
    seen_.resize(training.size());
    multiply_complex(modes.seen.data(), predicted_.data(), seen_.data(), num_symbols * num_tx, num_places, num_modes,
                     num_rx);
    aligned_.resize(map.carriers.size());
    double power = 0, came_of_it = 0;
    for (std::size_t s = 0; s < num_symbols; ++s)
        for (std::size_t t = 0; t < num_tx; ++t) {
            double expected = 1. / map.comb; // of the noise and of the error
            for (std::size_t k = 0; k < num_modes; ++k)
                expected += errors_[(t * num_modes + k) * num_symbols + s] * modes.energies[k];
            for (std::size_t p = 0; p < num_places; ++p) {
                const std::size_t place = (s * num_tx + t) * num_places + p;
                std::complex<double> sum = 0;
                for (std::size_t a = 0; a < num_rx; ++a) {
                    const std::complex<double> seen(seen_[place * num_rx + a]), came(training[place * num_rx + a]);
                    const double weight = weights_[a] * weights_[a] / expected;
                    sum += weight * product(std::conj(seen), came);
                    power += weight * std::norm(seen);
                }
                aligned_[place] = sum;
            }
        }
    const Alignment alignment = align(aligned_, map.carriers, phases_);
    phases_.set(-alignment.phase, turn * alignment.delay);
    for (std::size_t i = 0; i < aligned_.size(); ++i)
        came_of_it += product(aligned_[i], phases_[map.carriers[i]]).real();
    return {alignment, power, came_of_it / power};
}

// Whether all antennas have the noise that they had. If so, it is taken into the mean.
bool FrameTrack::take_noise_if_usual(std::span<const double> noise_var) {
    const double before = noise_floor(noise_var_), now = noise_floor(noise_var);
    const double share = 1. / std::min(count_ + 1, noise_frames);
    for (std::size_t a = 0; a < noise_var.size(); ++a) {
        const bool alive = noise_var_[a] > before;
        if (alive != (noise_var[a] > now))
            return false;
        const double ratio = noise_var[a] / noise_var_[a];
        if (alive && !(ratio <= max_noise_ratio && ratio >= 1 / max_noise_ratio))
            return false;
    }
    mean_noise_.resize(noise_var.size());
    for (std::size_t a = 0; a < noise_var.size(); ++a)
        mean_noise_[a] = noise_var_[a] + share * (noise_var[a] - noise_var_[a]);
    take_noise(mean_noise_);
    return true;
}

// And the weights, which make the noise of each antenna's carriers 1; 0 for one that receives nothing.
void FrameTrack::take_noise(std::span<const double> noise_var) {
    const double floor = noise_floor(noise_var);
    noise_var_.assign(noise_var.begin(), noise_var.end());
    weights_.resize(noise_var.size());
    for (std::size_t a = 0; a < noise_var.size(); ++a)
        weights_[a] = noise_var[a] > floor ? 1 / std::sqrt(noise_var[a]) : 0;
}

// Whether an antenna or a stream is not what was predicted: predicted_, with errors_.
bool FrameTrack::is_surprising() {
    const TrainingMap &map = format_.training;
    const std::size_t num_symbols = map.symbols.size(), num_tx = map.num_tx, num_rx = noise_var_.size(),
                      num_modes = profile_.modes.num_modes;
    const std::vector<Complex> &came = frames_[num_past_].modes;
    of_antennas_.assign(num_rx, 0);
    of_streams_.assign(num_tx, 0);
    std::size_t alive = 0;
    for (const double weight : weights_)
        alive += weight > 0;
    for (std::size_t s = 0; s < num_symbols; ++s)
        for (std::size_t t = 0; t < num_tx; ++t)
            for (std::size_t k = 0; k < num_modes; ++k) {
                const double expected = errors_[(t * num_modes + k) * num_symbols + s] + profile_.modes.noise[k],
                             share = 1 / (expected * double(num_symbols * num_modes));
                const std::size_t place = ((s * num_tx + t) * num_modes + k) * num_rx;
                for (std::size_t a = 0; a < num_rx; ++a) {
                    const double deviation = std::norm(std::complex<double>(came[place + a] - predicted_[place + a])) *
                                             share * weights_[a] * weights_[a];
                    of_antennas_[a] += deviation / double(num_tx);
                    of_streams_[t] += deviation / double(alive);
                }
            }
    const auto exceeds = [](double count) {
        return [limit = 1 + max_surprise / std::sqrt(count)](double mean) { return !(mean <= limit); };
    };
    return std::ranges::any_of(of_antennas_, exceeds(double(num_tx))) ||
           std::ranges::any_of(of_streams_, exceeds(double(alive)));
}

// The channel of a frame

void FrameTrack::estimate(const ObservedFrame &frame, std::span<const Complex> slope, ArrayView<Complex, 4> h,
                          std::span<double> error) {
    KAQ_ASSERT(slope.empty() || slope.size() == h.extent(1));
    learn_profile(frame);
    learn_doppler();
    used_ = static_cast<int>(num_past_) + 1;
    delay_ = (frame.delay + newest().delay) * format_.fft_size;
    put(newest().delay, true, frame.snr, slope, h, error);
    // it is one of the past frames from now on
    if (num_past_ == max_past_)
        std::rotate(frames_.begin(), frames_.begin() + 1, frames_.begin() + static_cast<std::ptrdiff_t>(num_past_) + 1);
    else
        ++num_past_;
    if (frames_.size() == num_past_)
        frames_.emplace_back();
    ++count_;
}

double FrameTrack::forecast(const FrameArrival &arrival, double snr, ArrayView<Complex, 4> h, std::span<double> error,
                            ForecastErrors &errors) {
    const double left = oscillators_.offset() - arrival.carrier_offset * format_.symbol_length;
    Placed &placed = newest();
    placed.sample = arrival.sample;
    placed.phase = oscillators_.phase_at(time_of(arrival.sample)) + turn * left * format_.lead;
    placed.offset = 0;
    put(delay_ / format_.fft_size, false, snr, {}, h, error);
    errors.num_modes = profile_.modes.num_modes;
    errors.frequency = waves_;
    errors.variances = errors_;
    return left;
}

void FrameTrack::put(double delay, bool all, double snr, std::span<const Complex> slope, ArrayView<Complex, 4> h,
                     std::span<double> error) {
    const std::size_t num_symbols = h.extent(0), num_active = h.extent(1), num_rx = h.extent(2), num_tx = h.extent(3);
    KAQ_ASSERT(num_rx == noise_var_.size() && num_tx == std::size_t(format_.training.num_tx));
    KAQ_ASSERT(num_active == format_.carriers.size() && error.size() == num_symbols);
    symbols_.resize(num_symbols);
    for (std::size_t s = 0; s < num_symbols; ++s)
        symbols_[s] = static_cast<int>(s);
    filter(symbols_, all);
    const Placed &placed = newest();
    const DelayModes &modes = profile_.modes;
    const std::size_t num_modes = modes.num_modes;
    std::fill(error.begin(), error.end(), 0.0);
    for (std::size_t i = 0; i < num_tx * num_modes; ++i)
        for (std::size_t s = 0; s < num_symbols; ++s)
            error[s] += errors_[i * num_symbols + s] * modes.energies[i % num_modes] / snr;
    // back to how the frame came
    waves_.resize(modes.frequency.size());
    phases_.set(0, -turn * delay);
    for (std::size_t f = 0; f < num_active; ++f) {
        Complex of_carrier(phases_[format_.carriers[f]]);
        if (!slope.empty())
            of_carrier = product(of_carrier, slope[f]);
        for (std::size_t k = 0; k < num_modes; ++k)
            waves_[f * num_modes + k] = product(modes.frequency[f * num_modes + k], of_carrier);
    }
    of_symbol_.resize(num_modes * num_rx * num_tx);
    for (std::size_t s = 0; s < num_symbols; ++s) {
        const Complex of_time(std::polar(1.0, placed.phase + turn * placed.offset * double(s)));
        for (std::size_t t = 0; t < num_tx; ++t)
            for (std::size_t k = 0; k < num_modes; ++k) {
                const Complex *from = filtered_.data() + ((t * num_modes + k) * num_symbols + s) * num_rx;
                for (std::size_t a = 0; a < num_rx; ++a)
                    of_symbol_[(k * num_rx + a) * num_tx + t] = product(from[a], of_time);
            }
        multiply_complex(waves_.data(), of_symbol_.data(), h.row(s, 0, 0).data(), 1, num_active, num_modes,
                         num_rx * num_tx);
    }
}

void FrameTrack::find_modes(Placed &frame) const {
    const TrainingMap &map = format_.training;
    const std::size_t sets = map.symbols.size() * map.num_tx, num_rx = noise_var_.size();
    frame.modes.resize(sets * profile_.modes.num_modes * num_rx);
    multiply_complex(profile_.modes.analysis.data(), frame.training.data(), frame.modes.data(), sets,
                     profile_.modes.num_modes, map.num_places, num_rx);
}

void FrameTrack::filter(std::span<const int> wanted, bool all) {
    const TrainingMap &map = format_.training;
    const std::size_t num_symbols = map.symbols.size(), num_tx = map.num_tx, num_rx = noise_var_.size(),
                      num_modes = profile_.modes.num_modes, num_frames = num_past_ + all,
                      num_known = num_frames * num_symbols, num_wanted = wanted.size();
    const auto in_tenths = [](int symbol) { return tenths * symbol; };
    known_.clear();
    for (std::size_t f = 0; f < num_frames; ++f)
        for (const int symbol : map.symbols)
            known_.push_back(since(frames_[f]) + in_tenths(symbol));
    wanted_.resize(num_wanted);
    std::transform(wanted.begin(), wanted.end(), wanted_.begin(), in_tenths);
    gathered_.resize(num_modes * num_known * num_rx);
    filtered_.resize(num_tx * num_modes * num_wanted * num_rx);
    errors_.resize(num_tx * num_modes * num_wanted);
    for (std::size_t t = 0; t < num_tx; ++t) {
        const TimeFilter &found = filters_.get(doppler_.fading()[t], known_, wanted_);
        Complex *to = gathered_.data();
        for (std::size_t k = 0; k < num_modes; ++k)
            for (std::size_t f = 0; f < num_frames; ++f)
                for (std::size_t s = 0; s < num_symbols; ++s) {
                    const Complex *from = frames_[f].modes.data() + ((s * num_tx + t) * num_modes + k) * num_rx;
                    to = std::copy_n(from, num_rx, to);
                }
        multiply_real(found.weights.data(), gathered_.data(), filtered_.data() + t * num_modes * num_wanted * num_rx,
                      num_modes, num_wanted, num_known, num_rx);
        std::copy(found.errors.begin(), found.errors.end(), errors_.begin() + t * num_modes * num_wanted);
    }
}

void FrameTrack::learn_profile(const ObservedFrame &frame) {
    const TrainingMap &map = format_.training;
    const std::size_t num_places = map.num_places, num_rx = noise_var_.size(), size = num_places * num_places;
    scaled_.resize(num_places * num_rx);
    conjugate_.resize(scaled_.size());
    products_.assign(format_.num_sets * size, Complex());
    set_counts_.assign(format_.num_sets, 0);
    for (std::size_t i = 0; i < format_.sets.size(); ++i) {
        const Complex *training = newest().training.data() + i * num_places * num_rx;
        for (std::size_t p = 0; p < num_places; ++p)
            for (std::size_t a = 0; a < num_rx; ++a) {
                scaled_[p * num_rx + a] = training[p * num_rx + a] * static_cast<float>(weights_[a]);
                conjugate_[a * num_places + p] = std::conj(scaled_[p * num_rx + a]);
            }
        add_covariance(scaled_.data(), conjugate_.data(), products_.data() + format_.sets[i] * size, num_places,
                       num_rx);
        ++set_counts_[format_.sets[i]];
    }
    double alive = 0;
    for (const double weight : weights_)
        alive += weight > 0;
    if (!count_)
        covariance_.assign(products_.size(), 0);
    const double share = 1. / std::min(count_ + 1, profile_frames);
    for (std::size_t i = 0; i < covariance_.size(); ++i)
        covariance_[i] +=
            share * (std::complex<double>(products_[i]) / (alive * set_counts_[i / size]) - covariance_[i]);
    const bool few = !(count_ & (count_ - 1)); // a power of two, or 0
    if (few || count_ % refit == 0) {
        profile_ = fit_(covariance_, frame.delay_model, count_ ? &profile_ : nullptr);
        filters_.set_noise(profile_.modes.noise);
        for (std::size_t f = 0; f <= num_past_; ++f)
            find_modes(frames_[f]);
    }
}

// From the pairs of the first training symbols of this frame and of others, and of the nearest ones.
void FrameTrack::learn_doppler() {
    const std::vector<int> &symbols = format_.training.symbols;
    const int within = symbols.back() - symbols.front();
    const auto at = [&](const Placed &frame, std::size_t symbol) {
        return frame.modes.data() + symbol * (frame.modes.size() / symbols.size());
    };
    const std::size_t last = symbols.size() - 1;
    pairs_.clear();
    pairs_.push_back({double(within), at(newest(), 0), at(newest(), last)});
    for (const Placed &frame : past())
        pairs_.push_back({-double(since(frame)) / tenths, at(frame, 0), at(newest(), 0)});
    if (num_past_)
        pairs_.push_back({pairs_.back().lag - within, at(past().back(), last), at(newest(), 0)});
    doppler_.take(pairs_, weights_, profile_.modes.noise);
}

} // namespace kaq
