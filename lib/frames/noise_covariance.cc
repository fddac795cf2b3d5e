// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/noise_covariance.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "frames/chance.h"
#include "support/complex_matrix.h"
#include "support/complex_product.h"
#include "support/hermitian.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

constexpr double kept = 0.8;        // of what is known, from one frame to the next
constexpr double correlates = 4.5;  // in standard deviations, see chance.h: antennas are correlated
constexpr double changes = 4.5;     // the noise is not that of the frames before
constexpr double least_samples = 3; // of each antenna
constexpr double least_noise = 1e-9;
constexpr double harmless = 1e-3; // over the signal's power, see carrier_interference.cc
constexpr double leaks = 0.04;    // share of an interferer's power below its band, or above it, that does not count

bool on_diagonal(std::size_t i, std::size_t n) { return i % (n + 1) == 0; }

// Towards the same power in all directions: the oracle approximating shrinkage of Chen, Wiesel, Eldar and Hero,
// "Shrinkage algorithms for MMSE covariance estimation" (IEEE Trans. Signal Process. 58(10), 2010), for complex
// samples. From the sum to the covariance.
void shrink(NoiseSum &samples) {
    const std::size_t n = samples.num_rx;
    double squares = 0;
    for (Complex &each : samples.sum) {
        each /= samples.count;
        squares += std::norm(each);
    }
    const double size = static_cast<double>(n), trace = samples.energy(), mean = trace / size,
                 apart = (samples.count + 1 - 1 / size) * (squares - trace * mean),
                 share = apart > 0 ? std::min(1.0, ((1 - 1 / size) * squares + trace * trace) / apart) : 1;
    for (std::size_t i = 0; i < samples.sum.size(); ++i)
        samples.sum[i] = (1 - share) * samples.sum[i] + (on_diagonal(i, n) ? share * mean : 0.0);
}

// sum += sample conj(sample)^T of all samples [count][num_rx], so many antennas of the second factor at once.
template <int Count>
[[gnu::always_inline]] inline void add_columns(const double *samples, std::size_t count, std::size_t num_rx,
                                               std::size_t first, double *sum) {
    using Lanes = ComplexLanes<double, Count>;
    for (std::size_t a = 0; a < num_rx; ++a) {
        typename Lanes::Values by_re = {}, by_im = {};
        const double *sample = samples;
        for (std::size_t i = 0; i < count; ++i, sample += 2 * num_rx) {
            const typename Lanes::Values row = *reinterpret_cast<const typename Lanes::Loose *>(sample + 2 * first);
            by_re += sample[2 * a] * row;
            by_im += sample[2 * a + 1] * row;
        }
        // conj(row) times sample[a] is the conjugate of row times conj(sample[a])
        Lanes::turn(by_im);
        by_re -= by_im;
        for (int b = 0; b < Count; ++b) {
            sum[2 * (a * num_rx + first + b)] += by_re[2 * b];
            sum[2 * (a * num_rx + first + b) + 1] -= by_re[2 * b + 1];
        }
    }
}

KAQ_EACH_PROCESSOR void add_products(const Complex *samples, std::size_t count, std::size_t num_rx, Complex *sum) {
    const double *from = reinterpret_cast<const double *>(samples);
    double *to = reinterpret_cast<double *>(sum);
    std::size_t a = 0;
    for (; a + 4 <= num_rx; a += 4)
        add_columns<4>(from, count, num_rx, a, to);
    for (; a + 2 <= num_rx; a += 2)
        add_columns<2>(from, count, num_rx, a, to);
    for (; a < num_rx; ++a)
        add_columns<1>(from, count, num_rx, a, to);
}

} // namespace

void NoiseSum::add(std::span<const Complex> samples) {
    add_products(samples.data(), samples.size() / num_rx, num_rx, sum.data());
    count += static_cast<double>(samples.size() / num_rx);
}

double NoiseSum::energy() const {
    double energy = 0;
    for (std::size_t a = 0; a < num_rx; ++a)
        energy += this->energy(a);
    return energy;
}

// The correlations of this frame to those of the frames before; or in their place, where they do not fit.
void NoiseTrack::take_antennas(const NoiseSum &noise) {
    const std::size_t num_rx = noise.num_rx;
    const bool is_known = antennas_.num_rx == num_rx && antennas_.count > 0;
    frame_ = noise;
    double apart = 0;
    for (std::size_t a = 0; a < num_rx; ++a)
        for (std::size_t b = 0; b < num_rx; ++b) {
            const double power = noise.energy(a) * noise.energy(b);
            Complex &each = frame_.sum[a * num_rx + b];
            each = a == b ? 1 : power > 0 ? each / std::sqrt(power) : 0;
            if (is_known && b < a)
                apart += std::norm(each - antennas_.sum[a * num_rx + b] / antennas_.count);
            each *= noise.count;
        }
    const double pairs = std::max<double>(static_cast<double>(num_rx * (num_rx - 1)) / 2, 1),
                 count = noise.count * antennas_.count / (noise.count + antennas_.count);
    if (!is_known || !(apart * count < pairs * most_by_chance(pairs, changes))) {
        std::swap(antennas_, frame_);
        carriers_.clear();
        return;
    }
    for (std::size_t i = 0; i < frame_.sum.size(); ++i)
        antennas_.sum[i] = kept * antennas_.sum[i] + frame_.sum[i];
    antennas_.count = kept * antennas_.count + noise.count;
}

