// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/carrier_interference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "frames/chance.h"
#include "frames/order_statistic.h"
#include "support/complex_matrix.h"
#include "support/complex_product.h"
#include "support/hermitian.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

constexpr double turn = 2 * std::numbers::pi;
// What predictions are made for: the noise of an estimate over the channel's power, and exponential delays with this
// spread in cycles per carrier. Weights for the longest delays that there may be would add up much noise. What the
// channel leaves unpredicted is that of longer delays.
constexpr double assumed_noise = 3e-3, assumed_spread = 1. / 96, longer_spread = 1. / 48;

// Over the signal's power. At a high SNR a receiver's own errors are more than its noise, and look like interference.
constexpr double harmless = 1e-3;

// What a channel of long delays leaves unpredicted varies by this much over the carriers.
constexpr double uneven = 2;
constexpr double least_leak = 1e-12;
constexpr int fit_rounds = 3;
constexpr double least_even = 0.05, most_share = 3; // of the noise's level; of what is expected to leak

// Two levels of noise are by so much more likely than one, in nats: energies of neighbours are not independent, and
// there are many bands.
constexpr double likely = 15;
// And no further apart, nor do energies spread by more, as a share of what they do at two levels: predictions smear a
// few jammed carriers over many.
constexpr double most_apart = 100, most_spread = 2;

// In standard deviations of a normal variable with the same probability: chance alone reaches `appears` on one carrier
// in 300 000. Beside a carrier with interference, or where there was some in the frame before, less is needed.
constexpr double appears = 4.5, spreads = 2.5, remains = 1.5;

// Value - prediction, of so many antennas next to each other. values: of a symbol and stream, [place][num_rx].
template <int Count>
[[gnu::always_inline]] inline void subtract(const Prediction &prediction, const double *own, const double *values,
                                            double *to, std::size_t num_rx) {
    using Lanes = ComplexLanes<double, Count>;
    const auto load = [](const double *from) ->
        typename Lanes::Values { return *reinterpret_cast<const typename Lanes::Loose *>(from); };
    typename Lanes::Values by_re = load(own), by_im = {};
    for (int j = 0; j < prediction.count; ++j) {
        const typename Lanes::Values other = load(values + 2 * prediction.places[j] * num_rx);
        by_re -= prediction.weights[j].real() * other;
        by_im -= prediction.weights[j].imag() * other;
    }
    Lanes::turn(by_im);
    *reinterpret_cast<typename Lanes::Loose *>(to) = by_re + by_im;
}

// The same of all values, [sets][places][num_rx].
KAQ_EACH_PROCESSOR void find_residual(const Prediction *predictions, const Complex *ls, Complex *residual,
                                      std::size_t sets, std::size_t places, std::size_t num_rx) {
    for (std::size_t i = 0; i < sets; ++i, ls += places * num_rx)
        for (std::size_t p = 0; p < places; ++p, ++predictions, residual += num_rx) {
            const double *values = reinterpret_cast<const double *>(ls), *own = values + 2 * p * num_rx;
            double *to = reinterpret_cast<double *>(residual);
            std::size_t a = 0;
            for (; a + 4 <= num_rx; a += 4)
                subtract<4>(*predictions, own + 2 * a, values + 2 * a, to + 2 * a, num_rx);
            for (; a + 2 <= num_rx; a += 2)
                subtract<2>(*predictions, own + 2 * a, values + 2 * a, to + 2 * a, num_rx);
            for (; a < num_rx; ++a)
                subtract<1>(*predictions, own + 2 * a, values + 2 * a, to + 2 * a, num_rx);
        }
}

