// SPDX-License-Identifier: GPL-3.0-or-later
// Complex linear algebra on `width` channels at once, one per lane. A matrix entry is a pair of registers, real and
// imaginary part. Included by files that are compiled for one instruction set.
#pragma once

#include <algorithm>
#include <complex>
#include <cstring>

#include "simd.h"

namespace speed {
namespace {

constexpr int entry = 2 * width; // floats of a matrix entry

// An operand of a product: entry (i, k) at data + i * row + k * column, in entries.
struct Operand {
    const float *data;
    std::ptrdiff_t row, column;
    const float *at(int i, int k) const { return data + (i * row + k * column) * entry; }
};

struct Sums {
    Vec re, im;
};

// sum[i][j] += sign a(i, k) b(k, j) for first <= k < last; conjugated where asked.
template <int Rows, int Columns, bool ConjugateA, bool ConjugateB, bool Subtract = false>
inline __attribute__((always_inline)) void accumulate(const Operand &a, const Operand &b, int first, int last,
                                                      Sums (&sum)[Rows][Columns]) {
    for (int k = first; k < last; ++k) {
        Vec br[Columns], bi[Columns];
        for (int j = 0; j < Columns; ++j) {
            br[j] = load(b.at(k, j));
            bi[j] = load(b.at(k, j) + width);
        }
        for (int i = 0; i < Rows; ++i) {
            const Vec ar = load(a.at(i, k)), ai = load(a.at(i, k) + width);
            for (int j = 0; j < Columns; ++j) {
                Sums &s = sum[i][j];
                if constexpr (Subtract) {
                    s.re -= ar * br[j];
                    s.re = ConjugateA == ConjugateB ? s.re + ai * bi[j] : s.re - ai * bi[j];
                    s.im = ConjugateB ? s.im + ar * bi[j] : s.im - ar * bi[j];
                    s.im = ConjugateA ? s.im + ai * br[j] : s.im - ai * br[j];
                } else {
                    s.re += ar * br[j];
                    s.re = ConjugateA == ConjugateB ? s.re - ai * bi[j] : s.re + ai * bi[j];
                    s.im = ConjugateB ? s.im - ar * bi[j] : s.im + ar * bi[j];
                    s.im = ConjugateA ? s.im - ai * br[j] : s.im + ai * br[j];
                }
            }
        }
    }
}

// How far the sum of a row goes.
enum class Terms { all, up_to_row, from_row };

// Terms first to last of a tile; `add` says whether earlier terms are in `out`.
template <int Rows, int Columns, bool ConjugateA, bool ConjugateB>
inline void product_tile(const Operand &a, const Operand &b, int first, int last, bool add, float *out,
                         std::ptrdiff_t out_row, std::ptrdiff_t out_column) {
    Sums sum[Rows][Columns];
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < Columns; ++j) {
            const float *from = out + (i * out_row + j * out_column) * entry;
            sum[i][j] = add ? Sums{load(from), load(from + width)} : Sums{all(0), all(0)};
        }
    accumulate<Rows, Columns, ConjugateA, ConjugateB>(a, b, first, last, sum);
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < Columns; ++j) {
            float *to = out + (i * out_row + j * out_column) * entry;
            store(to, sum[i][j].re);
            store(to + width, sum[i][j].im);
        }
}

constexpr int terms_at_once = 16; // so that what several tiles read stays in the first-level cache

// out (rows, columns) = a (rows, terms) b (terms, columns), in tiles.
template <int Rows, int Columns, bool ConjugateA, bool ConjugateB, Terms Of = Terms::all>
void multiply(const Operand &a, const Operand &b, int rows, int terms, int columns, float *out, std::ptrdiff_t out_row,
              std::ptrdiff_t out_column) {
    // a tile's rows of `a` are used for all columns
    const auto strip = [&]<int Height>(int i, int chunk) {
        // a triangular operand holds zeros beyond its diagonal, at least as far as a tile reaches
        const int begin = Of == Terms::from_row ? i : 0;
        const int end = Of == Terms::up_to_row ? std::min(i + Height, terms) : terms;
        const int first = std::max(begin, chunk), last = std::min(end, chunk + terms_at_once);
        const bool add = chunk > begin;
        if (first >= last)
            return;
        const Operand from{a.at(i, 0), a.row, a.column};
        float *to = out + i * out_row * entry;
        int j = 0;
        for (; j + Columns <= columns; j += Columns)
            product_tile<Height, Columns, ConjugateA, ConjugateB>(from, {b.at(0, j), b.row, b.column}, first, last, add,
                                                                  to + j * out_column * entry, out_row, out_column);
        for (; j < columns; ++j)
            product_tile<Height, 1, ConjugateA, ConjugateB>(from, {b.at(0, j), b.row, b.column}, first, last, add,
                                                            to + j * out_column * entry, out_row, out_column);
    };
    for (int chunk = 0; chunk < terms; chunk += terms_at_once) {
        int i = 0;
        for (; i + Rows <= rows; i += Rows)
            strip.template operator()<Rows>(i, chunk);
        for (; i < rows; ++i)
            strip.template operator()<1>(i, chunk);
    }
}

