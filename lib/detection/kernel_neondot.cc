// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for aarch64 with the dot product instructions: eight rows of int16 state per register, bytes signed.

#include <arm_neon.h>

#include "detection/fixed_point.h"
#include "detection/kernels.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct NeonDot {
    using I16 = int16x8_t;
    using I32 = int32x4_t;
    using Layout = PackedLayout<4, 4, 0>;
    static constexpr int interleave(int, bool) { return 4; }
    static constexpr int registers_at_once = 2;

    static I16 load(const std::int16_t *p) { return vld1q_s16(p); }
    static I32 load32(const std::int32_t *p) { return vld1q_s32(p); }
    static void store(std::int16_t *p, I16 x) { vst1q_s16(p, x); }
    static I16 set(int x) { return vdupq_n_s16(static_cast<std::int16_t>(x)); }
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

    template <int Vectors, int Registers>
    struct Activations {
        alignas(16) std::int8_t bytes[8 * Vectors * Registers];

        void fill(int i, I16 x, I16 y, int largest) {
            const int8x8_t low = vmovn_s16(min(max(x, set(-largest)), set(largest)));
            const int8x8_t high = vmovn_s16(min(max(y, set(-largest)), set(largest)));
            vst1q_s8(bytes + 8 * i, vcombine_s8(low, high));
        }
        I32 columns(int v, int block, int within) const {
            std::int32_t four;
            std::memcpy(&four, bytes + 8 * Registers * v + 4 * (block + within), 4);
            return vdupq_n_s32(four);
        }
        template <int Segment>
        I32 segment_columns(int i, int half, int within) const {
            std::int32_t four;
            std::memcpy(&four, bytes + (8 * i + 4 * half) / Segment * Segment + 4 * within, 4);
            return vdupq_n_s32(four);
        }
    };

    static I32 dot(I32 sum, I32 columns, I32 entries) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(columns), vreinterpretq_s8_s32(entries));
    }

    static I32 rescaled(I32 sum, I32 rescale) { return vrshrq_n_s32(vmulq_s32(sum, rescale), rescale_shift); }

    static I16 combine(I16 linear, I16 diagonal, I32 first, I32 second, I32 first_rescale, I32 second_rescale) {
        const int32x4_t low = vaddl_s16(vget_low_s16(linear), vget_low_s16(diagonal));
        const int32x4_t high = vaddl_s16(vget_high_s16(linear), vget_high_s16(diagonal));
        return vcombine_s16(vqmovn_s32(vaddq_s32(rescaled(first, first_rescale), low)),
                            vqmovn_s32(vaddq_s32(rescaled(second, second_rescale), high)));
    }
};

} // namespace

const Kernel neondot_kernel = make_kernel<NeonDot>("neondot");

} // namespace kaq