// From the nearest values without interference: with covariance K of the channel, (K_near + noise) weights = K_own.
void predict(const TrainingMap &map, std::size_t value, CarrierState &state) {
    const int own = static_cast<int>(value % map.num_places);
    const std::size_t first = value - own;
    const int *carriers = map.carriers.data() + first, *indices = map.indices.data() + first;
    Prediction &prediction = state.predictions[value];
    prediction = {};
    for (int low = own - 1, high = own + 1; prediction.count < Prediction::most;) {
        while (low >= 0 && state.interfered[indices[low]])
            --low;
        while (high < map.num_places && state.interfered[indices[high]])
            ++high;
        if (low < 0 && high >= map.num_places)
            break;
        const bool below =
            low >= 0 && (high >= map.num_places || carriers[own] - carriers[low] <= carriers[high] - carriers[own]);
        prediction.places[prediction.count++] = below ? low-- : high++;
    }
    // the mean delay taken out, as least_squares does
    const auto covariance = [&](int i, int j, double spread) {
        const double lag = carriers[i] - carriers[j], mean = -std::atan(turn * spread * map.comb) / map.comb;
        return std::polar(1.0, -mean * lag) / Complex(1, turn * spread * lag);
    };
    const std::size_t count = prediction.count;
    std::array<Complex, std::size_t(Prediction::most) * Prediction::most> near;
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j <= i; ++j)
            near[i * count + j] =
                covariance(prediction.places[j], prediction.places[i], assumed_spread) + (i == j ? assumed_noise : 0.0);
        prediction.weights[i] = covariance(own, prediction.places[i], assumed_spread);
    }
    const std::span<Complex> matrix(near.data(), count * count), weights(prediction.weights.data(), count);
    if (!cholesky(matrix, count)) { // carriers that are the same twice: no such map
        prediction = {};
        return;
    }
    solve_cholesky(matrix, weights);
    prediction.gain = 1;
    for (std::size_t i = 0; i < count; ++i) {
        prediction.gain += std::norm(weights[i]);
        // 1 - 2 Re w^H K_own + w^H K_near w
        Complex sum = -2.0 * covariance(own, prediction.places[i], longer_spread);
        for (std::size_t j = 0; j < count; ++j)
            sum += product(covariance(prediction.places[j], prediction.places[i], longer_spread), weights[j]);
        prediction.leak += product(std::conj(weights[i]), sum).real();
    }
    prediction.leak = std::max(prediction.leak, 0.0) / prediction.gain;
}

// The predictions that took a changed carrier's value, or now may.
void update(const TrainingMap &map, std::span<const std::uint8_t> changed, CarrierState &state) {
    for (std::size_t i = 0; i < map.indices.size(); ++i) {
        const std::size_t first = i - i % map.num_places;
        const Prediction &prediction = state.predictions[i];
        int low = static_cast<int>(i - first), high = low; // what it spans
        for (int j = 0; j < prediction.count; ++j) {
            low = std::min(low, prediction.places[j]);
            high = std::max(high, prediction.places[j]);
        }
        low = std::max(low - 1, 0);
        high = std::min(high + 1, map.num_places - 1);
        if (std::any_of(map.indices.begin() + first + low, map.indices.begin() + first + high + 1,
                        [&](int carrier) { return changed[carrier] != 0; }))
            predict(map, i, state);
    }
}

// What noise leaves unpredicted of each antenna that receives something, and its signal: `levels`, of `energy`.
void find_levels(const TrainingMap &map, std::span<const double> power, const CarrierState &state,
                 CarrierScratch &scratch) {
    const std::size_t count = map.indices.size();
    scratch.levels.clear();
    for (std::size_t a = 0; a < power.size(); ++a) {
        const double *energy = scratch.energy.data() + a * count, scale = 1 / power[a]; // within the range of floats
        scratch.bits.clear();
        for (std::size_t i = 0; i < count; ++i)
            if (!state.interfered[map.indices[i]])
                scratch.bits.push_back(std::bit_cast<std::uint32_t>(static_cast<float>(energy[i] * scale)));
        if (scratch.bits.empty())
            continue;
        const float median = std::bit_cast<float>(order_statistic(scratch.bits, scratch.bits.size() / 2));
        // the mean, of energies that are exponentially distributed
        const double level = power[a] * (static_cast<double>(median) / std::numbers::ln2);
        if (std::isfinite(1 / level) && std::isfinite(power[a]))
            scratch.levels.push_back({energy, 1 / level, std::max(power[a] / level - 1, 0.0)});
    }
}

