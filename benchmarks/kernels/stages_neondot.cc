// SPDX-License-Identifier: GPL-3.0-or-later
#define neondot_kernel staged_neondot_kernel // the library has the other one
#include "detection/kernel_neondot.cc"

#include "stages_of.h"

namespace speed {

StagedKernels stages_of_neondot() { return stages_of<kaq::NeonDot>(kaq::neondot_kernel); }

} // namespace speed
