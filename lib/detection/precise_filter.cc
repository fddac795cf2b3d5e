// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/precise_filter.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "detection/linear_levels.h"
#include "support/assert.h"
#include "support/complex_product.h"

namespace kaq {
namespace {

using Complex = std::complex<double>;

// Columns are orthogonal when the cosine between them is at most this.
constexpr double largest_cosine = 1e-15;
// A column whose power is less than this part of all is rounding.
constexpr double least_power_part = 1e-30;
constexpr int max_sweeps = 40; // some 10 are needed

double power_of(Complex x) { return x.real() * x.real() + x.imag() * x.imag(); }

// Columns p and q of m [rows][columns] become cos p - sin phase q and sin p + cos phase q.
void rotate(std::vector<Complex> &m, int columns, int p, int q, double cosine, double sine, Complex phase) {
    for (std::size_t at = 0; at < m.size(); at += columns) {
        const Complex first = m[at + p], second = product(m[at + q], phase);
        m[at + p] = cosine * first - sine * second;
        m[at + q] = sine * first + cosine * second;
    }
}

} // namespace

PreciseFilter::PreciseFilter(const Size &size)
    : first(static_cast<std::size_t>(size.num_rx) * size.num_tx),
      second(static_cast<std::size_t>(size.num_tx) * size.num_tx), llr_scale(size.num_tx), num_rx_(size.num_rx),
      n_(size.num_tx), singular_(size.num_tx), v_(second.size()) {}

// The H in `first` becomes U there, S in `singular_`, and V: Hestenes' one-sided Jacobi method, whose small singular
// values are as accurate as large ones where streams differ in strength.
void PreciseFilter::decompose() {
    std::fill(v_.begin(), v_.end(), 0);
    for (int i = 0; i < n_; ++i)
        v_[i * n_ + i] = 1;
    double total = 0;
    for (const Complex entry : first)
        total += power_of(entry);
    bool orthogonal = false;
    for (int sweep = 0; sweep < max_sweeps && !orthogonal; ++sweep) {
        orthogonal = true;
        for (int p = 0; p < n_; ++p)
            for (int q = p + 1; q < n_; ++q) {
                double of_p = 0, of_q = 0;
                Complex both = 0; // p^H q
                for (int r = 0; r < num_rx_; ++r) {
                    const Complex a = first[r * n_ + p], b = first[r * n_ + q];
                    of_p += power_of(a);
                    of_q += power_of(b);
                    both += product(std::conj(a), b);
                }
                const double magnitude = std::sqrt(power_of(both));
                if (std::min(of_p, of_q) <= least_power_part * total ||
                    magnitude <= largest_cosine * std::sqrt(of_p) * std::sqrt(of_q))
                    continue;
                orthogonal = false;
                const double zeta = (of_q - of_p) / (2 * magnitude);
                const double tangent = std::copysign(1 / (std::abs(zeta) + std::sqrt(1 + zeta * zeta)), zeta);
                const double cosine = 1 / std::sqrt(1 + tangent * tangent);
                const Complex phase = std::conj(both) / magnitude;
                rotate(first, n_, p, q, cosine, cosine * tangent, phase);
                rotate(v_, n_, p, q, cosine, cosine * tangent, phase);
            }
    }
    for (int k = 0; k < n_; ++k) {
        double power = 0;
        for (int r = 0; r < num_rx_; ++r)
            power += power_of(first[r * n_ + k]);
        singular_[k] = std::sqrt(power);
        const double inverse = power > least_power_part * total ? 1 / singular_[k] : 0;
        for (int r = 0; r < num_rx_; ++r)
            first[r * n_ + k] *= inverse;
    }
}

void PreciseFilter::prepare(const LinearNetwork &network, std::span<const std::complex<float>> h,
                            const ChannelLevels &levels) {
    KAQ_ASSERT(h.size() == first.size());
    const double gain = levels.gain;
    double total = 0;
    for (std::size_t i = 0; i < h.size(); ++i) {
        first[i] = gain * Complex(h[i]);
        total += power_of(first[i]);
    }
    decompose();
    const bool is_lmmse = network.type == LinearNetwork::Type::lmmse;
    const double noise_var = is_lmmse ? std::max(levels.noise_var, least_noise_part * total) : levels.noise_var;
    const double least = least_singular_part * *std::max_element(singular_.begin(), singular_.end());
    for (int i = 0; i < n_; ++i) {
        // the diagonals of W H, of 1 - W H, and of W W^H; V has rows of norm 1, so that the first two cancel nothing
        double part = 0, rest = 0, enhancement = 0;
        for (int k = 0; k < n_; ++k) {
            const double s = singular_[k], power = power_of(v_[i * n_ + k]), loaded = s * s + noise_var;
            const double f = is_lmmse ? s / loaded : s > least ? 1 / s : 0;
            second[k * n_ + i] = f * std::conj(v_[i * n_ + k]);
            part += power * f * s;
            rest += is_lmmse ? power * noise_var / loaded : 0;
            enhancement += power * f * f;
        }
        if (!is_lmmse)
            part = 1, rest = noise_var * enhancement;
        part = std::max(part, least_linear_gain);
        llr_scale[i] = enhancement > 0 ? std::min(part / rest, largest_llr_scale) : 0;
        for (int k = 0; k < n_; ++k)
            second[k * n_ + i] *= gain / part;
    }
}

} // namespace kaq