// The lower triangle of H^H H, h being [num_rx][num_tx], and what tiles cover beyond it.
inline void gram_matrix(const float *h, int num_rx, int num_tx, float *gram) {
    for (int chunk = 0; chunk < num_rx; chunk += terms_at_once) {
        const auto tile = [&]<int Rows, int Columns>(int i, int j) {
            product_tile<Rows, Columns, true, false>({h + i * entry, 1, num_tx}, {h + j * entry, num_tx, 1}, chunk,
                                                     std::min(chunk + terms_at_once, num_rx), chunk > 0,
                                                     gram + (i * num_tx + j) * entry, num_tx, 1);
        };
        for (int i = 0; i < num_tx; i += 2)
            for (int j = 0; j <= i; j += 2) {
                const bool two_rows = i + 1 < num_tx, two_columns = j + 1 < num_tx;
                if (two_rows)
                    tile.template operator()<2, 2>(i, j); // j < i + 1
                else if (two_columns)
                    tile.template operator()<1, 2>(i, j);
                else
                    tile.template operator()<1, 1>(i, j);
            }
    }
}

// The lower triangle of a positive definite matrix becomes its Cholesky factor, with the inverses of its diagonal in
// `pivots`.
inline void cholesky(float *m, int n, float *pivots) {
    const auto tile = [&]<int Rows>(int i, int j, Vec &inverse) {
        Sums sum[Rows][1];
        for (int r = 0; r < Rows; ++r)
            sum[r][0] = {load(m + ((i + r) * n + j) * entry), load(m + ((i + r) * n + j) * entry + width)};
        accumulate<Rows, 1, false, true, true>({m + i * n * entry, n, 1}, {m + j * n * entry, 1, n}, 0, j, sum);
        if (i == j) { // its first row holds the pivot
            const Vec smallest = all(1e-7f) * load(m + (j * n + j) * entry) + all(1e-37f);
            inverse = 1.0f / square_root(maximum(sum[0][0].re, smallest));
            store(pivots + j * width, inverse);
        }
        for (int r = 0; r < Rows; ++r) {
            store(m + ((i + r) * n + j) * entry, sum[r][0].re * inverse);
            store(m + ((i + r) * n + j) * entry + width, sum[r][0].im * inverse);
        }
    };
    for (int j = 0; j < n; ++j) {
        Vec inverse = all(0);
        int i = j;
        for (; i + 4 <= n; i += 4)
            tile.template operator()<4>(i, j, inverse);
        for (; i < n; ++i)
            tile.template operator()<1>(i, j, inverse);
    }
}

// x = the inverse of a Cholesky factor, its upper triangle zero.
inline void invert_triangle(const float *factor, const float *pivots, int n, float *x) {
    const Vec zero = all(0);
    const auto tile = [&]<int Columns>(int j) {
        for (int i = 0; i < j; ++i)
            for (int c = 0; c < 2 * Columns; ++c)
                store(x + (i * n + j) * entry + c * width, zero);
        for (int i = j; i < n; ++i) {
            Sums sum[1][Columns];
            for (int c = 0; c < Columns; ++c)
                sum[0][c] = {i == j + c ? all(1) : zero, zero};
            accumulate<1, Columns, false, false, true>({factor + i * n * entry, n, 1}, {x + j * entry, n, 1}, j, i,
                                                       sum);
            const Vec inverse = load(pivots + i * width);
            for (int c = 0; c < Columns; ++c) {
                const bool above = j + c > i;
                store(x + (i * n + j + c) * entry, above ? zero : sum[0][c].re * inverse);
                store(x + (i * n + j + c) * entry + width, above ? zero : sum[0][c].im * inverse);
            }
        }
    };
    int j = 0;
    for (; j + 4 <= n; j += 4)
        tile.template operator()<4>(j);
    for (; j < n; ++j)
        tile.template operator()<1>(j);
}

#if defined(__AVX512F__)

