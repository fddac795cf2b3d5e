// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/pilot_correction.h"

#include <cmath>
#include <cstddef>

#include "support/assert.h"
#include "support/complex_product.h"
#include "support/hermitian.h"

namespace kaq {

using Complex = std::complex<float>;

double PilotCorrection::correct(const CarrierMap &map, ArrayView<const Complex, 3> grid,
                                std::span<const double> noise_var, std::span<const double> phase,
                                std::span<const Complex> turns, const ForecastErrors &errors, ArrayView<Complex, 4> h) {
    const std::size_t num_symbols = h.extent(0), num_active = h.extent(1), num_rx = h.extent(2), num_tx = h.extent(3),
                      num_modes = errors.num_modes, size = num_tx * num_modes, num_pilots = map.pilots.size(),
                      of_symbol = map.num_pilots();
    KAQ_ASSERT(turns.size() == num_active && errors.frequency.size() == num_active * num_modes);
    KAQ_ASSERT(errors.variances.size() == size * num_symbols && noise_var.size() == num_rx);
    waves_.resize(num_active * num_modes);
    for (std::size_t f = 0; f < num_active; ++f)
        for (std::size_t k = 0; k < num_modes; ++k)
            waves_[f * num_modes + k] = product(errors.frequency[f * num_modes + k], turns[f]);
    scales_.resize(size * num_symbols);
    for (std::size_t i = 0; i < scales_.size(); ++i)
        scales_[i] = static_cast<float>(std::sqrt(errors.variances[i]));
    // what the pilots see of each error, [pilot][size], and how surely
    seen_.resize(num_pilots * size);
    for (std::size_t p = 0; p < num_pilots; ++p) {
        const std::size_t symbol = map.symbols[p / of_symbol], carrier = map.pilots[p];
        for (std::size_t t = 0; t < num_tx; ++t)
            for (std::size_t k = 0; k < num_modes; ++k) {
                const std::size_t i = t * num_modes + k;
                seen_[p * size + i] =
                    std::complex<double>(product(map.values[p * num_tx + t], waves_[carrier * num_modes + k])) *
                    double(scales_[i * num_symbols + symbol]);
            }
    }
    inverse_.assign(size * size, 0);
    for (std::size_t p = 0; p < num_pilots; ++p)
        for (std::size_t i = 0; i < size; ++i) {
            const std::complex<double> row = std::conj(seen_[p * size + i]);
            for (std::size_t j = 0; j <= i; ++j)
                inverse_[i * size + j] += product(row, seen_[p * size + j]);
        }
    for (std::size_t i = 0; i < size; ++i)
        inverse_[i * size + i] += 1;
    if (!cholesky(inverse_, size))
        return 1;
    invert_lower(inverse_, size);

    double before = 0, after = 0;
    for (std::size_t i = 0; i < size; ++i) {
        double variance = 0, left = 0;
        for (std::size_t s = 0; s < num_symbols; ++s)
            variance += errors.variances[i * num_symbols + s];
        for (std::size_t f = 0; f < num_active; ++f)
            left += std::norm(waves_[f * num_modes + i % num_modes]);
        variance *= left;
        double posterior = 0;
        for (std::size_t j = i; j < size; ++j)
            posterior += std::norm(inverse_[j * size + i]);
        before += variance;
        after += variance * posterior;
    }

    left_.resize(num_pilots);
    sums_.resize(size);
    added_.resize(num_modes);
    for (std::size_t a = 0; a < num_rx; ++a) {
        if (!(noise_var[a] > 0))
            continue;
        const double weight = 1 / std::sqrt(noise_var[a]);
        for (std::size_t p = 0; p < num_pilots; ++p) {
            const std::size_t symbol = map.symbols[p / of_symbol], carrier = map.pilots[p];
            std::complex<double> expected = 0;
            for (std::size_t t = 0; t < num_tx; ++t)
                expected += std::complex<double>(product(h(symbol, carrier, a, t), map.values[p * num_tx + t]));
            left_[p] =
                weight *
                (product(std::complex<double>(grid(symbol, a, carrier)), std::polar(1.0, -phase[symbol])) - expected);
        }
        for (std::size_t i = 0; i < size; ++i) {
            sums_[i] = 0;
            for (std::size_t p = 0; p < num_pilots; ++p)
                sums_[i] += product(std::conj(seen_[p * size + i]), left_[p]);
        }
        multiply_lower(inverse_, sums_);
        for (std::size_t i = 0; i < size; ++i) { // with the conjugate transpose
            std::complex<double> sum = 0;
            for (std::size_t j = i; j < size; ++j)
                sum += product(std::conj(inverse_[j * size + i]), sums_[j]);
            sums_[i] = sum;
        }
        for (std::size_t s = 0; s < num_symbols; ++s)
            for (std::size_t t = 0; t < num_tx; ++t) {
                for (std::size_t k = 0; k < num_modes; ++k) {
                    const std::size_t i = t * num_modes + k;
                    added_[k] = Complex(sums_[i] * (scales_[i * num_symbols + s] / weight));
                }
                for (std::size_t f = 0; f < num_active; ++f) {
                    Complex sum = 0;
                    for (std::size_t k = 0; k < num_modes; ++k)
                        sum += product(waves_[f * num_modes + k], added_[k]);
                    h(s, f, a, t) += sum;
                }
            }
    }
    return before > 0 ? after / before : 1;
}

} // namespace kaq
