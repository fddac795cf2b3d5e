// SPDX-License-Identifier: GPL-3.0-or-later
#define avx2_kernel staged_avx2_kernel // the library has the other one
#include "detection/kernel_avx2.cc"

#include "stages_of.h"

namespace speed {

StagedKernels stages_of_avx2() { return stages_of<kaq::Avx2>(kaq::avx2_kernel); }

} // namespace speed
