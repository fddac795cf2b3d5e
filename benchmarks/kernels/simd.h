// SPDX-License-Identifier: GPL-3.0-or-later
// Single-precision vectors of the instruction set that a file is compiled for. Arithmetic is written with operators,
// which the compiler contracts into fused multiply-adds.
#pragma once

#include <cstddef>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace speed {
namespace {

#if defined(__AVX512F__)

using Vec = __m512;
inline Vec load(const float *p) { return _mm512_loadu_ps(p); }
inline void store(float *p, Vec x) { _mm512_storeu_ps(p, x); }
inline Vec all(float x) { return _mm512_set1_ps(x); }
inline Vec nearest(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec minimum(Vec a, Vec b) { return _mm512_min_ps(a, b); }
// x between -limit and limit: the smaller magnitude with the sign of x, in one instruction
inline Vec clamp(Vec x, Vec limit) { return _mm512_range_ps(x, limit, 2); }
inline Vec square_root(Vec x) { return _mm512_sqrt_ps(x); }

#elif defined(__AVX2__)

using Vec = __m256;
inline Vec load(const float *p) { return _mm256_loadu_ps(p); }
inline void store(float *p, Vec x) { _mm256_storeu_ps(p, x); }
inline Vec all(float x) { return _mm256_set1_ps(x); }
inline Vec nearest(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec minimum(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec clamp(Vec x, Vec limit) { return minimum(maximum(x, -limit), limit); }
inline Vec square_root(Vec x) { return _mm256_sqrt_ps(x); }

#elif defined(__aarch64__)

using Vec = float32x4_t;
inline Vec load(const float *p) { return vld1q_f32(p); }
inline void store(float *p, Vec x) { vst1q_f32(p, x); }
inline Vec all(float x) { return vdupq_n_f32(x); }
inline Vec nearest(Vec x) { return vrndnq_f32(x); }
inline Vec maximum(Vec a, Vec b) { return vmaxq_f32(a, b); }
inline Vec minimum(Vec a, Vec b) { return vminq_f32(a, b); }
inline Vec clamp(Vec x, Vec limit) { return minimum(maximum(x, -limit), limit); }
inline Vec square_root(Vec x) { return vsqrtq_f32(x); }

#else
#error "no vectors for this instruction set"
#endif

constexpr int width = sizeof(Vec) / sizeof(float);

} // namespace
} // namespace speed
