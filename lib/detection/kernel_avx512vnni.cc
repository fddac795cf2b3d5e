// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for AVX-512 with VNNI: 32 rows of int16 state per register.
//
// vpdpbusd multiplies unsigned by signed bytes: activations are offset by 128, and the accumulators start at
// -128 * (sum of the row), which undoes it.

#include "detection/kernels.h"

#include <immintrin.h>

#include "detection/fixed_point.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct Avx512Vnni {
    using I16 = __m512i;
    using I32 = __m512i;
    using Layout = PackedLayout<16, 4, 128>;
    // 7: an OFDM slot has 14 symbols
    static constexpr int interleave(int registers, bool segments) { return registers == 1 && !segments ? 7 : 4; }
    static constexpr int registers_at_once = 2;

    static I16 load(const std::int16_t *p) { return _mm512_load_si512(p); }
    static I32 load32(const std::int32_t *p) { return _mm512_load_si512(p); }
    static void store(std::int16_t *p, I16 x) { _mm512_store_si512(p, x); }
    static I16 set(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
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

    // Bytes in the order of vpacksswb of two registers, each 16 bytes holding eight rows of either.
    template <int Vectors, int Registers>
    struct Activations {
        alignas(64) std::uint8_t bytes[(Vectors * Registers + 1) / 2 * 64];

        void fill(int i, I16 x, I16 y, int largest) {
            const __m512i clamped = _mm512_min_epi8(
                _mm512_max_epi8(_mm512_packs_epi16(x, y), _mm512_set1_epi8(static_cast<char>(-largest))),
                _mm512_set1_epi8(static_cast<char>(largest)));
            _mm512_store_si512(bytes + 32 * i, _mm512_xor_si512(clamped, _mm512_set1_epi8(-128)));
        }
        I32 columns(int v, int block, int within) const {
            const int i = v * Registers + block / 8;
            std::int32_t four;
            std::memcpy(&four, bytes + i / 2 * 64 + i % 2 * 8 + within / 2 * 16 + within % 2 * 4, 4);
            return _mm512_set1_epi32(four);
        }
        template <int Segment>
        I32 segment_columns(int i, int half, int within) const {
            // the quads of a vector lie in the 128-bit lanes that its rows are in
            __m512i rows = _mm512_load_si512(bytes + i / 2 * 64);
            if constexpr (Segment == 16)
                rows = within / 2 ? _mm512_shuffle_i32x4(rows, rows, 0xf5) : _mm512_shuffle_i32x4(rows, rows, 0xa0);
            const int quad = (Segment == 4 ? half : within % 2) + i % 2 * 2;
            return _mm512_shuffle_epi8(
                rows, _mm512_add_epi8(_mm512_set1_epi32(0x03020100), _mm512_set1_epi8(static_cast<char>(4 * quad))));
        }
    };

    static I32 dot(I32 sum, I32 columns, I32 entries) { return _mm512_dpbusd_epi32(sum, columns, entries); }

    static I32 rescaled(I32 sum, I32 rescale) {
        const __m512i rounding = _mm512_set1_epi32(1 << (rescale_shift - 1));
        return _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(sum, rescale), rounding), rescale_shift);
    }

    static I16 combine(I16 linear, I16 diagonal, I32 first, I32 second, I32 first_rescale, I32 second_rescale) {
        const __m512i ones = _mm512_set1_epi16(1); // linear + diagonal, in 32 bits
        return _mm512_packs_epi32(
            _mm512_dpwssd_epi32(rescaled(first, first_rescale), _mm512_unpacklo_epi16(linear, diagonal), ones),
            _mm512_dpwssd_epi32(rescaled(second, second_rescale), _mm512_unpackhi_epi16(linear, diagonal), ones));
    }
};

} // namespace

const Kernel avx512vnni_kernel = make_kernel<Avx512Vnni>("avx512vnni");

} // namespace kaq
