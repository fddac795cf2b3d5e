// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/alignment.h"

#include <cmath>
#include <cstddef>
#include <numbers>

#include "support/assert.h"
#include "support/complex_product.h"

namespace kaq {
namespace {

constexpr int rounds = 2; // the first finds where phases wrap

} // namespace

Alignment align(std::span<const std::complex<double>> products, std::span<const int> carriers, CarrierPhases &phases) {
    KAQ_ASSERT(carriers.size() == products.size());
    std::complex<double> all = 0;
    for (const std::complex<double> each : products)
        all += each;
    Alignment found{std::arg(all), 0};
    for (int round = 0; round < rounds; ++round) {
        // a straight line through the angles that are left
        phases.set(-found.phase, 2 * std::numbers::pi * found.delay);
        double mass = 0, first = 0, second = 0, level = 0, slope = 0;
        for (std::size_t i = 0; i < products.size(); ++i) {
            const double carrier = carriers[i];
            const std::complex<double> turned = product(products[i], phases[carriers[i]]);
            const double weight = std::sqrt(std::norm(turned)), angle = weight * std::arg(turned);
            mass += weight;
            first += weight * carrier;
            second += weight * carrier * carrier;
            level += angle;
            slope += angle * carrier;
        }
        const double determinant = mass * second - first * first;
        if (!(determinant > 0))
            break;
        found.phase += (second * level - first * slope) / determinant;
        found.delay -= (mass * slope - first * level) / determinant / (2 * std::numbers::pi);
    }
    return found;
}

} // namespace kaq
