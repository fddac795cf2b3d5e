// SPDX-License-Identifier: GPL-3.0-or-later
// What AVX2 and AVX-VNNI have in common: 256 bits, eight lanes. instruction_set.h says what each of these is.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "detection/fixed_point.h"

namespace kaq {
namespace {

struct Avx2State {
    using I16 = __m256i;
    using I32 = __m256i;
    static constexpr int vectors_at_once = 2;

    static I16 load(const std::int16_t *p) { return _mm256_load_si256(reinterpret_cast<const __m256i *>(p)); }
    static I32 load32(const std::int32_t *p) { return _mm256_load_si256(reinterpret_cast<const __m256i *>(p)); }
    static void store(std::int16_t *p, I16 x) { _mm256_store_si256(reinterpret_cast<__m256i *>(p), x); }
    static void store32(std::int32_t *p, I32 x) { _mm256_store_si256(reinterpret_cast<__m256i *>(p), x); }
    static I16 set(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
    static I32 set32(int x) { return _mm256_set1_epi32(x); }
    static I16 add(I16 a, I16 b) { return _mm256_add_epi16(a, b); }
    static I16 subtract(I16 a, I16 b) { return _mm256_sub_epi16(a, b); }
    static I16 adds(I16 a, I16 b) { return _mm256_adds_epi16(a, b); }
    static I16 subs(I16 a, I16 b) { return _mm256_subs_epi16(a, b); }
    static I16 min(I16 a, I16 b) { return _mm256_min_epi16(a, b); }
    static I16 max(I16 a, I16 b) { return _mm256_max_epi16(a, b); }
    static I16 bit_and(I16 a, I16 b) { return _mm256_and_si256(a, b); }
    template <int Count>
    static I16 shift_left(I16 x) {
        return _mm256_slli_epi16(x, Count);
    }
    static I16 multiply_q15(I16 a, I16 b) { return _mm256_mulhrs_epi16(a, b); }
    static I16 multiply_high(I16 a, I16 b) { return _mm256_mulhi_epi16(a, b); }

    static I16 pack(I32 re, I32 im) { return _mm256_packs_epi32(re, im); }
    static I32 real(I16 x) { return _mm256_srai_epi32(_mm256_unpacklo_epi16(x, x), 16); }
    static I32 imaginary(I16 x) { return _mm256_srai_epi32(_mm256_unpackhi_epi16(x, x), 16); }

    static I32 subtract32(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }

    static I16 combine(I16 linear, I16 diagonal, I32 re, I32 im, I32 rescale) {
        const __m256i ones = set(1); // linear + diagonal, in 32 bits
        const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(linear, diagonal), ones);
        const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(linear, diagonal), ones);
        return _mm256_packs_epi32(_mm256_add_epi32(rescaled(re, rescale), low),
                                  _mm256_add_epi32(rescaled(im, rescale), high));
    }

private:
    static I32 rescaled(I32 sum, I32 rescale) {
        const __m256i rounding = _mm256_set1_epi32(1 << (rescale_shift - 1));
        return _mm256_srai_epi32(_mm256_add_epi32(_mm256_mullo_epi32(sum, rescale), rounding), rescale_shift);
    }
};

} // namespace
} // namespace kaq