inline void transpose(Vec (&r)[width]) {
    Vec t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int b = 0; b < 2; ++b) {
            const __m512d even = _mm512_castps_pd(t[i + b]), odd = _mm512_castps_pd(t[i + b + 2]);
            r[i + 2 * b] = _mm512_castpd_ps(_mm512_unpacklo_pd(even, odd));
            r[i + 2 * b + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd));
        }
    // 128-bit lane l of r[4 a + b] now holds element 4 l + b of rows 4 a to 4 a + 3
    for (int b = 0; b < 4; ++b) {
        const Vec even = _mm512_shuffle_f32x4(r[b], r[4 + b], 0x88), odd = _mm512_shuffle_f32x4(r[b], r[4 + b], 0xdd),
                  even2 = _mm512_shuffle_f32x4(r[8 + b], r[12 + b], 0x88),
                  odd2 = _mm512_shuffle_f32x4(r[8 + b], r[12 + b], 0xdd);
        t[b] = _mm512_shuffle_f32x4(even, even2, 0x88);
        t[8 + b] = _mm512_shuffle_f32x4(even, even2, 0xdd);
        t[4 + b] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        t[12 + b] = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
    for (int i = 0; i < 16; ++i)
        r[i] = t[i];
}

// The first `count` elements, 1 to width; the others are zero, or stay as they are.
inline Vec load_some(const float *from, int count) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
}
inline void store_some(float *to, int count, Vec x) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), x);
}

// `width` complex numbers next to each other, to an entry and back.
inline void split(const float *from, float *to) {
    const Vec a = load(from), b = load(from + 16);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    store(to, _mm512_permutex2var_ps(a, even, b));
    store(to + 16, _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b));
}

inline void join(Vec re, Vec im, float *to) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    store(to, _mm512_permutex2var_ps(re, low, im));
    store(to + 16, _mm512_permutex2var_ps(re, _mm512_add_epi32(low, _mm512_set1_epi32(8)), im));
}

#else

#if defined(__AVX2__)

inline void transpose(Vec (&r)[width]) {
    Vec t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int b = 0; b < 2; ++b) {
            const __m256d even = _mm256_castps_pd(t[i + b]), odd = _mm256_castps_pd(t[i + b + 2]);
            r[i + 2 * b] = _mm256_castpd_ps(_mm256_unpacklo_pd(even, odd));
            r[i + 2 * b + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(even, odd));
        }
    for (int b = 0; b < 4; ++b) {
        t[b] = _mm256_permute2f128_ps(r[b], r[4 + b], 0x20);
        t[4 + b] = _mm256_permute2f128_ps(r[b], r[4 + b], 0x31);
    }
    for (int i = 0; i < 8; ++i)
        r[i] = t[i];
}

inline void split(const float *from, float *to) {
    const Vec a = load(from), b = load(from + 8);
    const Vec low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    store(to, _mm256_shuffle_ps(low, high, 0x88));
    store(to + 8, _mm256_shuffle_ps(low, high, 0xdd));
}

inline void join(Vec re, Vec im, float *to) {
    const Vec low = _mm256_unpacklo_ps(re, im), high = _mm256_unpackhi_ps(re, im);
    store(to, _mm256_permute2f128_ps(low, high, 0x20));
    store(to + 8, _mm256_permute2f128_ps(low, high, 0x31));
}

#else

inline void transpose(Vec (&r)[width]) {
    for (int i = 0; i < width; ++i)
        for (int l = 0; l < i; ++l) {
            const float kept = r[i][l];
            r[i][l] = r[l][i];
            r[l][i] = kept;
        }
}

inline void split(const float *from, float *to) {
    for (int l = 0; l < width; ++l) {
        to[l] = from[2 * l];
        to[width + l] = from[2 * l + 1];
    }
}

inline void join(Vec re, Vec im, float *to) {
    for (int l = 0; l < width; ++l) {
        to[2 * l] = re[l];
        to[2 * l + 1] = im[l];
    }
}

#endif

inline Vec load_some(const float *from, int count) {
    if (count == width)
        return load(from);
    Vec x = all(0);
    std::memcpy(&x, from, static_cast<std::size_t>(count) * sizeof(float));
    return x;
}
inline void store_some(float *to, int count, Vec x) {
    std::memcpy(to, &x, static_cast<std::size_t>(count) * sizeof(float));
}

#endif

// `count` complex numbers of each of `width` channels, to entries.
inline void gather_entries(const float *const (&from)[width], int count, float *to) {
    for (int first = 0; first < 2 * count; first += width) {
        const int left = std::min(width, 2 * count - first);
        Vec r[width];
        for (int l = 0; l < width; ++l)
            r[l] = load_some(from[l] + first, left);
        transpose(r);
        for (int i = 0; i < left; ++i)
            store(to + (first + i) * width, r[i]);
    }
}

} // namespace
} // namespace speed
