// SPDX-License-Identifier: GPL-3.0-or-later
// Sums over the samples of an antenna.
#pragma once

#include <complex>

#include "frames/antenna_view.h"
#include "support/processors.h"

namespace kaq {
namespace {

// Sum of term(0) to term(count - 1), in a few partial sums that a processor adds at once.
template <typename Term>
[[gnu::always_inline]] inline double sum(int count, Term term) {
    constexpr int parts = 16;
    float partial[parts] = {};
    int n = 0;
    for (; n + parts <= count; n += parts)
        for (int k = 0; k < parts; ++k)
            partial[k] += term(n + k);
    for (; n < count; ++n)
        partial[0] += term(n);
    double total = 0;
    for (const float each : partial)
        total += each;
    return total;
}

KAQ_EACH_PROCESSOR inline double energy(const AntennaView &of, std::complex<float> without = 0) {
    const float re = without.real(), im = without.imag(), *x = of.re.data(), *y = of.im.data();
    return sum(of.size(), [=](int n) { return (x[n] - re) * (x[n] - re) + (y[n] - im) * (y[n] - im); });
}

KAQ_EACH_PROCESSOR inline std::complex<float> mean(const AntennaView &of) {
    const float *x = of.re.data(), *y = of.im.data();
    return std::complex<float>(static_cast<float>(sum(of.size(), [=](int n) { return x[n]; }) / of.size()),
                               static_cast<float>(sum(of.size(), [=](int n) { return y[n]; }) / of.size()));
}

// With themselves `lag` samples later, their mean taken away.
KAQ_EACH_PROCESSOR inline std::complex<double> self_correlation(const AntennaView &of, std::complex<float> mean,
                                                                int lag) {
    KAQ_ASSERT(lag >= 0 && lag < of.size());
    const float re = mean.real(), im = mean.imag(), *x = of.re.data(), *y = of.im.data(), *later_x = x + lag,
                *later_y = y + lag;
    const int count = of.size() - lag;
    return {sum(count, [=](int n) { return (x[n] - re) * (later_x[n] - re) + (y[n] - im) * (later_y[n] - im); }),
            sum(count, [=](int n) { return (x[n] - re) * (later_y[n] - im) - (y[n] - im) * (later_x[n] - re); })};
}

// 0 for an antenna that receives nothing.
inline double inverse(double value) { return value > 0 ? 1 / value : 0; }

} // namespace
} // namespace kaq
