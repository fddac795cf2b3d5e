// SPDX-License-Identifier: GPL-3.0-or-later
// Floats in the widest vector register of the instruction set that the including file is compiled for: one channel in
// each lane. Arrays are [..][lane]; complex numbers are split.
//
// Sums of products are written with plus_product and minus_product, one product at a time. Everything is compiled with
// -ffp-contract=off, so that no compiler fuses any other. The bits are then those of the source, with every compiler
// and on every instruction set that has fused multiply-adds.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

// Kernels that run on processors without fused multiply-adds define one of these: KAQ_SEPARATE_PRODUCTS to round
// products before they are summed, or KAQ_EMULATED_PRODUCTS to compute the bits of fused ones in double precision.
#if !defined(KAQ_SEPARATE_PRODUCTS) && !defined(KAQ_EMULATED_PRODUCTS)
#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif
#endif

namespace kaq {
namespace {

#if defined(__AVX512F__)
constexpr int native_lanes = 16;
#elif defined(__AVX__)
constexpr int native_lanes = 8;
#else
constexpr int native_lanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(4 * native_lanes)));
typedef std::int32_t LanesInt __attribute__((vector_size(4 * native_lanes)));
// the same without a promise of alignment
typedef std::int32_t LooseLanesInt __attribute__((vector_size(4 * native_lanes), aligned(4), may_alias));
typedef float LooseLanes __attribute__((vector_size(4 * native_lanes), aligned(4), may_alias));

inline Lanes &at(float *p, std::size_t index) { return *reinterpret_cast<Lanes *>(p + index * native_lanes); }
inline const Lanes &at(const float *p, std::size_t index) {
    return *reinterpret_cast<const Lanes *>(p + index * native_lanes);
}
inline LanesInt &at(std::int32_t *p, std::size_t index) {
    return *reinterpret_cast<LanesInt *>(p + index * native_lanes);
}
inline Lanes all(float x) { return x - Lanes{}; }

// sum + a b and sum - a b, rounded once where KAQ_SEPARATE_PRODUCTS does not say otherwise. Intrinsics, because not
// every compiler makes vectors of a loop over std::fma.
#if defined(KAQ_SEPARATE_PRODUCTS)
inline Lanes plus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return sum + a * b; }
inline Lanes minus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return sum - a * b; }
#elif defined(KAQ_EMULATED_PRODUCTS)
// The product is exact in double precision. The sum is rounded to odd, so that the rounding to single precision gives
// what one rounding of the exact sum would (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).
typedef double WideLanes __attribute__((vector_size(8 * native_lanes)));
typedef std::int64_t WideLanesInt __attribute__((vector_size(8 * native_lanes)));
// Not inlined: it would make the code, and the time to compile it, several times as large.
[[gnu::noinline]] inline Lanes plus_product(const Lanes &sum, const Lanes &a, const Lanes &b) {
    const WideLanes product = __builtin_convertvector(a, WideLanes) * __builtin_convertvector(b, WideLanes);
    const WideLanes addend = __builtin_convertvector(sum, WideLanes), rounded = product + addend;
    const WideLanes part = rounded - product, error = (product - (rounded - part)) + (addend - part);
    const WideLanesInt bits = std::bit_cast<WideLanesInt>(rounded);
    // what is even and inexact moves to its odd neighbour on the side of the exact sum; Inf has an error of NaN
    const WideLanesInt even = (bits & 1) == 0, inexact = (error > 0) | (error < 0);
    const WideLanesInt away = (error > 0) == (rounded > 0);
    const WideLanesInt towards = (away & 1) | ~away;
    return __builtin_convertvector(std::bit_cast<WideLanes>(bits + (towards & even & inexact)), Lanes);
}
inline Lanes minus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return plus_product(sum, -a, b); }
#elif defined(__AVX512F__)
inline Lanes plus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return _mm512_fmadd_ps(a, b, sum); }
inline Lanes minus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return _mm512_fnmadd_ps(a, b, sum); }
#elif defined(__x86_64__)
inline Lanes plus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return _mm256_fmadd_ps(a, b, sum); }
inline Lanes minus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return _mm256_fnmadd_ps(a, b, sum); }
#else
inline Lanes plus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return vfmaq_f32(sum, a, b); }
inline Lanes minus_product(const Lanes &sum, const Lanes &a, const Lanes &b) { return vfmsq_f32(sum, a, b); }
#endif

// Keeps a value that was loaded in its register: for a second use, GCC would load it again.
inline void keep([[maybe_unused]] Lanes &x) {
#if defined(__AVX512F__)
    asm("" : "+v"(x));
#elif defined(__AVX__)
    asm("" : "+x"(x));
#elif defined(__aarch64__)
    asm("" : "+w"(x));
#endif
}

