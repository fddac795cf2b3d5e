// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for AVX-VNNI, AVX2 with products of bytes: the offset is that of kernel_avx512vnni.cc.

#include "detection/kernels.h"

#include "detection/kernel_avx2.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct AvxVnni : Avx2State {
    static constexpr int streams_per_word = 2, matrix_offset = 128;

    static I32 columns(I16 x, I16 y) {
        const __m256i by_lane = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, //
                                                 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        return _mm256_shuffle_epi8(_mm256_packs_epi16(x, y), by_lane);
    }
    static I32 clamp_columns(I32 x, int largest) {
        return _mm256_min_epi8(_mm256_max_epi8(x, _mm256_set1_epi8(static_cast<char>(-largest))),
                               _mm256_set1_epi8(static_cast<char>(largest)));
    }

    static I32 dot(I32 sum, I32 matrix, I32 columns) { return _mm256_dpbusd_avx_epi32(sum, matrix, columns); }
};

} // namespace

const Kernel avxvnni_kernel = make_kernel<AvxVnni>("avxvnni");

} // namespace kaq
