// SPDX-License-Identifier: GPL-3.0-or-later
// Compiled into kernel_avxvnni.cc for the tests: the same kernel with the AVX-512 encoding of its one instruction
// beyond AVX2, vpdpbusd, so that it also runs on processors that have AVX-512 VNNI but no AVX-VNNI.
#pragma once

#include <immintrin.h>

inline __m256i kaq_dpbusd_evex(__m256i sum, __m256i columns, __m256i entries) {
    asm("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(columns), "x"(entries));
    return sum;
}

#define _mm256_dpbusd_avx_epi32 kaq_dpbusd_evex
#define avxvnni_kernel avxvnni_evex_kernel
