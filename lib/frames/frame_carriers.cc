// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_carriers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

#include "frames/alignment.h"
#include "support/complex_product.h"
#include "support/processors.h"

namespace kaq {
namespace {

using Complex = std::complex<float>;

// What of the phases' mean square is put down to the noise, in units of what the noise brings in on average. A little
// more than 1: by chance, noise alone brings in more than its average about half the time.
constexpr double noise_allowance = 1.5;

constexpr double least_noise =
    1e-64; // of the noisiest antenna; to scale less to equal noise would leave single precision
constexpr double least_error = 0.25, most_error = 10; // what the pilots show, over what the filter expects
constexpr double least_snr = 1e-4;

// All of what carriers [num_active] of the map's grid and channel have to agree on.
void assert_shapes([[maybe_unused]] const CarrierMap &map, [[maybe_unused]] ArrayView<const Complex, 3> grid,
                   [[maybe_unused]] ArrayView<const Complex, 4> h) {
    KAQ_ASSERT(grid.extent(0) == static_cast<std::size_t>(map.num_symbols));
    KAQ_ASSERT(grid.extent(2) == static_cast<std::size_t>(map.num_active));
    KAQ_ASSERT(h.extent(0) == grid.extent(0));
    KAQ_ASSERT(h.extent(1) == grid.extent(2));
    KAQ_ASSERT(h.extent(2) == grid.extent(1));
    KAQ_ASSERT(h.extent(3) == static_cast<std::size_t>(map.num_tx));
    KAQ_ASSERT(map.values.size() == map.pilots.size() * static_cast<std::size_t>(map.num_tx));
}

// The channel of one carrier in one symbol, [num_rx][num_tx].
template <typename T>
ArrayView<T, 2> at_carrier(ArrayView<T, 4> h, int symbol, int carrier) {
    return {&h(symbol, carrier, 0, 0), h.extent(2), h.extent(3)};
}

// What an antenna with these gains [num_tx] receives of a pilot.
std::complex<double> expected_at(std::span<const Complex> gains, const CarrierMap &map, std::size_t pilot) {
    Complex sum = 0;
    for (int t = 0; t < map.num_tx; ++t)
        sum += product(gains[t], map.values[pilot * map.num_tx + t]);
    return std::complex<double>(sum);
}

// The antennas that receive something.
struct Antennas {
    double least, noise = 0; // the sum of their noise variances
    int count = 0;

    explicit Antennas(std::span<const double> noise_var)
        : least(least_noise * *std::max_element(noise_var.begin(), noise_var.end())) {
        for (const double each : noise_var)
            if (has(each)) {
                noise += each;
                ++count;
            }
    }

