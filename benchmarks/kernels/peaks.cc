// SPDX-License-Identifier: GPL-3.0-or-later
// Inline assembly throughout, so that no compiler folds what has no effect. Each loop has 16 independent accumulators:
// the latency of a multiply-add is 4 or 5 cycles, and no processor starts more than 4 a cycle.
#include "peaks.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace speed {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr int accumulators = 16;

struct Loop {
    const char *name;
    int multiply_adds, per_iteration;
    bool (*available)();
    void (*run)(long);
};

#if defined(__x86_64__)

// clang-format off
#define KAQ_16(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define KAQ_12(f) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define KAQ_ALL_REGISTERS \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
    "xmm13", "xmm14", "xmm15"
// clang-format on

__attribute__((target("avx512f,avx512vnni"))) void vpdpbusd_zmm(long iterations) {
    asm volatile("vpxord %%zmm16, %%zmm16, %%zmm16\n\tvpxord %%zmm17, %%zmm17, %%zmm17\n"
#define KAQ_CLEAR(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n"
                 KAQ_16(KAQ_CLEAR) "1:\n"
#define KAQ_OP(i) "vpdpbusd %%zmm16, %%zmm17, %%zmm" #i "\n"
                 KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) "dec %0\n\tjnz 1b\n\tvzeroupper"
                 : "+r"(iterations)::"cc", KAQ_ALL_REGISTERS, "xmm16", "xmm17");
#undef KAQ_OP
}

__attribute__((target("avx512f"))) void fma_zmm(long iterations) {
    asm volatile("vpxord %%zmm16, %%zmm16, %%zmm16\n\tvpxord %%zmm17, %%zmm17, %%zmm17\n" KAQ_16(KAQ_CLEAR) "1:\n"
#define KAQ_OP(i) "vfmadd231ps %%zmm16, %%zmm17, %%zmm" #i "\n"
                 KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) "dec %0\n\tjnz 1b\n\tvzeroupper"
                 : "+r"(iterations)::"cc", KAQ_ALL_REGISTERS, "xmm16", "xmm17");
#undef KAQ_OP
#undef KAQ_CLEAR
}

// As a kernel has to use it: the product of 16-bit pairs, then the addition. 12 accumulators, 2 operands, 2 products.
__attribute__((target("avx2"))) void pmaddwd_ymm(long iterations) {
    asm volatile(
#define KAQ_CLEAR(i) "vpxor %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n"
        KAQ_16(KAQ_CLEAR) "1:\n"
#define KAQ_OP(i) "vpmaddwd %%ymm0, %%ymm1, %%ymm2\n\tvpaddd %%ymm2, %%ymm" #i ", %%ymm" #i "\n"
        KAQ_12(KAQ_OP) KAQ_12(KAQ_OP) KAQ_12(KAQ_OP) KAQ_12(KAQ_OP) "dec %0\n\tjnz 1b\n\tvzeroupper"
        : "+r"(iterations)::"cc", KAQ_ALL_REGISTERS);
#undef KAQ_OP
}

__attribute__((target("avx2,fma"))) void fma_ymm(long iterations) {
    asm volatile(KAQ_16(KAQ_CLEAR) "1:\n"
#define KAQ_OP(i) "vfmadd231ps %%ymm0, %%ymm1, %%ymm" #i "\n"
                 KAQ_12(KAQ_OP) KAQ_12(KAQ_OP) KAQ_12(KAQ_OP) KAQ_12(KAQ_OP) "dec %0\n\tjnz 1b\n\tvzeroupper"
                 : "+r"(iterations)::"cc", KAQ_ALL_REGISTERS);
#undef KAQ_OP
#undef KAQ_CLEAR
}

const Loop loops[] = {
    {"int8 vpdpbusd, 512 bits", 64, 4 * accumulators,
     [] { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni"); }, vpdpbusd_zmm},
    {"int16 vpmaddwd + vpaddd, 256 bits", 16, 48, [] { return __builtin_cpu_supports("avx2") != 0; }, pmaddwd_ymm},
    {"fp32 vfmadd, 512 bits", 16, 4 * accumulators, [] { return __builtin_cpu_supports("avx512f") != 0; }, fma_zmm},
    {"fp32 vfmadd, 256 bits", 8, 48, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
     fma_ymm},
};

#elif defined(__aarch64__)

// clang-format off
#define KAQ_16(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define KAQ_ALL_REGISTERS \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17"
// clang-format on
#define KAQ_CLEAR(i) "movi v" #i ".4s, #0\n"

__attribute__((target("arch=armv8.2-a+dotprod"))) void sdot(long iterations) {
    asm volatile(KAQ_16(KAQ_CLEAR) "movi v16.4s, #0\n movi v17.4s, #0\n1:\n"
#define KAQ_OP(i) "sdot v" #i ".4s, v16.16b, v17.16b\n"
                 KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) "subs %0, %0, #1\n b.ne 1b\n"
                 : "+r"(iterations)::"cc", KAQ_ALL_REGISTERS);
#undef KAQ_OP
}

void fmla(long iterations) {
    asm volatile(KAQ_16(KAQ_CLEAR) "movi v16.4s, #0\n movi v17.4s, #0\n1:\n"
#define KAQ_OP(i) "fmla v" #i ".4s, v16.4s, v17.4s\n"
                 KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) KAQ_16(KAQ_OP) "subs %0, %0, #1\n b.ne 1b\n"
                 : "+r"(iterations)::"cc", KAQ_ALL_REGISTERS);
#undef KAQ_OP
}
#undef KAQ_CLEAR