// a > b ? a : b, and a < b ? a : b: b where either is NaN. Intrinsics, because GCC makes two instructions of many.
#if defined(__AVX512F__)
inline Lanes maximum(const Lanes &a, const Lanes &b) { return _mm512_max_ps(a, b); }
inline Lanes minimum(const Lanes &a, const Lanes &b) { return _mm512_min_ps(a, b); }
#elif defined(__AVX__)
inline Lanes maximum(const Lanes &a, const Lanes &b) { return _mm256_max_ps(a, b); }
inline Lanes minimum(const Lanes &a, const Lanes &b) { return _mm256_min_ps(a, b); }
#else
inline Lanes maximum(const Lanes &a, const Lanes &b) { return a > b ? a : b; }
inline Lanes minimum(const Lanes &a, const Lanes &b) { return a < b ? a : b; }
#endif
inline LanesInt minimum(const LanesInt &a, const LanesInt &b) { return a < b ? a : b; }
// low where x is NaN
inline Lanes clip(const Lanes &x, float low, float high) { return minimum(maximum(x, all(low)), all(high)); }
inline Lanes finite_or_zero(const Lanes &x) { return x - x == 0.0f ? x : Lanes{}; }
inline Lanes magnitude(const Lanes &a) {
    return std::bit_cast<Lanes>(std::bit_cast<LanesInt>(a) & std::numeric_limits<std::int32_t>::max());
}
inline Lanes square_root(const Lanes &x) {
    Lanes root;
    for (int l = 0; l < native_lanes; ++l)
        root[l] = std::sqrt(x[l]);
    return root;
}

// Round half to even, for |x| < 2^22. Adding 1.5 * 2^23 leaves no bits for a fraction.
constexpr float rounding_magic = 12582912.0f;
#if defined(__AVX512F__)
inline LanesInt round_to_int(const Lanes &x) { return (LanesInt)_mm512_cvtps_epi32(x); }
#elif defined(__AVX__)
inline LanesInt round_to_int(const Lanes &x) { return (LanesInt)_mm256_cvtps_epi32(x); }
#else
inline LanesInt round_to_int(const Lanes &x) {
    return __builtin_convertvector((x + rounding_magic) - rounding_magic, LanesInt);
}
#endif

// a[0], b[0], a[1], b[1], ...: the first half of it, and the second; and of a and then b the even and the odd entries.
#if defined(__AVX512F__)
#define KAQ_SHUFFLES(F)                                                                                                \
    F(interleave_low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)                                          \
    F(interleave_high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)                                   \
    F(evens, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)                                                \
    F(odds, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif defined(__AVX__)
#define KAQ_SHUFFLES(F)                                                                                                \
    F(interleave_low, 0, 8, 1, 9, 2, 10, 3, 11)                                                                        \
    F(interleave_high, 4, 12, 5, 13, 6, 14, 7, 15)                                                                     \
    F(evens, 0, 2, 4, 6, 8, 10, 12, 14)                                                                                \
    F(odds, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define KAQ_SHUFFLES(F)                                                                                                \
    F(interleave_low, 0, 4, 1, 5)                                                                                      \
    F(interleave_high, 2, 6, 3, 7)                                                                                     \
    F(evens, 0, 2, 4, 6)                                                                                               \
    F(odds, 1, 3, 5, 7)
#endif
#define KAQ_SHUFFLE(name, ...)                                                                                         \
    template <typename Vector>                                                                                         \
    inline Vector name(const Vector &a, const Vector &b) {                                                             \
        return __builtin_shufflevector(a, b, __VA_ARGS__);                                                             \
    }
KAQ_SHUFFLES(KAQ_SHUFFLE)
#undef KAQ_SHUFFLE
#undef KAQ_SHUFFLES

// Columns become rows: native_lanes vectors of that many 32-bit words.
#if defined(__AVX512F__)
template <typename Vector>
inline void transpose(Vector (&m)[native_lanes]) {
    // within 128 bits first, which takes half as long as across them
    __m512 t[16], u[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps((__m512)m[i], (__m512)m[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps((__m512)m[i], (__m512)m[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 4)
        for (int b = 0; b < 2; ++b) {
            const __m512d even = _mm512_castps_pd(t[i + b]), odd = _mm512_castps_pd(t[i + b + 2]);
            u[i + 2 * b] = _mm512_castpd_ps(_mm512_unpacklo_pd(even, odd));
            u[i + 2 * b + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd));
        }
        // the 128-bit part p of u[4 a + b] has column 4 p + b of rows 4 a to 4 a + 3
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
        const __m512 even = _mm512_shuffle_f32x4(u[b], u[4 + b], 0x88),
                     odd = _mm512_shuffle_f32x4(u[b], u[4 + b], 0xdd),
                     last_even = _mm512_shuffle_f32x4(u[8 + b], u[12 + b], 0x88),
                     last_odd = _mm512_shuffle_f32x4(u[8 + b], u[12 + b], 0xdd);
        m[b] = (Vector)_mm512_shuffle_f32x4(even, last_even, 0x88);
        m[8 + b] = (Vector)_mm512_shuffle_f32x4(even, last_even, 0xdd);
        m[4 + b] = (Vector)_mm512_shuffle_f32x4(odd, last_odd, 0x88);
        m[12 + b] = (Vector)_mm512_shuffle_f32x4(odd, last_odd, 0xdd);
    }
}
#else
template <typename Vector>
inline void transpose(Vector (&m)[native_lanes]) {
    // each pass interleaves the first half of the vectors with the second half
    constexpr int half = native_lanes / 2;
    for (int pass = 1; pass < native_lanes; pass *= 2) {
        Vector next[native_lanes];
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i) {
            next[2 * i] = interleave_low(m[i], m[i + half]);
            next[2 * i + 1] = interleave_high(m[i], m[i + half]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < native_lanes; ++i)
            m[i] = next[i];
    }
}
#endif

} // namespace
} // namespace kaq
