// SPDX-License-Identifier: GPL-3.0-or-later
#include "instruction_sets.h"

#include <cstdlib>
#include <stdexcept>

#include "kernel_portable.h"
#ifdef KAQ_HAVE_AVX512VNNI
#include "kernel_avx512vnni.h"
#endif

namespace kaq {

std::vector<const Kernel *> available_kernels() {
    std::vector<const Kernel *> kernels;
#ifdef KAQ_HAVE_AVX512VNNI
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        kernels.push_back(&avx512vnni_kernel);
#endif
    kernels.push_back(&portable_kernel);
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

} // namespace kaq