// How much each carrier has that is not predicted, over what noise would leave.
void find_scores(const TrainingMap &map, ArrayView<const Complex, 4> ls, std::span<const double> power,
                 const CarrierState &state, double usual_leak, CarrierScratch &scratch) {
    const std::size_t count = map.indices.size(), num_rx = ls.extent(3);
    scratch.residual.resize(count * num_rx);
    scratch.energy.resize(count * num_rx);
    find_residual(state.predictions.data(), ls.data(), scratch.residual.data(), count / map.num_places, map.num_places,
                  num_rx);
    for (std::size_t i = 0; i < count; ++i) {
        const double scale = 1 / state.predictions[i].gain;
        for (std::size_t a = 0; a < num_rx; ++a)
            scratch.energy[a * count + i] = scale * std::norm(scratch.residual[i * num_rx + a]);
    }
    find_levels(map, power, state, scratch);
    scratch.count.assign(map.num_active, 0);
    for (std::vector<double> *part : {&scratch.score, &scratch.excess, &scratch.noise, &scratch.spread})
        part->assign(map.num_active, 0);
    const auto alive = static_cast<double>(scratch.levels.size());
    for (std::size_t i = 0; i < count; ++i) {
        // of longer delays; if there were any, the median would show it
        const double gain = state.predictions[i].gain, leak = state.predictions[i].leak,
                     most_unpredicted = uneven * std::max(leak / usual_leak, 1.0);
        double score = 0, energies = 0, unpredicted = 0; // over the level of each antenna
        for (const CarrierScratch::Level &of : scratch.levels) {
            const double energy = of.energy[i] * of.inverse, missed = std::min(of.signal * leak, most_unpredicted);
            score += energy / (1 + missed + harmless * of.signal);
            energies += energy;
            unpredicted += missed;
        }
        const int c = map.indices[i];
        const double others = (gain - 1) * alive; // noise of other values
        scratch.count[c] += static_cast<int>(scratch.levels.size());
        scratch.score[c] += score;
        // own noise and error of the prediction make up the residual; the error is that of a replaced value
        scratch.excess[c] += gain * energies - 2 * (others + gain * unpredicted);
        scratch.noise[c] += gain * energies - others;
        scratch.spread[c] += others;
    }
    for (int c = 0; c < map.num_active; ++c)
        if (scratch.count[c]) {
            scratch.score[c] /= scratch.count[c];
            scratch.noise[c] /= scratch.count[c];
            scratch.spread[c] /= scratch.count[c];
        }
}

// Carriers with more than chance leaves, each the strongest of those whose predictions it enters: others may hold only
// what the predictions made of it.
bool find_new(const TrainingMap &map, const CarrierState &state, CarrierScratch &scratch) {
    const auto is_interfered = [&](int c) { return c >= 0 && c < map.num_active && state.interfered[c]; };
    bool any = false;
    for (int c = 0; c < map.num_active; ++c) {
        const double score = scratch.score[c];
        if (state.interfered[c] || !(score > 1) || !(scratch.excess[c] > 0))
            continue;
        const bool has_neighbour = is_interfered(c - 1) || is_interfered(c + 1);
        if (score < most_by_chance(scratch.count[c], has_neighbour ? spreads : appears))
            continue;
        bool is_strongest = true;
        for (int k = -Prediction::most; k <= Prediction::most; ++k) {
            const int other = c + k * map.comb;
            if (other >= 0 && other < map.num_active && !state.interfered[other])
                is_strongest &= scratch.score[other] <= score;
        }
        scratch.changed[c] = is_strongest;
        any |= is_strongest;
    }
    return any;
}

// What noise on one carrier leaks into another, so many carriers away, through a Fourier transform without a window:
// the mean of sinc^2 over the carrier.
double leakage(int distance) { return 1 / (2 * std::numbers::pi * std::numbers::pi * (distance * distance - 0.25)); }

