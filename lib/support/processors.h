// SPDX-License-Identifier: GPL-3.0-or-later
// Functions that are worth compiling for more than the least processor, where their bits need not be the same on all.
#pragma once

// KAQ_EACH_PROCESSOR in front of a function: it, and what is inlined into it, is compiled for several instruction sets;
// the loader takes the best one that the processor has. Sanitizers and clang, whose versions differ in what they take,
// get the first.
//
// widest_register: bytes of the widest register among them.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) &&                       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KAQ_EACH_PROCESSOR [[gnu::target_clones("default", "avx2", "avx512f")]]
namespace kaq {
inline constexpr int widest_register = 64;
}
#else
#define KAQ_EACH_PROCESSOR
namespace kaq {
inline constexpr int widest_register = 16;
}
#endif