bool NoiseTrack::is_correlated() const {
    const std::size_t num_rx = antennas_.num_rx;
    if (num_rx < 2 || antennas_.count < least_samples * static_cast<double>(num_rx))
        return false;
    double sum = 0;
    for (std::size_t a = 0; a < num_rx; ++a)
        for (std::size_t b = 0; b < a; ++b)
            sum += std::norm(antennas_.sum[a * num_rx + b]) / antennas_.count;
    const double pairs = static_cast<double>(num_rx * (num_rx - 1)) / 2;
    return sum > pairs * most_by_chance(pairs, correlates);
}

// To unit variance: L^-1 of the correlations, which are taken to hold a share of white noise, as quiet as the quietest
// directions. (As loud as the mean, it would hide how quiet these are beside a strong interferer.)
void NoiseTrack::factor_antennas(std::span<const double> noise_var, double signal, Whitening &whitening) {
    const std::size_t n = noise_var.size();
    factor_.resize(n * n);
    const auto load = [&](double share) {
        for (std::size_t i = 0; i < factor_.size(); ++i)
            factor_[i] = antennas_.sum[i] / antennas_.count + (on_diagonal(i, n) ? share : 0.0);
        return cholesky(factor_, n);
    };
    double mean = 0;
    int alive = 0;
    for (const double each : noise_var) {
        mean += each;
        alive += each > 0;
    }
    mean /= std::max(alive, 1);
    double common = 0; // what antennas have in common with the others: what these do not say is 1 / (R^-1)_aa
    bool is_known = is_correlated() && load(least_noise);
    if (is_known) {
        scratch_ = factor_;
        invert_lower(scratch_, n);
        double trace = 0;
        for (std::size_t a = 0; a < n; ++a) {
            double own = 0;
            for (std::size_t i = a; i < n; ++i)
                own += std::norm(scratch_[i * n + a]);
            common += noise_var[a] * (1 - 1 / own) / alive;
            trace += own;
        }
        const double quiet = static_cast<double>(n) / trace; // the harmonic mean of all directions
        is_known = common > harmless * signal && load(static_cast<double>(n) / antennas_.count * quiet);
    }
    if (is_known) {
        invert_lower(factor_, n);
    } else {
        for (std::size_t i = 0; i < factor_.size(); ++i)
            factor_[i] = on_diagonal(i, n) ? 1 : 0;
    }
    whitening.is_needed = is_known || carriers.any() || search.is_uneven;
    whitening.first = !is_known && search.is_uneven ? search.loud_first : 0;
    whitening.last =
        !is_known && search.is_uneven ? search.loud_last : static_cast<int>(carriers.interfered.size()) - 1;
    whitening.noise_var = mean;
    whitening.interference = is_known ? common / signal : 0;
    whitening.antennas.resize(n * n);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
            whitening.antennas[i * n + j] =
                noise_var[i] > 0 && noise_var[j] > 0 ? factor_[i * n + j] / std::sqrt(noise_var[j]) : 0;
}

// What each carrier with interference holds, antennas made white, beside what it held in the frames before.
void NoiseTrack::take_carriers(const TrainingMap &map, std::span<const Complex> to_white) {
    const std::size_t num_rx = search.residual.size() / map.indices.size();
    carriers_.resize(map.num_active);
    sample_.resize(num_rx);
    for (int c = 0; c < map.num_active; ++c) {
        NoiseSum &known = carriers_[c];
        if (!carriers.interfered[c]) {
            known.clear(num_rx);
            continue;
        }
        frame_.clear(num_rx);
        for (std::size_t i = 0; i < map.indices.size(); ++i)
            if (map.indices[i] == c) {
                for (std::size_t a = 0; a < num_rx; ++a)
                    sample_[a] = search.residual[i * num_rx + a] * std::sqrt(double(map.comb));
                multiply_lower(to_white, sample_);
                frame_.add(sample_);
            }
        const double energies = static_cast<double>(num_rx);
        if (known.num_rx != num_rx || !(known.count > 0) ||
            !(std::abs(std::log(known.energy() / known.count / (frame_.energy() / frame_.count))) <
              changes * std::sqrt(1 / (energies * known.count) + 1 / (energies * frame_.count))))
            known.clear(num_rx);
        for (std::size_t i = 0; i < frame_.sum.size(); ++i)
            known.sum[i] = kept * known.sum[i] + frame_.sum[i];
        known.count = kept * known.count + frame_.count;
    }
}

