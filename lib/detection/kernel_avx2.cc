// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for AVX2. Without VNNI there is no product of bytes that does not saturate: matrix and activations are
// int16, both columns of a stream in a word.

#include "detection/kernels.h"

#include "detection/kernel_avx2.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct Avx2 : Avx2State {
    static constexpr int streams_per_word = 1, matrix_offset = 0;

    static I32 columns(I16 x, I16) {
        const __m256i by_lane = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, //
                                                 0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
        return _mm256_shuffle_epi8(x, by_lane);
    }
    static I32 clamp_columns(I32 x, int largest) { return min(max(x, set(-largest)), set(largest)); }

    static I32 dot(I32 sum, I32 matrix, I32 columns) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(matrix, columns));
        asm("" : "+x"(sum)); // GCC would compute many products first, and run out of registers
        return sum;
    }
};

} // namespace

const Kernel avx2_kernel = make_kernel<Avx2>("avx2");

} // namespace kaq
