// SPDX-License-Identifier: GPL-3.0-or-later
#define avx512vnni_kernel staged_avx512vnni_kernel // the library has the other one
#include "detection/kernel_avx512vnni.cc"

#include "stages_of.h"

namespace speed {

StagedKernels stages_of_avx512vnni() { return stages_of<kaq::Avx512Vnni>(kaq::avx512vnni_kernel); }

} // namespace speed
