// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel for AVX-VNNI, AVX2 with products of bytes: the layout and the offset are those of kernel_avx512vnni.cc.

#include "detection/kernels.h"

#include "detection/kernel_avx2.h"
#include "detection/make_kernel.h"

namespace kaq {
namespace {

struct AvxVnni : Avx2State {
    using Layout = PackedLayout<8, 4, 128>;

    // Bytes in the order of vpacksswb of two registers, each 16 bytes holding eight rows of either.
    template <int Vectors, int Registers>
    struct Activations {
        alignas(32) std::uint8_t bytes[16 * Vectors * Registers];

        void fill(int i, I16 x, I16 y, int largest) {
            static_assert(Registers % 2 == 0);
            const __m256i clamped = _mm256_min_epi8(
                _mm256_max_epi8(_mm256_packs_epi16(x, y), _mm256_set1_epi8(static_cast<char>(-largest))),
                _mm256_set1_epi8(static_cast<char>(largest)));
            _mm256_store_si256(reinterpret_cast<__m256i *>(bytes + 16 * i),
                               _mm256_xor_si256(clamped, _mm256_set1_epi8(-128)));
        }
        I32 columns(int v, int block, int within) const {
            // eight quads are 32 rows: two registers
            const std::uint8_t *pair = bytes + 16 * (v * Registers + block / 4);
            std::int32_t four;
            std::memcpy(&four, pair + within % 4 / 2 * 16 + within / 4 * 8 + within % 2 * 4, 4);
            return _mm256_set1_epi32(four);
        }
        template <int Segment>
        I32 segment_columns(int i, int half, int within) const {
            // the quads of a vector lie in the 128-bit lanes that its rows are in
            __m256i rows = _mm256_load_si256(reinterpret_cast<const __m256i *>(bytes + i / 2 * 32));
            if constexpr (Segment == 16)
                rows = repeat_lane(rows, within / 2);
            return repeat_in_lanes(rows, (Segment == 4 ? half : within % 2) + i % 2 * 2);
        }
    };

    static I32 dot(I32 sum, I32 columns, I32 entries) { return _mm256_dpbusd_avx_epi32(sum, columns, entries); }
};

} // namespace

const Kernel avxvnni_kernel = make_kernel<AvxVnni>("avxvnni");

} // namespace kaq
