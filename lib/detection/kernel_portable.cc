// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel in plain C++: what runs where no faster one does. Vectors of four lanes are the compiler's own.

#include "detection/kernels.h"

#define KAQ_SEPARATE_PRODUCTS // see support/lanes.h

#include "detection/fixed_point.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct Portable {
    typedef std::int16_t I16 __attribute__((vector_size(16)));
    typedef std::int32_t I32 __attribute__((vector_size(16)));
    static constexpr int vectors_at_once = 2, streams_per_word = 1, matrix_offset = 0;

    static I16 load(const std::int16_t *p) { return *reinterpret_cast<const I16 *>(p); }
    static I32 load32(const std::int32_t *p) { return *reinterpret_cast<const I32 *>(p); }
    static void store(std::int16_t *p, I16 x) { *reinterpret_cast<I16 *>(p) = x; }
    static void store32(std::int32_t *p, I32 x) { *reinterpret_cast<I32 *>(p) = x; }
    static I16 set(int x) { return static_cast<std::int16_t>(x) - I16{}; }
    static I32 set32(int x) { return x - I32{}; }
    static I16 add(I16 a, I16 b) { return unsigned_sum(a, b); }
    static I16 subtract(I16 a, I16 b) { return unsigned_sum(a, ~b + 1); }
    static I16 adds(I16 a, I16 b) { return pack(real(a) + real(b), imaginary(a) + imaginary(b)); }
    static I16 subs(I16 a, I16 b) { return pack(real(a) - real(b), imaginary(a) - imaginary(b)); }
    static I16 min(I16 a, I16 b) { return a < b ? a : b; }
    static I16 max(I16 a, I16 b) { return a > b ? a : b; }
    static I16 bit_and(I16 a, I16 b) { return a & b; }
    template <int Count>
    static I16 shift_left(I16 x) {
        return x << Count;
    }
    static I16 multiply_q15(I16 a, I16 b) {
        const auto product = [](I32 x, I32 y) { return (x * y + (1 << 14)) >> 15; };
        return pack(product(real(a), real(b)), product(imaginary(a), imaginary(b)));
    }
    static I16 multiply_high(I16 a, I16 b) {
        return pack((real(a) * real(b)) >> 16, (imaginary(a) * imaginary(b)) >> 16);
    }

    static I16 pack(I32 re, I32 im) {
        const auto saturated = [](I32 x) {
            x = x < 32767 ? x : set32(32767);
            return x > -32768 ? x : set32(-32768);
        };
        re = saturated(re), im = saturated(im);
        typedef std::int32_t Both __attribute__((vector_size(32)));
        return __builtin_convertvector(Both(__builtin_shufflevector(re, im, 0, 1, 2, 3, 4, 5, 6, 7)), I16);
    }
    static I32 real(I16 x) { return I32{x[0], x[1], x[2], x[3]}; }
    static I32 imaginary(I16 x) { return I32{x[4], x[5], x[6], x[7]}; }

    // Real parts in the lower half of each word.
    static I32 columns(I16 x, I16) { return (real(x) & 0xffff) | (imaginary(x) << 16); }
    static I32 clamp_columns(I32 x, int largest) { return (I32)min(max((I16)x, set(-largest)), set(largest)); }
    static I32 dot(I32 sum, I32 matrix, I32 columns) {
        return sum + ((matrix << 16) >> 16) * ((columns << 16) >> 16) + (matrix >> 16) * (columns >> 16);
    }
    static I32 subtract32(I32 a, I32 b) { return a - b; }

    static I16 combine(I16 linear, I16 diagonal, I32 re, I32 im, I32 rescale) {
        const auto rescaled = [&rescale](I32 sum) {
            return (sum * rescale + (1 << (rescale_shift - 1))) >> rescale_shift;
        };
        return pack(rescaled(re) + real(linear) + real(diagonal),
                    rescaled(im) + imaginary(linear) + imaginary(diagonal));
    }

private:
    static I16 unsigned_sum(I16 a, I16 b) {
        typedef std::uint16_t Unsigned __attribute__((vector_size(16)));
        return reinterpret_cast<I16>(reinterpret_cast<Unsigned>(a) + reinterpret_cast<Unsigned>(b));
    }
};

} // namespace

const Kernel portable_kernel = make_kernel<Portable>("portable");

} // namespace kaq