bool has_dot_product();

const Loop loops[] = {
    {"int8 sdot, 128 bits", 16, 4 * accumulators, has_dot_product, sdot},
    {"fp32 fmla, 128 bits", 4, 4 * accumulators, [] { return true; }, fmla},
};

#else
#error "no microbenchmarks for this processor"
#endif

} // namespace
} // namespace speed

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
namespace speed {
namespace {
bool has_dot_product() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
} // namespace
} // namespace speed
#endif

namespace speed {

std::vector<DotProduct> dot_products() {
    std::vector<DotProduct> found;
    for (const Loop &loop : loops)
        found.push_back({loop.name, loop.multiply_adds * loop.per_iteration, loop.available()});
    return found;
}

double time_dot_product(std::size_t index, long iterations) {
    if (index >= std::size(loops) || !loops[index].available() || iterations < 1)
        throw std::invalid_argument("this processor does not have that instruction");
    const Clock::time_point start = Clock::now();
    loops[index].run(iterations);
    return seconds_since(start);
}

double clock_rate(long iterations) {
    const Clock::time_point start = Clock::now();
    long count = iterations;
    // 64 dependent additions; the counter runs beside them
#if defined(__x86_64__)
    std::uint64_t chain = 1;
    asm volatile("1:\n\t.rept 64\n\taddq %1, %1\n\t.endr\n\tdecq %0\n\tjnz 1b" : "+r"(count), "+r"(chain)::"cc");
#else
    std::uint64_t chain = 1;
    asm volatile("1:\n\t.rept 64\n\tadd %1, %1, %1\n\t.endr\n\tsubs %0, %0, #1\n\tb.ne 1b"
                 : "+r"(count), "+r"(chain)::"cc");
#endif
    return 64.0 * static_cast<double>(iterations) / seconds_since(start);
}

namespace {

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void read_512(const char *from, const char *end) {
    asm volatile("1:\n\tvmovups (%0), %%zmm0\n\tvmovups 64(%0), %%zmm1\n\tvmovups 128(%0), %%zmm2\n\t"
                 "vmovups 192(%0), %%zmm3\n\tvmovups 256(%0), %%zmm4\n\tvmovups 320(%0), %%zmm5\n\t"
                 "vmovups 384(%0), %%zmm6\n\tvmovups 448(%0), %%zmm7\n\tadd $512, %0\n\tcmp %1, %0\n\tjb 1b\n\t"
                 "vzeroupper"
                 : "+r"(from)
                 : "r"(end)
                 : "cc", "memory", KAQ_ALL_REGISTERS);
}

__attribute__((target("avx2"))) void read_256(const char *from, const char *end) {
    asm volatile(
        "1:\n\t.set offset, 0\n\t.rept 16\n\tvmovups offset(%0), %%ymm0\n\t.set offset, offset + 32\n\t.endr\n\t"
        "add $512, %0\n\tcmp %1, %0\n\tjb 1b\n\tvzeroupper"
        : "+r"(from)
        : "r"(end)
        : "cc", "memory", KAQ_ALL_REGISTERS);
}

void read(const char *from, const char *end) {
    if (__builtin_cpu_supports("avx512f"))
        read_512(from, end);
    else if (__builtin_cpu_supports("avx2"))
        read_256(from, end);
    else
        throw std::runtime_error("AVX2 expected");
}
#else
void read(const char *from, const char *end) {
    asm volatile("1:\n\tldp q0, q1, [%0]\n\tldp q2, q3, [%0, #32]\n\tldp q4, q5, [%0, #64]\n\tldp q6, q7, [%0, #96]\n\t"
                 "add %0, %0, #128\n\tcmp %0, %1\n\tb.lo 1b"
                 : "+r"(from)
                 : "r"(end)
                 : "cc", "memory", KAQ_ALL_REGISTERS);
}
#endif

} // namespace

double read_bandwidth(std::size_t bytes, std::size_t total) {
    bytes = bytes / 512 * 512;
    if (bytes == 0)
        throw std::invalid_argument("at least 512 bytes expected");
    const std::unique_ptr<char, decltype(&std::free)> buffer(
        static_cast<char *>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)), std::free);
    if (!buffer)
        throw std::bad_alloc();
    for (std::size_t i = 0; i < bytes; ++i)
        buffer.get()[i] = static_cast<char>(i);
    read(buffer.get(), buffer.get() + bytes);
    const std::size_t passes = total / bytes + 1;
    const Clock::time_point start = Clock::now();
    for (std::size_t pass = 0; pass < passes; ++pass)
        read(buffer.get(), buffer.get() + bytes);
    return static_cast<double>(passes * bytes) / seconds_since(start);
}

} // namespace speed