// The noise of carriers without interference: even, and what leaks into them. How much there is of both is a weighted
// fit to what is not predicted. A tone leaks less than noise does, or not at all.
void fit_noise(const TrainingMap &map, const CarrierState &state, CarrierScratch &scratch) {
    std::vector<double> &leaked = scratch.leaked;
    leaked.assign(map.num_active, 0);
    for (int c = 0; c < map.num_active; ++c)
        for (int other = 0; other < map.num_active; ++other)
            if (state.interfered[other] && other != c)
                leaked[c] += std::max(scratch.noise[other], 0.0) * leakage(c - other);
    double even = 1, share = 1;
    for (int round = 0; round < fit_rounds; ++round) {
        double sums[3] = {}, with[2] = {}; // of the normal equations
        for (int c = 0; c < map.num_active; ++c)
            if (!state.interfered[c] && scratch.count[c]) {
                const double expected = even + share * leaked[c] + scratch.spread[c],
                             weight = scratch.count[c] / (expected * expected);
                sums[0] += weight;
                sums[1] += weight * leaked[c];
                sums[2] += weight * leaked[c] * leaked[c];
                with[0] += weight * scratch.noise[c];
                with[1] += weight * leaked[c] * scratch.noise[c];
            }
        const double determinant = sums[0] * sums[2] - sums[1] * sums[1];
        if (!(determinant > least_leak * sums[0] * sums[2]))
            break;
        even = std::max((with[0] * sums[2] - with[1] * sums[1]) / determinant, least_even);
        share = std::clamp((with[1] - even * sums[1]) / sums[2], 0.0, most_share);
    }
    for (int c = 0; c < map.num_active; ++c)
        scratch.noise[c] = even + share * leaked[c];
}

// Too many carriers for their values to be replaced by what neighbours say.
bool is_wide(std::ptrdiff_t carriers, const TrainingMap &map) { return 3 * carriers > map.num_active; }

// Two levels of noise, one on a band of carriers from `first` to before `stop`, one on the others.
struct Band {
    int first = 0, stop = 0;
    double inside = 0, outside = 0;
    double gain = 0; // in nats, by which that is more likely than one level
};

// Where what is above a threshold sums up to most; below it, if `sign` is -1.
Band band_above(const TrainingMap &map, const CarrierScratch &scratch, double threshold, double sign) {
    Band band;
    double sum = 0, most = 0;
    for (int c = 0, first = 0; c < map.num_active; ++c) {
        sum += sign * scratch.count[c] * (scratch.score[c] - threshold);
        if (sum > most) {
            most = sum;
            band.first = first;
            band.stop = c + 1;
        } else if (sum < 0) {
            sum = 0;
            first = c + 1;
        }
    }
    double energy[2] = {}, count[2] = {}; // outside, inside
    for (int c = 0; c < map.num_active; ++c) {
        const bool is_inside = c >= band.first && c < band.stop;
        energy[is_inside] += scratch.count[c] * scratch.score[c];
        count[is_inside] += scratch.count[c];
    }
    band.outside = energy[0] / count[0];
    band.inside = energy[1] / count[1];
    const double all = count[0] + count[1];
    band.gain = all * std::log((energy[0] + energy[1]) / all) - count[0] * std::log(band.outside) -
                count[1] * std::log(band.inside);
    return band;
}

// Whether the noise has another level on a band of carriers than on the others, and the louder ones are too many to be
// replaced. What a carrier says by itself is nearly chance; both levels are means over many.
bool find_band(const TrainingMap &map, CarrierScratch &scratch) {
    double energy = 0, count = 0;
    for (int c = 0; c < map.num_active; ++c) {
        energy += scratch.count[c] * scratch.score[c];
        count += scratch.count[c];
    }
    Band best;
    for (const double sign : {1.0, -1.0}) {
        double threshold = energy / count;
        for (int round = 0; round < fit_rounds; ++round) {
            const Band band = band_above(map, scratch, threshold, sign);
            if (!(band.gain > best.gain) || !std::isfinite(band.gain))
                break;
            best = band;
            // where both levels are as likely
            threshold = std::log(band.inside / band.outside) / (1 / band.outside - 1 / band.inside);
        }
    }
    const bool is_loud = best.inside > best.outside; // within the band
    double signal = 0;                               // over the level that scores count from
    for (const CarrierScratch::Level &of : scratch.levels)
        signal += of.signal / static_cast<double>(scratch.levels.size());
    // from one direction, antennas say the same
    const double alike = 1 / std::max(static_cast<double>(scratch.levels.size()), 1.0);
    const int carriers = best.stop - best.first;
    if (!is_wide(is_loud ? carriers : map.num_active - carriers, map) || !(alike * best.gain > likely) ||
        std::abs(best.inside - best.outside) * (1 + harmless * signal) < harmless * signal ||
        std::max(best.inside, best.outside) > most_apart * std::min(best.inside, best.outside))
        return false;
    double spread = 0;
    for (int c = 0; c < map.num_active; ++c) {
        scratch.noise[c] = c >= best.first && c < best.stop ? best.inside : best.outside;
        const double apart = scratch.score[c] / scratch.noise[c] - 1;
        spread += alike * scratch.count[c] * apart * apart / map.num_active;
    }
    if (spread > most_spread)
        return false;
    scratch.is_uneven = true;
    scratch.loud_first = is_loud ? best.first : best.first > 0 ? 0 : best.stop;
    scratch.loud_last = (is_loud ? best.stop : best.stop < map.num_active ? map.num_active : best.first) - 1;
    return true;
}

