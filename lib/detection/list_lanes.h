// SPDX-License-Identifier: GPL-3.0-or-later
// Operations of the list detector on lanes: fused_products.py specifies them.
#pragma once

#include <bit>
#include <cstdint>

#include "detection/lane_places.h"
#include "support/lanes.h"

namespace kaq {
namespace {

inline LanesInt bits_of(const Lanes &x) { return std::bit_cast<LanesInt>(x); }
inline Lanes float_of_bits(const LanesInt &x) { return std::bit_cast<Lanes>(x); }
inline Lanes to_float(const LanesInt &x) { return __builtin_convertvector(x, Lanes); }
// towards zero, for what an int holds
inline LanesInt truncated(const Lanes &x) { return __builtin_convertvector(x, LanesInt); }

// e^x for x <= 80
inline Lanes exponential(const Lanes &x) {
    const Lanes power = maximum(x * 1.44269504f, all(-59.0f));
    const Lanes whole = (power + rounding_magic) - rounding_magic, fraction = power - whole;
    Lanes out = all(0.00961813f);
    for (const float coefficient : {0.05550411f, 0.24022651f, 0.69314718f, 1.0f})
        out = plus_product(all(coefficient), out, fraction);
    return out * float_of_bits((truncated(whole) + 127) << 23);
}

// sum + the products of four bytes each, 0 to 15 in `small`, and signed in `entries`
inline LanesInt add_byte_products(const LanesInt &sum, const LanesInt &small, const LanesInt &entries) {
#if defined(KAQ_EMULATED_PRODUCTS)
    LanesInt out = sum;
    for (int shift = 0; shift < 32; shift += 8) {
        // exact in single precision
        const Lanes a = to_float((small >> shift) & 255), b = to_float((entries << (24 - shift)) >> 24);
        out += truncated(a * b);
    }
    return out;
#elif defined(__AVX512VNNI__)
    return (LanesInt)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)small, (__m512i)entries);
#elif defined(__AVXVNNI__)
    return (LanesInt)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)small, (__m256i)entries);
#elif defined(__x86_64__)
    // two products of 15 and 128 fit 16 bits
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)small, (__m256i)entries);
    return sum + (LanesInt)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    return (LanesInt)vdotq_s32((int32x4_t)sum, (int8x16_t)small, (int8x16_t)entries);
#endif
}

// A choice per lane. Instruction sets differ in what they choose by: a mask register, the sign of each lane, or all
// bits.
#if defined(__AVX512F__)
typedef __mmask16 Choice;
inline Choice less(const Lanes &a, const Lanes &b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline Choice equal(const Lanes &a, const Lanes &b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline Choice equal(const LanesInt &a, int b) { return _mm512_cmpeq_epi32_mask((__m512i)a, _mm512_set1_epi32(b)); }
inline bool none(Choice where) { return where == 0; }
// whether this bit is set
inline Choice has_bit(const LanesInt &x, int bit) {
    return _mm512_test_epi32_mask((__m512i)x, _mm512_set1_epi32(1u << bit));
}
inline Lanes choose(Choice where, const Lanes &yes, const Lanes &no) { return _mm512_mask_blend_ps(where, no, yes); }
inline LanesInt choose(Choice where, const LanesInt &yes, const LanesInt &no) {
    return (LanesInt)_mm512_mask_blend_epi32(where, (__m512i)no, (__m512i)yes);
}
inline Lanes minimum_where(Choice where, const Lanes &a, const Lanes &b) { return _mm512_mask_min_ps(b, where, a, b); }
#elif defined(__AVX__)
typedef LanesInt Choice;
inline Choice less(const Lanes &a, const Lanes &b) { return (LanesInt)_mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline Choice equal(const Lanes &a, const Lanes &b) { return (LanesInt)_mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
inline Choice equal(const LanesInt &a, int b) { return a == b; }
inline bool none(const Choice &where) { return _mm256_movemask_ps((Lanes)where) == 0; }
inline Choice has_bit(const LanesInt &x, int bit) { return x << (31 - bit); }
inline Lanes choose(const Choice &where, const Lanes &yes, const Lanes &no) {
    return _mm256_blendv_ps(no, yes, (Lanes)where);
}
inline LanesInt choose(const Choice &where, const LanesInt &yes, const LanesInt &no) {
    return (LanesInt)_mm256_blendv_ps((Lanes)no, (Lanes)yes, (Lanes)where);
}
inline Lanes minimum_where(const Choice &where, const Lanes &a, const Lanes &b) {
    return choose(where, minimum(a, b), b);
}
#else
typedef LanesInt Choice;
inline Choice less(const Lanes &a, const Lanes &b) { return a < b; }
inline Choice equal(const Lanes &a, const Lanes &b) { return a == b; }
inline Choice equal(const LanesInt &a, int b) { return a == b; }
inline bool none(const Choice &where) {
    std::int32_t bits = 0;
    for (int l = 0; l < native_lanes; ++l)
        bits |= where[l];
    return bits == 0;
}
inline Choice has_bit(const LanesInt &x, int bit) { return (x << (31 - bit)) >> 31; }
inline Lanes choose(const Choice &where, const Lanes &yes, const Lanes &no) { return where ? yes : no; }
inline LanesInt choose(const Choice &where, const LanesInt &yes, const LanesInt &no) { return where ? yes : no; }
inline Lanes minimum_where(const Choice &where, const Lanes &a, const Lanes &b) { return where ? minimum(a, b) : b; }
#endif

// Whether any bit is set.
inline bool any(const LanesInt &x) {
    std::int32_t bits = 0;
    for (int l = 0; l < native_lanes; ++l)
        bits |= x[l];
    return bits != 0;
}

// Two values change places where `where` has all bits set.
inline void swap_where(const Choice &where, Lanes &a, Lanes &b) {
    const Lanes first = a;
    a = choose(where, b, a);
    b = choose(where, first, b);
}

} // namespace
} // namespace kaq
