// SPDX-License-Identifier: GPL-3.0-or-later
// Products of small complex matrices in C order, for functions marked KAQ_EACH_PROCESSOR.
#pragma once

#include <complex>
#include <cstddef>
#include <utility>

#include "support/processors.h"

namespace kaq {
namespace {

// Some complex numbers next to each other in a register.
template <typename T, int Count>
struct ComplexLanes {
    typedef T Values __attribute__((vector_size(2 * Count * sizeof(T))));
    typedef T Loose __attribute__((vector_size(2 * Count * sizeof(T)), aligned(sizeof(T)), may_alias));

    // i times each.
    [[gnu::always_inline]] static void turn(Values &values) {
        turn(values, std::make_integer_sequence<int, 2 * Count>());
    }

private:
    template <int... I>
    [[gnu::always_inline]] static void turn(Values &values, std::integer_sequence<int, I...>) {
        values = __builtin_shufflevector(values, values, (I ^ 1)...) * Values{T(I % 2 ? 1 : -1)...};
    }
};

// Rows of `a`, `inner` apart, with Count columns of `b`, which has `width`; into those of `to`. The values of `a` are
// complex, or with Real real.
template <bool Add, bool Real, int Rows, int Count, typename T>
[[gnu::always_inline]] inline void multiply_block(const T *a, const T *b, T *to, std::size_t inner, std::size_t width) {
    using Lanes = ComplexLanes<T, Count>;
    constexpr std::size_t parts = Real ? 1 : 2;
    typename Lanes::Values by_re[Rows] = {}, by_im[Rows] = {};
    for (std::size_t k = 0; k < inner; ++k) {
        const typename Lanes::Values row = *reinterpret_cast<const typename Lanes::Loose *>(b + 2 * k * width);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            by_re[r] += a[parts * (r * inner + k)] * row;
            if constexpr (!Real)
                by_im[r] += a[parts * (r * inner + k) + 1] * row;
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
        if constexpr (!Real) {
            Lanes::turn(by_im[r]);
            by_re[r] += by_im[r];
        }
        auto *place = reinterpret_cast<typename Lanes::Loose *>(to + 2 * r * width);
        if constexpr (Add)
            *place += by_re[r];
        else
            *place = by_re[r];
    }
}

template <bool Add, bool Real, int Count, typename T>
[[gnu::always_inline]] inline void multiply_columns(const T *a, const T *b, T *to, std::size_t rows, std::size_t inner,
                                                    std::size_t width) {
    constexpr int together = 4;
    constexpr std::size_t parts = Real ? 1 : 2;
    std::size_t r = 0;
    for (; r + together <= rows; r += together)
        multiply_block<Add, Real, together, Count>(a + parts * r * inner, b, to + 2 * r * width, inner, width);
    for (; r < rows; ++r)
        multiply_block<Add, Real, 1, Count>(a + parts * r * inner, b, to + 2 * r * width, inner, width);
}

template <bool Add, bool Real, typename T>
[[gnu::always_inline]] inline void multiply_any(const T *a, const T *b, T *to, std::size_t rows, std::size_t inner,
                                                std::size_t width) {
    constexpr std::size_t widest = widest_register / (2 * sizeof(T));
    std::size_t c = 0;
    for (; c + widest <= width; c += widest)
        multiply_columns<Add, Real, widest>(a, b + 2 * c, to + 2 * c, rows, inner, width);
    if constexpr (widest > 4)
        for (; c + 4 <= width; c += 4)
            multiply_columns<Add, Real, 4>(a, b + 2 * c, to + 2 * c, rows, inner, width);
    if constexpr (widest > 2)
        for (; c + 2 <= width; c += 2)
            multiply_columns<Add, Real, 2>(a, b + 2 * c, to + 2 * c, rows, inner, width);
    for (; c < width; ++c)
        multiply_columns<Add, Real, 1>(a, b + 2 * c, to + 2 * c, rows, inner, width);
}

// `to` [rows][width] becomes, or with Add gains, `a` [rows][inner] times `b` [inner][width].
template <bool Add = false, typename T>
[[gnu::always_inline]] inline void multiply(const std::complex<T> *a, const std::complex<T> *b, std::complex<T> *to,
                                            std::size_t rows, std::size_t inner, std::size_t width) {
    multiply_any<Add, false>(reinterpret_cast<const T *>(a), reinterpret_cast<const T *>(b), reinterpret_cast<T *>(to),
                             rows, inner, width);
}

// The same for a real `a`.
template <bool Add = false, typename T>
[[gnu::always_inline]] inline void multiply(const T *a, const std::complex<T> *b, std::complex<T> *to, std::size_t rows,
                                            std::size_t inner, std::size_t width) {
    multiply_any<Add, true>(a, reinterpret_cast<const T *>(b), reinterpret_cast<T *>(to), rows, inner, width);
}

} // namespace
} // namespace kaq
