// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "support/complex_product.h"

namespace kaq {

// exp(1j (phase + slope carrier)) of some carriers: by products from one to the next, which costs a tenth of a sine
// and a cosine each, and some 1e-14 over a thousand carriers.
class CarrierPhases {
public:
    // carriers: those that will be asked for, at least one.
    explicit CarrierPhases(std::span<const int> carriers)
        : first_(*std::min_element(carriers.begin(), carriers.end())),
          values_(*std::max_element(carriers.begin(), carriers.end()) - first_ + 1) {}

    void set(double phase, double slope) {
        const std::complex<double> step = std::polar(1.0, slope);
        std::complex<double> value = std::polar(1.0, phase + slope * first_);
        for (std::complex<double> &each : values_) {
            each = value;
            value = product(value, step);
        }
    }

    std::complex<double> operator[](int carrier) const { return values_[static_cast<std::size_t>(carrier - first_)]; }

private:
    int first_;
    std::vector<std::complex<double>> values_;
};

} // namespace kaq
