// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/instruction_sets.h"

#include <cstdlib>
#include <stdexcept>

#include "detection/kernels.h"

#if defined(KAQ_HAVE_NEONDOT) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#ifdef KAQ_HAVE_AVXVNNI
#include <cpuid.h>
#endif

namespace kaq {
namespace {

struct BuiltKernel {
    const Kernel *kernel;
    const ListKernel *list;
    const LinearKernel *linear;
    bool available;
};

#ifdef KAQ_HAVE_AVXVNNI
// GCC 12's __builtin_cpu_supports does not know it: leaf 7, subleaf 1, EAX bit 4.
bool has_avx_vnni() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}
#endif

#if defined(KAQ_HAVE_AVX2) || defined(KAQ_HAVE_AVXVNNI)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

#ifdef KAQ_HAVE_NEONDOT
bool has_dot_product() {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
    return true; // every Mac with an Arm processor has it
#else
    return false; // nobody has tried it
#endif
}
#endif

// The fastest first.
std::vector<BuiltKernel> built_kernels() {
    return {
#ifdef KAQ_HAVE_AVX512VNNI
        {&avx512vnni_kernel, &avx512vnni_list_kernel, &avx512vnni_linear_kernel,
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma")},
#endif
#ifdef KAQ_HAVE_AVXVNNI
        {&avxvnni_kernel, &avxvnni_list_kernel, &avxvnni_linear_kernel, has_avx2() && has_avx_vnni()},
#endif
#ifdef KAQ_HAVE_AVX2
        {&avx2_kernel, &avx2_list_kernel, &avx2_linear_kernel, has_avx2()},
#endif
#ifdef KAQ_HAVE_NEONDOT
        {&neondot_kernel, &neondot_list_kernel, &neondot_linear_kernel, has_dot_product()},
#endif
        {&portable_kernel, &portable_list_kernel, &portable_linear_kernel, true},
    };
}

BuiltKernel built_as(const Kernel &kernel) {
    for (const BuiltKernel &built : built_kernels())
        if (built.kernel == &kernel)
            return built;
    throw std::invalid_argument("a kernel that is not of this build");
}

} // namespace

std::vector<const Kernel *> known_kernels() {
    std::vector<const Kernel *> kernels;
    for (const BuiltKernel &built : built_kernels())
        kernels.push_back(built.kernel);
    return kernels;
}

std::vector<const Kernel *> available_kernels() {
    std::vector<const Kernel *> kernels;
    for (const BuiltKernel &built : built_kernels())
        if (built.available)
            kernels.push_back(built.kernel);
    return kernels;
}

const Kernel &kernel_named(const std::string &name) {
    std::string known;
    for (const Kernel *kernel : available_kernels()) {
        if (name == kernel->name)
            return *kernel;
        known += (known.empty() ? "" : ", ") + std::string(kernel->name);
    }
    throw std::invalid_argument("instruction set '" + name + "' is not available here; one of " + known + " expected");
}

const Kernel &select_kernel() {
    const char *name = std::getenv("GR_KAQ_INSTRUCTION_SET");
    return name && *name ? kernel_named(name) : *available_kernels().front();
}

const ListKernel &list_kernel_of(const Kernel &kernel) { return *built_as(kernel).list; }

const LinearKernel &linear_kernel_of(const Kernel &kernel) { return *built_as(kernel).linear; }

} // namespace kaq
