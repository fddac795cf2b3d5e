// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_observer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

#include "support/complex_matrix.h"
#include "support/complex_product.h"
#include "support/hermitian.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

constexpr double least_snr = 1e-2, most_snr = 1e6, least_signal = 1e-30;
// Of an antenna that receives something: 0 is said of less, which denormal samples leave, as a float has no inverse of
// its square root
constexpr double least_noise_var = 1e-70;
constexpr int least_noise_samples = 48;    // of an antenna, for its noise in the training symbols to count
constexpr double largest_deviation = 3.5;  // in standard deviations, of two estimates of the same noise
constexpr double independent_share = 0.25; // of the modes: profiles are not quite exponential (tuned for least error)
constexpr double step_db = 3;
constexpr std::size_t kept_filters = 256;

// For each symbol and stream, so many modes of the values at its places: matrices [count][modes][places] times values
// [count][places][num_rx].
KAQ_EACH_PROCESSOR void find_modes(const Complex *matrices, const Complex *values, Complex *modes, std::size_t count,
                                   std::size_t num_modes, std::size_t num_places, std::size_t num_rx) {
    for (std::size_t i = 0; i < count; ++i)
        multiply(matrices + i * num_modes * num_places, values + i * num_places * num_rx,
                 modes + i * num_modes * num_rx, num_modes, num_places, num_rx);
}

// Whether two antennas are as correlated in one sum as in the other, but for chance.
bool agree_in_correlation(const NoiseSum &one, const NoiseSum &other, std::size_t a, std::size_t b, double chance) {
    const auto correlation = [&](const NoiseSum &of) {
        const double power = of.energy(a) * of.energy(b);
        return power > 0 ? of.sum[a * of.num_rx + b] / std::sqrt(power) : 0;
    };
    return std::abs(correlation(one) - correlation(other)) < chance;
}

} // namespace

int power_step(double ratio) { return static_cast<int>(std::nearbyint(10 * std::log10(ratio) / step_db)); }

FrameObserver::FrameObserver(ObserverModel model, DopplerFilters::Make make_filter)
    : model_(std::move(model)), search_(model_.map), filters_(std::move(make_filter), kept_filters) {}

// From the guard carriers and from what no channel explains in the training symbols. Guard carriers may hold more than
// noise (leakage, neighbours) or less (a radio's filters): where the two differ by more than chance, the training
// symbols count.
void FrameObserver::find_noise(const NoiseSum &guards, const CarrierState *carriers, ObservedFrame &frame) const {
    const TrainingMap &map = model_.map;
    const std::size_t num_rx = frame.noise_var.size(), sets = map.symbols.size() * map.num_tx,
                      num_modes = model_.num_noise_modes;
    // what was replaced by what its neighbours say adds no noise of its own
    double count = double(sets * num_modes);
    if (carriers)
        for (const int index : map.indices)
            count -= carriers->interfered[index];
    const bool is_training = count >= least_noise_samples;
    NoiseSum &noise = frame.noise;
    noise.clear(num_rx);
    if (is_training) {
        frame.modes.resize(sets * num_modes * num_rx);
        find_modes(model_.noise_modes.data(), frame.ls.data(), frame.modes.data(), sets, num_modes, map.num_places,
                   num_rx);
        noise.add(frame.modes);
        for (Complex &each : noise.sum)
            each *= map.comb;
        noise.count = count;
    }
    const double deviation = is_training ? std::sqrt(1 / count + 1 / guards.count) : 0;
    bool all_agree = true;
    for (std::size_t a = 0; a < num_rx; ++a) {
        const double guard = guards.energy(a) / guards.count;
        double of_antenna = guard;
        if (is_training) {
            const double training = noise.energy(a) / count;
            const bool agree = std::abs(std::log(guard / training)) < largest_deviation * deviation; // not for NaN
            of_antenna = agree ? (guard * guards.count + training * count) / (guards.count + count) : training;
            for (std::size_t b = 0; b < a; ++b)
                all_agree &= agree_in_correlation(noise, guards, a, b, largest_deviation * deviation);
            all_agree &= agree;
        }
        const double noise_var = std::max(of_antenna, map.num_tx * frame.power[a] / most_snr);
        frame.noise_var[a] = noise_var > least_noise_var ? noise_var : 0;
    }
    if (all_agree) {
        for (std::size_t i = 0; i < noise.sum.size(); ++i)
            noise.sum[i] += guards.sum[i];
        noise.count += guards.count;
    }
}

