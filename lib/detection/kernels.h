// SPDX-License-Identifier: GPL-3.0-or-later
// The kernels; which of them a build has, instruction_sets.cc knows.
#pragma once

#include "detection/kernel.h"

namespace kaq {

extern const Kernel avx512vnni_kernel, avxvnni_kernel, avx2_kernel, neondot_kernel, portable_kernel;

} // namespace kaq
