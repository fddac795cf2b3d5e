// SPDX-License-Identifier: GPL-3.0-or-later
#include "baselines.h"

namespace speed {

const std::vector<BaselineKernel> &baseline_kernels() {
    static const std::vector<BaselineKernel> kernels = [] {
        std::vector<BaselineKernel> found;
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
            found.push_back(baseline_kernel_avx512());
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            found.push_back(baseline_kernel_avx2());
#else
        found.push_back(baseline_kernel_neon());
#endif
        return found;
    }();
    return kernels;
}

} // namespace speed
