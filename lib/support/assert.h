// SPDX-License-Identifier: GPL-3.0-or-later
// KAQ_ASSERT(condition): what a caller has promised. A broken promise ends the process and says which one it was.
//
// It is on where KAQ_ASSERTS is defined: in Debug builds, under sanitizers and in the fuzzer's builds
// (lib/CMakeLists.txt). Elsewhere the condition is compiled but never evaluated, so that it costs nothing. What a user
// can get wrong needs an exception instead (support/expect.h).
#pragma once

#ifdef KAQ_ASSERTS
#include <cstdio>
#include <cstdlib>

namespace kaq {
namespace { // one for each file: files are compiled for different processors

[[noreturn, gnu::cold, gnu::noinline, maybe_unused]] void assertion_failed(const char *file, int line,
                                                                           const char *condition) {
    std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    std::abort();
}

} // namespace
} // namespace kaq

#define KAQ_ASSERT(...)                                                                                                \
    ((__VA_ARGS__) ? static_cast<void>(0) : ::kaq::assertion_failed(__FILE__, __LINE__, #__VA_ARGS__))
#else
#define KAQ_ASSERT(...) static_cast<void>(sizeof((__VA_ARGS__) ? 1 : 0))
#endif
