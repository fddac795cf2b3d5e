// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_carriers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "support/complex_product.h"

namespace kaq {
namespace {

using Complex = std::complex<float>;

// What of the phases' mean square is put down to the noise, in units of what the noise brings in on average. A little
// more than 1: by chance, noise alone brings in more than its average about half the time.
constexpr double noise_allowance = 1.5;

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

double track_phases(const CarrierMap &map, ArrayView<const Complex, 3> grid, std::span<const Complex> slope,
                    std::span<const double> scale, ArrayView<Complex, 4> h, std::span<double> phase) {
    assert_shapes(map, grid, h);
    KAQ_ASSERT(slope.size() == grid.extent(2));
    KAQ_ASSERT(scale.size() == grid.extent(1));
    KAQ_ASSERT(phase.size() == grid.extent(0));
    const int num_rx = static_cast<int>(scale.size());
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
                const std::span<const Complex> gains = here.row(a);
                Complex sum = 0;
                for (int t = 0; t < map.num_tx; ++t)
                    sum += product(gains[t], map.values[p * map.num_tx + t]);
                const std::complex<double> expected = scale[a] * std::complex<double>(sum),
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

double take_data(const CarrierMap &map, ArrayView<const Complex, 3> grid, ArrayView<const Complex, 4> h,
                 std::span<const double> phase, ArrayView<const float, 2> scale, ArrayView<Complex, 3> received,
                 ArrayView<Complex, 4> channel) {
    const int num_symbols = static_cast<int>(map.symbols.size()), num_data = map.num_data(), num_tx = map.num_tx,
              num_rx = static_cast<int>(grid.extent(1));
    assert_shapes(map, grid, h);
    KAQ_ASSERT(phase.size() == grid.extent(0));
    KAQ_ASSERT(scale.extents() == std::array{map.symbols.size(), grid.extent(1)});
    KAQ_ASSERT(received.extents() == std::array{grid.extent(1), map.symbols.size(), std::size_t(num_data)});
    KAQ_ASSERT(channel.extents() ==
               std::array{map.symbols.size(), std::size_t(num_data), grid.extent(1), std::size_t(num_tx)});
    double power = 0;
    for (int s = 0; s < num_symbols; ++s) {
        const int symbol = map.symbols[s];
        const Complex turn(std::polar(1.0, -phase[symbol]));
        const std::span<const int> carriers(map.data.data() + s * num_data, num_data);
        const std::span<const float> scales = scale.row(s);
        for (int a = 0; a < num_rx; ++a) {
            const std::span<const Complex> from = grid.row(symbol, a);
            const std::span<Complex> to = received.row(a, s);
            const Complex factor = turn * scales[a];
            for (int d = 0; d < num_data; ++d)
                to[d] = product(from[carriers[d]], factor);
        }
        for (int d = 0; d < num_data; ++d) {
            const Complex *from = at_carrier(h, symbol, carriers[d]).data();
            Complex *to = at_carrier(channel, s, d).data();
            float of_carrier = 0;
            for (const float antenna_scale : scales)
                for (int t = 0; t < num_tx; ++t, ++from, ++to) {
                    *to = *from * antenna_scale;
                    of_carrier += std::norm(*to);
                }
            power += of_carrier;
        }
    }
    return power;
}

} // namespace kaq
