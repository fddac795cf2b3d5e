// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_carriers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace kaq {
namespace {

// Without the detour over NaN and Inf that std::complex takes.
template <typename T>
inline std::complex<T> product(std::complex<T> a, std::complex<T> b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

} // namespace

std::vector<double> common_phases(const std::vector<std::complex<double>> &correlation,
                                  const std::vector<double> &energy, const std::vector<double> &total, int count) {
    const std::size_t symbols = correlation.size();
    std::vector<double> phases(symbols), noise(symbols);
    if (!std::all_of(energy.begin(), energy.end(), [](double each) { return each > 0; }))
        return phases;
    // what is left of the received energy when the phase is right, half of it in the phase's direction
    double residual = 0;
    for (std::size_t s = 0; s < symbols; ++s)
        residual += std::max(total[s] - 2 * std::abs(correlation[s]) + energy[s], 0.0) / count;
    double spread = 0;
    for (std::size_t s = 0; s < symbols; ++s) {
        noise[s] = residual / static_cast<double>(symbols) / (2 * energy[s]);
        phases[s] = std::arg(correlation[s]);
        spread += (phases[s] * phases[s] - 1.5 * noise[s]) / static_cast<double>(symbols);
    }
    for (std::size_t s = 0; s < symbols; ++s)
        phases[s] *= spread > 0 ? spread / (spread + noise[s]) : 0;
    return phases;
}

double track_phases(const CarrierMap &map, int num_rx, const std::complex<float> *grid,
                    const std::complex<float> *slope, const double *scale, std::complex<float> *h, double *phase) {
    const int pairs = num_rx * map.num_tx;
    for (int symbol = 0; symbol < map.num_symbols; ++symbol)
        for (int carrier = 0; carrier < map.num_active; ++carrier) {
            std::complex<float> *here = h + static_cast<std::size_t>(symbol * map.num_active + carrier) * pairs;
            for (int pair = 0; pair < pairs; ++pair)
                here[pair] = product(here[pair], slope[carrier]);
        }
    const int num_symbols = static_cast<int>(map.symbols.size()), num_pilots = map.num_pilots();
    std::vector<std::complex<double>> correlation(num_symbols);
    std::vector<double> energy(num_symbols), total(num_symbols);
    for (int s = 0; s < num_symbols; ++s) {
        const int symbol = map.symbols[s];
        for (int p = s * num_pilots; p < (s + 1) * num_pilots; ++p) {
            const int carrier = map.pilots[p];
            const std::complex<float> *here = h + static_cast<std::size_t>(symbol * map.num_active + carrier) * pairs;
            for (int a = 0; a < num_rx; ++a) {
                std::complex<float> sum = 0;
                for (int t = 0; t < map.num_tx; ++t)
                    sum += product(here[a * map.num_tx + t], map.values[p * map.num_tx + t]);
                const std::complex<double> expected = scale[a] * std::complex<double>(sum),
                                           received =
                                               scale[a] * std::complex<double>(
                                                              grid[(symbol * num_rx + a) * map.num_active + carrier]);
                correlation[s] += product(std::conj(expected), received);
                energy[s] += std::norm(expected);
                total[s] += std::norm(received);
            }
        }
        correlation[s] = product(correlation[s], std::polar(1.0, -phase[symbol]));
    }
    const std::vector<double> turned = common_phases(correlation, energy, total, num_pilots * num_rx);
    double residual = 0;
    for (int s = 0; s < num_symbols; ++s) {
        phase[map.symbols[s]] += turned[s];
        residual += total[s] - 2 * product(correlation[s], std::polar(1.0, -turned[s])).real() + energy[s];
    }
    return residual / (num_symbols * num_pilots);
}

double take_data(const CarrierMap &map, int num_rx, const std::complex<float> *grid, const std::complex<float> *h,
                 const double *phase, const float *scale, std::complex<float> *received, std::complex<float> *channel) {
    const int num_symbols = static_cast<int>(map.symbols.size()), num_data = map.num_data(), num_tx = map.num_tx;
    double power = 0;
    for (int s = 0; s < num_symbols; ++s, scale += num_rx) {
        const int symbol = map.symbols[s];
        const std::complex<float> turn(std::polar(1.0, -phase[symbol]));
        const int *carriers = map.data.data() + s * num_data;
        for (int a = 0; a < num_rx; ++a) {
            const std::complex<float> *from = grid + static_cast<std::size_t>(symbol * num_rx + a) * map.num_active;
            std::complex<float> *to = received + static_cast<std::size_t>(a * num_symbols + s) * num_data;
            for (int d = 0; d < num_data; ++d)
                to[d] = product(from[carriers[d]], turn * scale[a]);
        }
        for (int d = 0; d < num_data; ++d) {
            const std::complex<float> *from =
                h + static_cast<std::size_t>(symbol * map.num_active + carriers[d]) * num_rx * num_tx;
            float of_carrier = 0;
            for (int a = 0; a < num_rx; ++a)
                for (int t = 0; t < num_tx; ++t, ++from, ++channel) {
                    *channel = *from * scale[a];
                    of_carrier += std::norm(*channel);
                }
            power += of_carrier;
        }
    }
    return power;
}

} // namespace kaq