    bool has(double noise_var) const { return noise_var > least; }
};

// The channel h [num_active][size] of these carriers, each multiplied with scales [size]. Returns the sum of squares.
KAQ_EACH_PROCESSOR double take_channel(const Complex *h, const int *carriers, int num_carriers, const float *scales,
                                       int size, Complex *channel) {
    constexpr int together = 32;
    const float *all = reinterpret_cast<const float *>(h);
    float *to = reinterpret_cast<float *>(channel);
    double power = 0;
    for (int first = 0; first < size; first += together) {
        const int count = std::min(together, size - first);
        float squares[together] = {};
        for (int d = 0; d < num_carriers; ++d)
            for (int i = 0; i < count; ++i) {
                const float value = all[carriers[d] * size + first + i] * scales[first + i];
                to[d * size + first + i] = value;
                squares[i] += value * value;
            }
        for (const float each : squares)
            power += each;
    }
    return power;
}

} // namespace

std::vector<double> common_phases(const PilotSums &sums) {
    const std::size_t symbols = sums.correlation.size();
    KAQ_ASSERT(sums.energy.size() == symbols);
    KAQ_ASSERT(sums.total.size() == symbols);
    KAQ_ASSERT(sums.count > 0);
    std::vector<double> phases(symbols), noise(symbols);
    if (!std::all_of(sums.energy.begin(), sums.energy.end(), [](double each) { return each > 0; }))
        return phases;
    // what is left of the received energy when the phase is right, half of it in the phase's direction
    double residual = 0;
    for (std::size_t s = 0; s < symbols; ++s)
        residual += std::max(sums.total[s] - 2 * std::abs(sums.correlation[s]) + sums.energy[s], 0.0) / sums.count;
    double spread = 0;
    for (std::size_t s = 0; s < symbols; ++s) {
        noise[s] = residual / static_cast<double>(symbols) / (2 * sums.energy[s]);
        phases[s] = std::arg(sums.correlation[s]);
        spread += (phases[s] * phases[s] - noise_allowance * noise[s]) / static_cast<double>(symbols);
    }
    for (std::size_t s = 0; s < symbols; ++s)
        phases[s] *= spread > 0 ? spread / (spread + noise[s]) : 0;
    return phases;
}

PilotAlignment::PilotAlignment(const CarrierMap &map, std::vector<int> numbers)
    : turns_(numbers.size()), numbers_(std::move(numbers)), phases_(numbers_), products_(map.pilots.size()) {
    for (const int carrier : map.pilots)
        places_.push_back(numbers_[carrier]);
    spacing_ = map.num_pilots() > 1 ? double(places_[map.num_pilots() - 1] - places_[0]) / (map.num_pilots() - 1) : 1;
}

void PilotAlignment::align(const CarrierMap &map, ArrayView<const Complex, 3> grid, std::span<const double> scale,
                           std::span<const double> phase, ArrayView<Complex, 4> h) {
    assert_shapes(map, grid, h);
    KAQ_ASSERT(scale.size() == grid.extent(1) && phase.size() == grid.extent(0));
    const int num_pilots = map.num_pilots();
    std::complex<double> neighbours = 0;
    for (std::size_t p = 0; p < products_.size(); ++p) {
        const int symbol = map.symbols[p / num_pilots], carrier = map.pilots[p];
        const ArrayView<const Complex, 2> here = at_carrier(ArrayView<const Complex, 4>(h), symbol, carrier);
        std::complex<double> sum = 0;
        for (std::size_t a = 0; a < scale.size(); ++a)
            sum += product(std::conj(scale[a] * expected_at(here.row(a), map, p)),
                           scale[a] * std::complex<double>(grid(symbol, a, carrier)));
        products_[p] = product(sum, std::polar(1.0, -phase[symbol]));
        if (p % num_pilots)
            neighbours += product(products_[p], std::conj(products_[p - 1]));
    }
    // how far neighbours turn against each other says roughly what the delay is, however large
    const double rough = -std::arg(neighbours) / (2 * std::numbers::pi * spacing_);
    phases_.set(0, 2 * std::numbers::pi * rough);
    for (std::size_t p = 0; p < products_.size(); ++p)
        products_[p] = product(products_[p], phases_[places_[p]]);
    const Alignment found = kaq::align(products_, places_, phases_);
    phases_.set(found.phase, -2 * std::numbers::pi * (rough + found.delay));
    for (int carrier = 0; carrier < map.num_active; ++carrier) {
        const Complex turn = turns_[carrier] = Complex(phases_[numbers_[carrier]]);
        for (int symbol = 0; symbol < map.num_symbols; ++symbol)
            for (Complex &pair : at_carrier(h, symbol, carrier).flat())
                pair = product(pair, turn);
    }
}

double track_phases(const CarrierMap &map, ArrayView<const Complex, 3> grid, std::span<const Complex> slope,
                    std::span<const double> scale, ArrayView<Complex, 4> h, std::span<double> phase) {
    assert_shapes(map, grid, h);
    KAQ_ASSERT(slope.empty() || slope.size() == grid.extent(2));
    KAQ_ASSERT(scale.size() == grid.extent(1));
    KAQ_ASSERT(phase.size() == grid.extent(0));
    const int num_rx = static_cast<int>(scale.size());
    if (!slope.empty())
        for (int symbol = 0; symbol < map.num_symbols; ++symbol)
            for (int carrier = 0; carrier < map.num_active; ++carrier)
                for (Complex &pair : at_carrier(h, symbol, carrier).flat())
                    pair = product(pair, slope[carrier]);
    const int num_symbols = static_cast<int>(map.symbols.size()), num_pilots = map.num_pilots();
    std::vector<std::complex<double>> correlation(num_symbols);
    std::vector<double> energy(num_symbols), total(num_symbols);
    for (int s = 0; s < num_symbols; ++s) {
        const int symbol = map.symbols[s];
        for (int p = s * num_pilots; p < (s + 1) * num_pilots; ++p) {
            const int carrier = map.pilots[p];
            const ArrayView<const Complex, 2> here = at_carrier(h, symbol, carrier);
            for (int a = 0; a < num_rx; ++a) {
                const std::complex<double> expected = scale[a] * expected_at(here.row(a), map, p),
                                           received = scale[a] * std::complex<double>(grid(symbol, a, carrier));
                correlation[s] += product(std::conj(expected), received);
                energy[s] += std::norm(expected);
                total[s] += std::norm(received);
            }
        }
        correlation[s] = product(correlation[s], std::polar(1.0, -phase[symbol]));
    }
    const std::vector<double> turned = common_phases({correlation, energy, total, num_pilots * num_rx});
    double residual = 0;
    for (int s = 0; s < num_symbols; ++s) {
        phase[map.symbols[s]] += turned[s];
        residual += total[s] - 2 * product(correlation[s], std::polar(1.0, -turned[s])).real() + energy[s];
    }
    return residual / (num_symbols * num_pilots);
}

void equal_noise(std::span<const double> noise_var, std::span<double> scale) {
    KAQ_ASSERT(scale.size() == noise_var.size());
    const Antennas alive(noise_var);
    for (std::size_t a = 0; a < scale.size(); ++a)
        scale[a] = alive.has(noise_var[a]) ? std::sqrt(alive.noise / alive.count / noise_var[a]) : 0;
}

void error_shares(const CarrierMap &map, std::span<const double> noise_var, double residual, double snr,
                  std::span<const double> error, std::span<double> share) {
    KAQ_ASSERT(error.size() == static_cast<std::size_t>(map.num_symbols) && share.size() == error.size());
    double noise = 0, expected = 0;
    for (const double of_antenna : noise_var)
        noise += of_antenna; // as it is after the scaling, too
    for (const int symbol : map.symbols)
        expected += error[symbol] * snr / static_cast<double>(map.symbols.size());
    const double shown = noise ? std::clamp((residual / noise - 1) / expected, least_error, most_error) : 0;
    for (std::size_t s = 0; s < error.size(); ++s)
        share[s] = error[s] * snr * shown;
}

DataNoise take_data(const CarrierMap &map, ArrayView<const Complex, 3> grid, ArrayView<const Complex, 4> h,
                    std::span<const double> phase, std::span<const double> noise_var, std::span<const double> error,
                    std::span<Complex *const> received, ArrayView<Complex, 4> channel) {
    const int num_symbols = static_cast<int>(map.symbols.size()), num_data = map.num_data(), num_tx = map.num_tx,
              num_rx = static_cast<int>(grid.extent(1));
    assert_shapes(map, grid, h);
    KAQ_ASSERT(phase.size() == grid.extent(0) && error.size() == grid.extent(0));
    KAQ_ASSERT(noise_var.size() == grid.extent(1) && received.size() == grid.extent(1));
    KAQ_ASSERT(channel.extents() ==
               std::array{map.symbols.size(), std::size_t(num_data), grid.extent(1), std::size_t(num_tx)});
    double mean_error = 0;
    for (const int symbol : map.symbols)
        mean_error += (1 + error[symbol]) / num_symbols;
    const Antennas alive(noise_var);
    std::vector<double> scales(num_rx);
    equal_noise(noise_var, scales);
    std::vector<float> pair_scales(2 * num_rx * num_tx);
    double power = 0;
    for (int s = 0; s < num_symbols; ++s) {
        const int symbol = map.symbols[s];
        const double of_symbol = std::sqrt(mean_error / (1 + error[symbol]));
        const Complex turn(std::polar(1.0, -phase[symbol]));
        const int *carriers = map.data.data() + s * num_data;
        for (int a = 0; a < num_rx; ++a) {
            const auto scale = static_cast<float>(of_symbol * scales[a]);
            std::fill_n(pair_scales.begin() + 2 * num_tx * a, 2 * num_tx, scale);
            const std::span<const Complex> from = grid.row(symbol, a);
            Complex *to = received[a] + s * num_data;
            const Complex factor = turn * scale;
            for (int d = 0; d < num_data; ++d)
                to[d] = product(from[carriers[d]], factor);
        }
        power += take_channel(h.row(symbol, 0, 0).data(), carriers, num_data, pair_scales.data(),
                              static_cast<int>(pair_scales.size()), channel.row(s, 0, 0).data());
    }
    const double noise = (alive.noise > 0 ? alive.noise / alive.count : 1) * mean_error;
    power /= double(num_symbols) * num_data * num_rx;
    return {noise, 10 * std::log10(std::max(power / noise, least_snr))};
}

} // namespace kaq
