// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for aarch64 with the dot product instructions: four lanes, bytes signed.

#include <arm_neon.h>

#include "detection/fixed_point.h"
#include "detection/kernels.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct NeonDot {
    using I16 = int16x8_t;
    using I32 = int32x4_t;
    static constexpr int vectors_at_once = 4, streams_per_word = 2, matrix_offset = 0;

    static I16 load(const std::int16_t *p) { return vld1q_s16(p); }
    static I32 load32(const std::int32_t *p) { return vld1q_s32(p); }
    static void store(std::int16_t *p, I16 x) { vst1q_s16(p, x); }
    static void store32(std::int32_t *p, I32 x) { vst1q_s32(p, x); }
    static I16 set(int x) { return vdupq_n_s16(static_cast<std::int16_t>(x)); }
    static I32 set32(int x) { return vdupq_n_s32(x); }
    static I16 add(I16 a, I16 b) { return vaddq_s16(a, b); }
    static I16 subtract(I16 a, I16 b) { return vsubq_s16(a, b); }
    static I16 adds(I16 a, I16 b) { return vqaddq_s16(a, b); }
    static I16 subs(I16 a, I16 b) { return vqsubq_s16(a, b); }
    static I16 min(I16 a, I16 b) { return vminq_s16(a, b); }
    static I16 max(I16 a, I16 b) { return vmaxq_s16(a, b); }
    static I16 bit_and(I16 a, I16 b) { return vandq_s16(a, b); }
    template <int Count>
    static I16 shift_left(I16 x) {
        return vshlq_n_s16(x, Count);
    }
    static I16 multiply_q15(I16 a, I16 b) { return vqrdmulhq_s16(a, b); }
    // the instruction doubles the product, which saturates for -2^15 twice only: no factor of a network is that
    static I16 multiply_high(I16 a, I16 b) { return vshrq_n_s16(vqdmulhq_s16(a, b), 1); }

    static I16 pack(I32 re, I32 im) { return vcombine_s16(vqmovn_s32(re), vqmovn_s32(im)); }
    static I32 real(I16 x) { return vmovl_s16(vget_low_s16(x)); }
    static I32 imaginary(I16 x) { return vmovl_s16(vget_high_s16(x)); }

    static I32 columns(I16 x, I16 y) {
        constexpr std::uint8_t by_lane[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
        return vreinterpretq_s32_s8(vqtbl1q_s8(vcombine_s8(vqmovn_s16(x), vqmovn_s16(y)), vld1q_u8(by_lane)));
    }
    static I32 clamp_columns(I32 x, int largest) {
        const int8x16_t limit = vdupq_n_s8(static_cast<std::int8_t>(largest));
        return vreinterpretq_s32_s8(vminq_s8(vmaxq_s8(vreinterpretq_s8_s32(x), vnegq_s8(limit)), limit));
    }

    static I32 dot(I32 sum, I32 matrix, I32 columns) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(matrix), vreinterpretq_s8_s32(columns));
    }
    static I32 subtract32(I32 a, I32 b) { return vsubq_s32(a, b); }

    static I16 combine(I16 linear, I16 diagonal, I32 re, I32 im, I32 rescale) {
        const int32x4_t low = vaddl_s16(vget_low_s16(linear), vget_low_s16(diagonal));
        const int32x4_t high = vaddl_s16(vget_high_s16(linear), vget_high_s16(diagonal));
        return pack(vaddq_s32(rescaled(re, rescale), low), vaddq_s32(rescaled(im, rescale), high));
    }

private:
    static I32 rescaled(I32 sum, I32 rescale) { return vrshrq_n_s32(vmulq_s32(sum, rescale), rescale_shift); }
};

} // namespace

const Kernel neondot_kernel = make_kernel<NeonDot>("neondot");

} // namespace kaq
