// SPDX-License-Identifier: GPL-3.0-or-later
#include "stages.h"

namespace speed {

const StagedKernels &staged_kernels([[maybe_unused]] const std::string &instruction_set) {
    static const StagedKernels none;
#ifdef KAQ_STAGES_OF_AVX512VNNI
    static const StagedKernels avx512vnni = stages_of_avx512vnni();
    if (instruction_set == "avx512vnni")
        return avx512vnni;
#endif
#ifdef KAQ_STAGES_OF_AVX2
    static const StagedKernels avx2 = stages_of_avx2();
    if (instruction_set == "avx2")
        return avx2;
#endif
#ifdef KAQ_STAGES_OF_NEONDOT
    static const StagedKernels neondot = stages_of_neondot();
    if (instruction_set == "neondot")
        return neondot;
#endif
    return none;
}

} // namespace speed
