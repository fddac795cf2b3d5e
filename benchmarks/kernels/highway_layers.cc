// SPDX-License-Identifier: GPL-3.0-or-later
// The integer layers over Google Highway instead of intrinsics: what the choice between the two was made on
// (docs/guide/performance.md). Compiled for AVX-512 VNNI. Highway 1.0 has no product of bytes, so that one instruction
// is an intrinsic in `HighwayVnni`; `Highway` does with its product of int16.

#include <hwy/highway.h>

#include "detection/make_kernel.h"

namespace kaq {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

struct HighwayState {
    using D16 = hn::ScalableTag<std::int16_t>;
    using D32 = hn::ScalableTag<std::int32_t>;
    using D8 = hn::ScalableTag<std::int8_t>;
    using I16 = hn::Vec<D16>;
    using I32 = hn::Vec<D32>;
    // 7: an OFDM slot has 14 symbols
    static constexpr int interleave(int registers, bool segments) { return registers == 1 && !segments ? 7 : 4; }
    static constexpr int registers_at_once = 2;

    static I16 load(const std::int16_t *p) { return hn::Load(D16(), p); }
    static I32 load32(const std::int32_t *p) { return hn::Load(D32(), p); }
    static void store(std::int16_t *p, I16 x) { hn::Store(x, D16(), p); }
    static I16 set(int x) { return hn::Set(D16(), static_cast<std::int16_t>(x)); }
    static I16 add(I16 a, I16 b) { return hn::Add(a, b); }
    static I16 subtract(I16 a, I16 b) { return hn::Sub(a, b); }
    static I16 adds(I16 a, I16 b) { return hn::SaturatedAdd(a, b); }
    static I16 subs(I16 a, I16 b) { return hn::SaturatedSub(a, b); }
    static I16 min(I16 a, I16 b) { return hn::Min(a, b); }
    static I16 max(I16 a, I16 b) { return hn::Max(a, b); }
    static I16 bit_and(I16 a, I16 b) { return hn::And(a, b); }
    template <int Count>
    static I16 shift_left(I16 x) {
        return hn::ShiftLeft<Count>(x);
    }
    static I16 multiply_q15(I16 a, I16 b) { return hn::MulFixedPoint15(a, b); }

    static I32 rescaled(I32 sum, I32 rescale) {
        return hn::ShiftRight<rescale_shift>(hn::Add(hn::Mul(sum, rescale), hn::Set(D32(), 1 << (rescale_shift - 1))));
    }
    // x y + x' y' + sum, for pairs of int16
    static I32 pairs(I16 x, I16 y, I32 sum) {
        I32 other = hn::Zero(D32());
        return hn::ReorderWidenMulAccumulate(D32(), x, y, sum, other);
    }
    static I16 combine(I16 linear, I16 diagonal, I32 first, I32 second, I32 first_rescale, I32 second_rescale) {
        return hn::ReorderDemote2To(
            D16(), pairs(hn::InterleaveLower(linear, diagonal), set(1), rescaled(first, first_rescale)),
            pairs(hn::InterleaveUpper(D16(), linear, diagonal), set(1), rescaled(second, second_rescale)));
    }
};

// Columns for each vector of Segment rows in a register, from its 32 activations. What is compared is large vectors:
// this is correct, and slow.
template <int Segment, typename T>
HighwayState::I32 of_segments(const T *activations, int half, int within) {
    alignas(64) std::int32_t columns[16];
    constexpr int together = 4 / sizeof(T);
    for (int lane = 0; lane < 16; ++lane) {
        const int row = lane / 4 * 8 + half * 4;
        std::memcpy(columns + lane, activations + row / Segment * Segment + together * within, 4);
    }
    return hn::Load(HighwayState::D32(), columns);
}

struct HighwayVnni : HighwayState {
    using Layout = PackedLayout<16, 4, 128>;

    template <int Vectors, int Registers>
    struct Activations {
        alignas(64) std::int8_t bytes[(Vectors * Registers + 1) / 2 * 64];

        void fill(int i, I16 x, I16 y, int largest) {
            const auto limit = hn::Set(D8(), static_cast<std::int8_t>(largest));
            const hn::Half<D8> half;
            const auto both = hn::Combine(D8(), hn::DemoteTo(half, y), hn::DemoteTo(half, x));
            const auto clamped = hn::Min(hn::Max(both, hn::Neg(limit)), limit);
            hn::Store(hn::Xor(clamped, hn::Set(D8(), -128)), D8(), bytes + 32 * i);
        }
        I32 columns(int v, int block, int within) const {
            const int i = v * Registers + block / 8;
            std::int32_t four;
            std::memcpy(&four, bytes + 32 * i + 4 * within, 4);
            return hn::Set(D32(), four);
        }
        template <int Segment>
        I32 segment_columns(int i, int half, int within) const {
            return of_segments<Segment>(bytes + 32 * i, half, within);
        }
    };

    static I32 dot(I32 sum, I32 columns, I32 entries) {
        return I32{_mm512_dpbusd_epi32(sum.raw, columns.raw, entries.raw)};
    }
};

struct Highway : HighwayState {
    using Layout = PackedLayout<16, 2, 0>;

    template <int Vectors, int Registers>
    struct Activations {
        alignas(64) std::int16_t rows[32 * (Vectors * Registers + 1)];

        void fill(int i, I16 x, I16 y, int largest) {
            store(rows + 32 * i, min(max(x, set(-largest)), set(largest)));
            store(rows + 32 * (i + 1), min(max(y, set(-largest)), set(largest)));
        }
        I32 columns(int v, int block, int within) const {
            std::int32_t two;
            std::memcpy(&two, rows + 32 * Registers * v + 2 * (block + within), 4);
            return hn::Set(D32(), two);
        }
        template <int Segment>
        I32 segment_columns(int i, int half, int within) const {
            return of_segments<Segment>(rows + 32 * i, half, within);
        }
    };

    static I32 dot(I32 sum, I32 columns, I32 entries) {
        return pairs(hn::BitCast(D16(), columns), hn::BitCast(D16(), entries), sum);
    }
};

} // namespace

extern const Kernel highway_vnni_kernel, highway_kernel;
const Kernel highway_vnni_kernel = make_kernel<HighwayVnni>("highway, vpdpbusd");
const Kernel highway_kernel = make_kernel<Highway>("highway");

} // namespace kaq
