// SPDX-License-Identifier: GPL-3.0-or-later
// Kernels that stop after a stage, for networks in int8 and in fp32. A plan with one of them does everything up to it,
// so that each stage sees the caches as it would; the difference to the stage before is what it costs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "detection/kernel.h"

namespace speed {

struct StagedKernel {
    std::string_view stage;
    kaq::Kernel kernel;
};

// The stages of an estimate in their order, which prepare only, then those of vectors, which detect what a whole
// preparation left. The last one, `layers_alone`, has no filter before it. None for a kernel whose stages are not
// built.
using StagedKernels = std::vector<StagedKernel>;
const StagedKernels &staged_kernels(const std::string &instruction_set);

// Of each instruction set.
StagedKernels stages_of_avx512vnni();
StagedKernels stages_of_avx2();
StagedKernels stages_of_neondot();

} // namespace speed