// Carriers whose interference has ended.
bool find_ended(const TrainingMap &map, const CarrierState &state, CarrierScratch &scratch) {
    bool any = false;
    for (int c = 0; c < map.num_active; ++c)
        if (state.interfered[c] && !(scratch.score[c] > most_by_chance(scratch.count[c], remains))) {
            scratch.changed[c] = 1;
            any = true;
        }
    return any;
}

} // namespace

bool CarrierState::any() const {
    return std::any_of(interfered.begin(), interfered.end(), [](std::uint8_t each) { return each != 0; });
}

CarrierSearch::CarrierSearch(const TrainingMap &map) {
    clean_.interfered.resize(map.num_active);
    clean_.predictions.resize(map.indices.size());
    for (std::size_t i = 0; i < map.indices.size(); ++i)
        predict(map, i, clean_);
    std::vector<double> leaks;
    for (const Prediction &each : clean_.predictions)
        leaks.push_back(each.leak);
    const auto middle = leaks.begin() + static_cast<std::ptrdiff_t>(leaks.size() / 2);
    std::nth_element(leaks.begin(), middle, leaks.end());
    usual_leak_ = std::max(*middle, least_leak);
}

bool CarrierSearch::find(const TrainingMap &map, ArrayView<Complex, 4> ls, std::span<double> power, double &delay,
                         CarrierState &state, CarrierScratch &scratch) const {
    const std::size_t count = map.indices.size(), num_rx = ls.extent(3);
    KAQ_ASSERT(ls.extent(0) * ls.extent(1) * ls.extent(2) == count && power.size() == num_rx);
    if (state.predictions.size() != count)
        state = clean_;
    scratch.leaked.reserve(map.num_active); // for frames with interference
    bool any = state.any();
    const auto look = [&] {
        if (any)
            delay += take_delay(map, {ls.data(), count, num_rx}, state.interfered);
        find_scores(map, ls, power, state, usual_leak_, scratch);
        scratch.changed.assign(map.num_active, 0);
    };
    const auto change = [&] {
        for (int c = 0; c < map.num_active; ++c)
            state.interfered[c] ^= scratch.changed[c];
        update(map, scratch.changed, state);
        any = state.any();
        look();
    };
    scratch.is_uneven = false;
    look();
    if (!any && find_band(map, scratch))
        return false;
    if (any && find_ended(map, state, scratch))
        change();
    while (find_new(map, state, scratch)) {
        change();
        if (is_wide(std::count(state.interfered.begin(), state.interfered.end(), 1), map)) {
            state = clean_;
            any = false;
            look();
            find_band(map, scratch);
            return false;
        }
    }
    if (any && find_ended(map, state, scratch)) // what only seemed to be, beside others
        change();
    if (!any)
        return false;
    fit_noise(map, state, scratch);
    std::fill(power.begin(), power.end(), 0.0);
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t a = 0; a < num_rx; ++a) {
            Complex &value = ls.data()[i * num_rx + a];
            if (state.interfered[map.indices[i]])
                value -= scratch.residual[i * num_rx + a];
            power[a] += std::norm(value) / static_cast<double>(count);
        }
    return true;
}

} // namespace kaq