// To unit variance on a carrier with interference, antennas made white before: its power, and the directions that it
// and its neighbours come from. False where nothing is known.
bool NoiseTrack::factor_carrier(int carrier, std::size_t num_rx) {
    around_.clear(num_rx);
    const int last = static_cast<int>(carriers_.size()) - 1;
    for (int c = std::max(carrier - 1, 0); c <= std::min(carrier + 1, last); ++c) {
        for (std::size_t i = 0; i < around_.sum.size(); ++i)
            around_.sum[i] += carriers_[c].sum[i];
        around_.count += carriers_[c].count;
    }
    const double own = carriers_[carrier].energy() / carriers_[carrier].count, mean = around_.energy() / around_.count;
    if (!(mean > 0))
        return false;
    shrink(around_);
    for (Complex &each : around_.sum)
        each *= std::max(own, static_cast<double>(num_rx)) / mean;
    if (!cholesky(around_.sum, num_rx))
        return false;
    invert_lower(around_.sum, num_rx);
    return true;
}

// The carriers that hold the interference, but for what leaks from them into others; and how much it is.
double NoiseTrack::find_interfered(std::size_t num_rx, int &first, int &last) const {
    const auto excess = [&](int carrier) {
        const NoiseSum &of = carriers_[carrier];
        const double energy = of.energy() / of.count / static_cast<double>(num_rx);
        return !carriers.interfered[carrier] ? 0 : energy > 1 + least_noise ? energy - 1 : least_noise;
    };
    const int num_carriers = static_cast<int>(carriers_.size());
    double sum = 0;
    for (int c = 0; c < num_carriers; ++c)
        sum += excess(c);
    first = 0;
    for (double below = excess(0); below <= leaks * sum && first + 1 < num_carriers; below += excess(first))
        ++first;
    last = num_carriers - 1;
    for (double above = excess(last); above <= leaks * sum && last > first; above += excess(last))
        --last;
    return sum;
}

void NoiseTrack::find_whitening(const NoiseSum &noise, std::span<const double> noise_var, double signal,
                                const TrainingMap &map, Whitening &whitening) {
    const std::size_t n = noise_var.size();
    take_antennas(noise);
    factor_antennas(noise_var, signal, whitening);
    if (!whitening.is_needed)
        return;
    const double scale = std::sqrt(whitening.noise_var);
    whitening.carrier.resize(map.num_active * n * n);
    const bool any = carriers.any(), is_even = !any && !search.is_uneven;
    double mean = 0; // of the others, which noise_var is
    if (any)
        take_carriers(map, whitening.antennas);
    if (!is_even) {
        int count = 0;
        for (int c = 0; c < map.num_active; ++c)
            if (!carriers.interfered[c]) {
                mean += search.noise[c];
                ++count;
            }
        mean /= std::max(count, 1);
    }
    for (int c = 0; c < map.num_active; ++c) {
        std::complex<float> *to = whitening.carrier.data() + c * n * n;
        const bool is_known = any && carriers.interfered[c] && factor_carrier(c, n);
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t j = 0; j < n; ++j) {
                Complex sum = 0;
                if (!is_known) {
                    sum = whitening.antennas[i * n + j] * (is_even ? 1.0 : std::sqrt(mean / search.noise[c]));
                } else {
                    for (std::size_t k = j; k <= i; ++k)
                        sum += product(around_.sum[i * n + k], whitening.antennas[k * n + j]);
                }
                to[i * n + j] = std::complex<float>(scale * sum);
            }
        if (search.is_uneven) {
            const double quiet = *std::min_element(search.noise.begin(), search.noise.end());
            whitening.interference +=
                whitening.noise_var * (search.noise[c] - quiet) / (mean * map.num_active * signal);
        }
    }
    if (any) {
        int first = 0, last = 0;
        const double power = whitening.noise_var * find_interfered(n, first, last) / (map.num_active * signal);
        if (power > whitening.interference) { // which has been found between antennas, on all carriers
            whitening.first = first;
            whitening.last = last;
        }
        whitening.interference += power;
    }
}

void whiten(const Whitening &whitening, ArrayView<std::complex<float>, 3> grid, ArrayView<std::complex<float>, 4> h) {
    const auto &[num_symbols, num_active, num_rx, num_tx] = h.extents();
    KAQ_ASSERT(grid.extents() == std::array{num_symbols, num_rx, num_active});
    KAQ_ASSERT(whitening.carrier.size() == num_active * num_rx * num_rx);
    for (std::size_t s = 0; s < num_symbols; ++s)
        for (std::size_t c = 0; c < num_active; ++c) {
            const std::complex<float> *factor = whitening.carrier.data() + c * num_rx * num_rx;
            for (std::size_t i = num_rx; i-- > 0;) {
                const std::complex<float> own = factor[i * num_rx + i];
                std::complex<float> &sample = grid(s, i, c);
                sample = product(own, sample);
                const std::span<std::complex<float>> gains = h.row(s, c, i);
                for (std::complex<float> &gain : gains)
                    gain = product(own, gain);
                for (std::size_t k = 0; k < i; ++k) {
                    const std::complex<float> other = factor[i * num_rx + k];
                    sample += product(other, grid(s, k, c));
                    const std::span<const std::complex<float>> others = h.row(s, c, k);
                    for (std::size_t t = 0; t < num_tx; ++t)
                        gains[t] += product(other, others[t]);
                }
            }
        }
}

} // namespace kaq
