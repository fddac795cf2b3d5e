// SPDX-License-Identifier: GPL-3.0-or-later
// The kernels; which of them a build has, instruction_sets.cc knows.
#pragma once

#include "detection/kernel.h"
#include "detection/linear_kernel.h"
#include "detection/list_kernel.h"

namespace kaq {

extern const Kernel avx512vnni_kernel, avxvnni_kernel, avx2_kernel, neondot_kernel, portable_kernel;
extern const ListKernel avx512vnni_list_kernel, avxvnni_list_kernel, avx2_list_kernel, neondot_list_kernel,
    portable_list_kernel;
extern const LinearKernel avx512vnni_linear_kernel, avxvnni_linear_kernel, avx2_linear_kernel, neondot_linear_kernel,
    portable_linear_kernel;

} // namespace kaq