void FrameObserver::observe(ArrayView<const std::complex<float>, 3> grid, const NoiseSum &guards, NoiseTrack *track,
                            ObservedFrame &frame) {
    const TrainingMap &map = model_.map;
    const std::size_t num_rx = grid.extent(1), num_places = map.num_places, sets = map.symbols.size() * map.num_tx;
    KAQ_ASSERT(guards.sum.size() == num_rx * num_rx);
    KAQ_ASSERT(map.symbols.size() == training_symbols);
    const std::size_t values = sets * num_places * num_rx;
    frame.ls.resize(values);
    frame.training.resize(values);
    for (std::vector<double> *part : {&frame.power, &frame.noise_var})
        part->resize(num_rx);
    const ArrayView ls(frame.ls.data(), map.symbols.size(), map.num_tx, num_places, num_rx);
    frame.delay = least_squares(map, grid, ls, frame.power);
    if (track)
        search_.find(map, ls, frame.power, frame.delay, track->carriers, track->search);
    find_noise(guards, track ? &track->carriers : nullptr, frame);

    double sum = 0, signal = 0;
    std::size_t alive = 0;
    for (std::size_t a = 0; a < num_rx; ++a)
        if (frame.noise_var[a] > 0) {
            signal += std::max(frame.power[a] - frame.noise_var[a] / map.comb, 0.0) * map.num_tx;
            sum += frame.power[a] / frame.noise_var[a];
            ++alive;
        }
    alive = std::max<std::size_t>(alive, 1);
    frame.whitening.is_needed = false;
    if (track)
        track->find_whitening(frame.noise, frame.noise_var, std::max(signal / double(alive), least_signal), map,
                              frame.whitening);
    const bool is_white = !frame.whitening.is_needed;
    frame.scaled = frame.ls;
    if (!is_white) {
        sum = 0;
        for (std::size_t i = 0; i < values; i += num_rx) {
            const std::span sample(frame.scaled.data() + i, num_rx);
            multiply_lower(frame.whitening.antennas, sample);
            for (const Complex each : sample)
                sum += std::norm(each) / double(sets * num_places);
        }
    }
    frame.snr = std::clamp((sum / alive - 1. / map.comb) * map.num_tx, least_snr, most_snr);
    // to a channel of unit power
    if (is_white) {
        for (std::size_t a = 0; a < num_rx; ++a)
            frame.power[a] = frame.noise_var[a] > 0 ? std::sqrt(map.num_tx / (frame.noise_var[a] * frame.snr)) : 0;
        for (std::size_t i = 0; i < values; i += num_rx)
            for (std::size_t a = 0; a < num_rx; ++a)
                frame.scaled[i + a] *= frame.power[a];
    } else {
        for (Complex &each : frame.scaled)
            each *= std::sqrt(map.num_tx / frame.snr);
    }

    const double noise = double(map.num_tx) / map.comb / frame.snr;
    frame.modes.resize(values);
    find_modes(model_.delay_modes.data(), frame.scaled.data(), frame.modes.data(), sets, num_places, num_places,
               num_rx);
    frame.delay_model = choose_delay(model_.delays, {.coefficients = {frame.modes.data(), sets, num_places, num_rx},
                                                     .num_observed = double(sets * alive),
                                                     .noise = noise,
                                                     .independent = independent_share * double(alive * map.num_tx)});

    const std::shared_ptr<const DopplerFilter> filter = filters_.get({frame.delay_model, power_step(1 / noise)});
    const std::size_t num_modes = filter->num_modes, num_dopplers = filter->constant.size();
    frame.modes.resize(sets * num_modes * num_rx);
    find_modes(filter->analysis.data(), frame.scaled.data(), frame.modes.data(), sets, num_modes, num_places, num_rx);
    const DopplerChoice chosen =
        choose_doppler({.diagonals = {filter->diagonals.data(), num_dopplers, num_modes, map.symbols.size()},
                        .pairs = {filter->pairs.data(), training_pairs, num_dopplers, num_modes},
                        .constant = filter->constant},
                       model_.offsets, {frame.modes.data(), map.symbols.size(), map.num_tx, num_modes, num_rx},
                       double(alive * map.num_tx));
    frame.doppler = chosen.doppler;
    frame.carrier_offset = model_.offset_values[chosen.offset];
    const std::size_t of_symbol = values / map.symbols.size();
    for (std::size_t s = 0; s < map.symbols.size(); ++s) {
        const Complex back = std::polar(1.0, -2 * std::numbers::pi * frame.carrier_offset * map.symbols[s]);
        for (std::size_t i = s * of_symbol; i < (s + 1) * of_symbol; ++i)
            frame.training[i] = std::complex<float>(product(frame.ls[i], back));
    }
}

} // namespace kaq
