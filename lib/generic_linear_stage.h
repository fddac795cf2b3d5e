// SPDX-License-Identifier: GPL-3.0-or-later
// The floating-point stage of a channel estimate, 16 channels at once, one per lane. Included by every kernel_*.cc and
// compiled for its instruction set, as generic_stages.h is.
#pragma once

#include <algorithm>
#include <cmath>

#include "generic_stages.h"

namespace kaq {
namespace {

// noise_var is at least this times the mean diagonal of the Gram matrix (preparation.py)
constexpr float regularization_floor = 1e-5f;
constexpr float stream_scale_limit = 8; // as in quantization.py

typedef float Lanes __attribute__((vector_size(4 * lanes)));
typedef std::int32_t LanesInt __attribute__((vector_size(4 * lanes)));

inline Lanes &at(float *p, std::size_t index) { return *reinterpret_cast<Lanes *>(p + index * lanes); }
inline const Lanes &at(const float *p, std::size_t index) {
    return *reinterpret_cast<const Lanes *>(p + index * lanes);
}
inline Lanes all(float x) { return x - Lanes{}; }
inline Lanes maximum(const Lanes &a, const Lanes &b) { return a > b ? a : b; }
inline Lanes minimum(const Lanes &a, const Lanes &b) { return a < b ? a : b; }
inline Lanes magnitude(const Lanes &a) { return a < 0 ? -a : a; }
inline Lanes inverse_square_root(const Lanes &x) {
    Lanes root;
    for (int l = 0; l < lanes; ++l)
        root[l] = std::sqrt(x[l]);
    return 1.0f / root;
}

// A matrix of complex numbers, [rows][columns][lane].
struct Matrix {
    float *re;
    float *im;
    int columns;
    std::size_t index(int i, int j) const { return static_cast<std::size_t>(i) * columns + j; }
};

// H^H H, the lower triangle.
inline void gram_matrix(const LinearStage &s, const Matrix &gram) {
    for (int i = 0; i < s.num_tx; ++i)
        for (int j = 0; j <= i; ++j) {
            Lanes re{}, im{};
            for (int r = 0; r < s.num_rx; ++r) {
                const Lanes &ar = at(s.h[0], r * s.num_tx + i), &ai = at(s.h[1], r * s.num_tx + i);
                const Lanes &br = at(s.h[0], r * s.num_tx + j), &bi = at(s.h[1], r * s.num_tx + j);
                re += ar * br + ai * bi;
                im += ar * bi - ai * br;
            }
            at(gram.re, gram.index(i, j)) = re;
            at(gram.im, gram.index(i, j)) = im;
        }
}

// The lower triangle of a positive definite matrix becomes the inverse of its Cholesky factor.
inline void invert_cholesky_factor(const Matrix &m, int n) {
    for (int j = 0; j < n; ++j) {
        Lanes pivot = at(m.re, m.index(j, j));
        const Lanes smallest = 1e-7f * pivot + 1e-37f; // rounding must not make a pivot negative
        for (int k = 0; k < j; ++k) {
            const Lanes &re = at(m.re, m.index(j, k)), &im = at(m.im, m.index(j, k));
            pivot -= re * re + im * im;
        }
        const Lanes inverse = inverse_square_root(maximum(pivot, smallest));
        at(m.re, m.index(j, j)) = inverse;
        at(m.im, m.index(j, j)) = Lanes{};
        for (int i = j + 1; i < n; ++i) {
            Lanes re = at(m.re, m.index(i, j)), im = at(m.im, m.index(i, j));
            for (int k = 0; k < j; ++k) {
                const Lanes &ar = at(m.re, m.index(i, k)), &ai = at(m.im, m.index(i, k));
                const Lanes &br = at(m.re, m.index(j, k)), &bi = at(m.im, m.index(j, k));
                re -= ar * br + ai * bi;
                im -= ai * br - ar * bi;
            }
            at(m.re, m.index(i, j)) = re * inverse;
            at(m.im, m.index(i, j)) = im * inverse;
        }
    }
    // the diagonal already holds its inverse; column by column, downwards
    for (int j = 0; j < n; ++j)
        for (int i = j + 1; i < n; ++i) {
            Lanes re{}, im{};
            for (int k = j; k < i; ++k) {
                const Lanes &ar = at(m.re, m.index(i, k)), &ai = at(m.im, m.index(i, k));
                const Lanes &br = at(m.re, m.index(k, j)), &bi = at(m.im, m.index(k, j));
                // column j of the factor is overwritten from its diagonal down: entry (i, j) is still the factor's
                re += ar * br - ai * bi;
                im += ar * bi + ai * br;
            }
            const Lanes &inverse = at(m.re, m.index(i, i));
            at(m.re, m.index(i, j)) = -re * inverse;
            at(m.im, m.index(i, j)) = -im * inverse;
        }
}

// out = M^H M for a lower triangular M: all of a Hermitian matrix.
inline void hermitian_product(const Matrix &m, int n, const Matrix &out) {
    for (int i = 0; i < n; ++i)
        for (int j = 0; j <= i; ++j) {
            Lanes re{}, im{};
            for (int k = i; k < n; ++k) {
                const Lanes &ar = at(m.re, m.index(k, i)), &ai = at(m.im, m.index(k, i));
                const Lanes &br = at(m.re, m.index(k, j)), &bi = at(m.im, m.index(k, j));
                re += ar * br + ai * bi;
                im += ar * bi - ai * br;
            }
            if (i == j)
                im = Lanes{};
            at(out.re, out.index(i, j)) = re;
            at(out.im, out.index(i, j)) = im;
            at(out.re, out.index(j, i)) = re;
            at(out.im, out.index(j, i)) = -im;
        }
}

// Each row of scale * matrix, without its diagonal, in steps of clip times its largest entry over `largest`. Column j
// is multiplied by column_scale[j] first; nullptr: by 1.
inline void quantize_rows(int n, const Matrix &matrix, const Lanes &scale, const float *column_scale, float clip,
                          int matrix_max, const QuantizedRows &out) {
    const float largest = static_cast<float>(matrix_max);
    for (int i = 0; i < n; ++i) {
        Lanes peak{};
        for (int j = 0; j < n; ++j)
            if (j != i) {
                Lanes entry =
                    maximum(magnitude(at(matrix.re, matrix.index(i, j))), magnitude(at(matrix.im, matrix.index(i, j))));
                if (column_scale)
                    entry *= at(column_scale, j);
                peak = maximum(peak, entry);
            }
        peak *= clip;
        at(out.diagonal, i) = scale * at(matrix.re, matrix.index(i, i));
        at(out.row_step, i) = scale * peak / largest;
        const Lanes per_step = largest / (peak > 0 ? peak : all(1));
        for (int j = 0; j < n; ++j)
            for (int part = 0; part < 2; ++part) {
                Lanes entry = at(part ? matrix.im : matrix.re, matrix.index(i, j));
                if (column_scale)
                    entry *= at(column_scale, j);
                entry = maximum(minimum(entry * per_step, all(largest)), all(-largest));
                std::int8_t *to = out.off_diagonal[part] + (static_cast<std::size_t>(i) * n + j) * lanes;
                for (int l = 0; l < lanes; ++l)
                    to[l] = i == j ? 0 : static_cast<std::int8_t>(round_to_int(entry[l]));
            }
    }
}

// c H^H and the rows of c G, quantized. The lower triangle of `gram` is given.
inline void normalised_gram(const LinearStage &s, const Matrix &gram, const Lanes &normalise, float clip,
                            int matrix_max, float *const (&filter)[2], const QuantizedRows &out) {
    const int n = s.num_tx;
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < i; ++j) {
            at(gram.re, gram.index(j, i)) = at(gram.re, gram.index(i, j));
            at(gram.im, gram.index(j, i)) = -at(gram.im, gram.index(i, j));
        }
    quantize_rows(n, gram, normalise, nullptr, clip, matrix_max, out);
    for (int i = 0; i < n; ++i)
        for (int r = 0; r < s.num_rx; ++r) {
            at(filter[0], i * s.num_rx + r) = normalise * at(s.h[0], r * n + i);
            at(filter[1], i * s.num_rx + r) = -normalise * at(s.h[1], r * n + i);
        }
}

// What a stream's activation step is divided by: sqrt of its diagonal entry over their mean. And its inverse.
inline void stream_scales(const LinearStage &s, const Matrix &matrix, float *inverse) {
    const int n = s.num_tx;
    Lanes mean{};
    for (int i = 0; i < n; ++i)
        mean += at(matrix.re, matrix.index(i, i));
    mean /= static_cast<float>(n);
    for (int i = 0; i < n; ++i) {
        const Lanes relative = at(matrix.re, matrix.index(i, i)) / (mean > 0 ? mean : all(1));
        Lanes scale;
        for (int l = 0; l < lanes; ++l)
            scale[l] = std::clamp(std::sqrt(relative[l]), 1 / stream_scale_limit, stream_scale_limit);
        at(s.stream_scale, i) = scale;
        at(inverse, i) = 1.0f / scale;
    }
}

void generic_linear_stage(const Network &network, const LinearStage &s) {
    const int n = s.num_tx;
    const std::size_t plane = static_cast<std::size_t>(n) * n * lanes;
    const Matrix gram{s.scratch, s.scratch + plane, n};
    gram_matrix(s, gram);

    Lanes mean_diagonal{};
    for (int i = 0; i < n; ++i)
        mean_diagonal += at(gram.re, gram.index(i, i));
    mean_diagonal /= static_cast<float>(n);
    const LanesInt alive = mean_diagonal > 1e-30f;
    const Lanes scale = alive ? mean_diagonal : all(1);
    const Lanes noise_var = maximum(at(s.noise_var, 0), regularization_floor * scale);

    const Lanes normalise = alive ? 1.0f / scale : Lanes{};

    if (network.type == NetworkType::admm) {
        if (network.candidates)
            normalised_gram(s, gram, normalise, 1.0f, metric_matrix_max, s.matched_filter, s.metric);
        const Lanes rho = at(s.regularization, 0) * noise_var;
        for (int i = 0; i < n; ++i)
            at(gram.re, gram.index(i, i)) += rho;
        invert_cholesky_factor(gram, n);
        const Matrix inverse{s.scratch + 2 * plane, s.scratch + 3 * plane, n};
        hermitian_product(gram, n, inverse);
        float *column_scale = nullptr;
        if (network.stream_steps) {
            column_scale = s.scratch; // the factor is no longer needed
            stream_scales(s, inverse, column_scale);
        }
        quantize_rows(n, inverse, alive ? rho : Lanes{}, column_scale, network.matrix_clip, network.matrix_max,
                      s.matrix);
        for (int i = 0; i < n; ++i) {
            const Lanes error = 0.5f * noise_var * at(inverse.re, inverse.index(i, i));
            at(s.precision, i) = alive ? 1.0f / error : Lanes{};
            for (int r = 0; r < s.num_rx; ++r) {
                Lanes re{}, im{};
                for (int j = 0; j < n; ++j) {
                    const Lanes &ar = at(inverse.re, inverse.index(i, j)), &ai = at(inverse.im, inverse.index(i, j));
                    const Lanes &br = at(s.h[0], r * n + j), &bi = at(s.h[1], r * n + j);
                    re += ar * br + ai * bi;
                    im += ai * br - ar * bi;
                }
                at(s.filter[0], i * s.num_rx + r) = re;
                at(s.filter[1], i * s.num_rx + r) = im;
            }
        }
    } else {
        normalised_gram(s, gram, normalise, network.matrix_clip, network.matrix_max, s.filter, s.matrix);
        for (int i = 0; i < n; ++i) {
            const Lanes error = 0.5f * noise_var / (at(gram.re, gram.index(i, i)) + noise_var);
            at(s.precision, i) = alive ? 1.0f / error : Lanes{};
        }
    }
}

} // namespace
} // namespace kaq
