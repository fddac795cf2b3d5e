// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for AVX-512 with VNNI: sixteen lanes.
//
// vpdpbusd multiplies unsigned by signed bytes: those of the matrix are offset by 128.

#include "detection/kernels.h"

#include <immintrin.h>

#include "detection/fixed_point.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct Avx512Vnni {
    using I16 = __m512i;
    using I32 = __m512i;
    static constexpr int vectors_at_once = 4, streams_per_word = 2, matrix_offset = 128;

    static I16 load(const std::int16_t *p) { return _mm512_load_si512(p); }
    static I32 load32(const std::int32_t *p) { return _mm512_load_si512(p); }
    static void store(std::int16_t *p, I16 x) { _mm512_store_si512(p, x); }
    static void store32(std::int32_t *p, I32 x) { _mm512_store_si512(p, x); }
    static I16 set(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
    static I32 set32(int x) { return _mm512_set1_epi32(x); }
    static I16 add(I16 a, I16 b) { return _mm512_add_epi16(a, b); }
    static I16 subtract(I16 a, I16 b) { return _mm512_sub_epi16(a, b); }
    static I16 adds(I16 a, I16 b) { return _mm512_adds_epi16(a, b); }
    static I16 subs(I16 a, I16 b) { return _mm512_subs_epi16(a, b); }
    static I16 min(I16 a, I16 b) { return _mm512_min_epi16(a, b); }
    static I16 max(I16 a, I16 b) { return _mm512_max_epi16(a, b); }
    static I16 bit_and(I16 a, I16 b) { return _mm512_and_si512(a, b); }
    template <int Count>
    static I16 shift_left(I16 x) {
        return _mm512_slli_epi16(x, Count);
    }
    static I16 multiply_q15(I16 a, I16 b) { return _mm512_mulhrs_epi16(a, b); }
    static I16 multiply_high(I16 a, I16 b) { return _mm512_mulhi_epi16(a, b); }

    static I16 pack(I32 re, I32 im) { return _mm512_packs_epi32(re, im); }
    static I32 real(I16 x) { return _mm512_srai_epi32(_mm512_unpacklo_epi16(x, x), 16); }
    static I32 imaginary(I16 x) { return _mm512_srai_epi32(_mm512_unpackhi_epi16(x, x), 16); }

    static I32 columns(I16 x, I16 y) {
        const __m512i by_lane =
            _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        return _mm512_shuffle_epi8(_mm512_packs_epi16(x, y), by_lane);
    }
    static I32 clamp_columns(I32 x, int largest) {
        return _mm512_min_epi8(_mm512_max_epi8(x, _mm512_set1_epi8(static_cast<char>(-largest))),
                               _mm512_set1_epi8(static_cast<char>(largest)));
    }

    static I32 dot(I32 sum, I32 matrix, I32 columns) {
        sum = _mm512_dpbusd_epi32(sum, matrix, columns);
        asm("" : "+v"(sum)); // GCC would move each sum to another register and back
        return sum;
    }
    static I32 subtract32(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }

    static I16 combine(I16 linear, I16 diagonal, I32 re, I32 im, I32 rescale) {
        const __m512i ones = _mm512_set1_epi16(1); // linear + diagonal, in 32 bits
        return _mm512_packs_epi32(
            _mm512_dpwssd_epi32(rescaled(re, rescale), _mm512_unpacklo_epi16(linear, diagonal), ones),
            _mm512_dpwssd_epi32(rescaled(im, rescale), _mm512_unpackhi_epi16(linear, diagonal), ones));
    }

private:
    static I32 rescaled(I32 sum, I32 rescale) {
        const __m512i rounding = _mm512_set1_epi32(1 << (rescale_shift - 1));
        return _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(sum, rescale), rounding), rescale_shift);
    }
};

} // namespace

const Kernel avx512vnni_kernel = make_kernel<Avx512Vnni>("avx512vnni");

} // namespace kaq
