// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for AVX2. Without VNNI there is no product of bytes that does not saturate: matrix and activations are
// int16, two columns at a time.

#include "detection/kernels.h"

#include "detection/kernel_avx2.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct Avx2 : Avx2State {
    using Layout = PackedLayout<8, 2, 0>;

    template <int Vectors, int Registers>
    struct Activations {
        alignas(32) std::int16_t rows[16 * Vectors * Registers];

        void fill(int i, I16 x, I16 y, int largest) {
            store(rows + 16 * i, min(max(x, set(-largest)), set(largest)));
            store(rows + 16 * (i + 1), min(max(y, set(-largest)), set(largest)));
        }
        I32 columns(int v, int block, int within) const {
            std::int32_t two;
            std::memcpy(&two, rows + 16 * Registers * v + 2 * (block + within), 4);
            return _mm256_set1_epi32(two);
        }
        template <int Segment>
        I32 segment_columns(int i, int half, int within) const {
            // the pairs of a vector lie in the 128-bit lanes that its rows are in
            __m256i of = load(rows + 16 * i);
            if constexpr (Segment == 16)
                of = repeat_lane(of, within / 4);
            return repeat_in_lanes(of, Segment == 4 ? 2 * half + within : within % 4);
        }
    };

    static I32 dot(I32 sum, I32 columns, I32 entries) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(columns, entries));
        asm("" : "+x"(sum)); // GCC would compute many products first, and run out of registers
        return sum;
    }
};

} // namespace

const Kernel avx2_kernel = make_kernel<Avx2>("avx2");

} // namespace kaq
