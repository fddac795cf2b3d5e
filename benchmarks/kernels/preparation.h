// SPDX-License-Identifier: GPL-3.0-or-later
// Copies of Kernel::prepare that stop after a step, one for each instruction set that has one.
#pragma once

#include "detection/kernel.h"

namespace speed {

using Preparation = void (*)(int steps, const kaq::Network &, const kaq::Size &, const kaq::Estimate *,
                             const kaq::PreparedChannel *, int count, float *scratch);

// nullptr where there is none for a kernel.
Preparation preparation_of(const kaq::Kernel &kernel);

void preparation_avx512vnni(int steps, const kaq::Network &, const kaq::Size &, const kaq::Estimate *,
                            const kaq::PreparedChannel *, int count, float *scratch);
void preparation_avx2(int steps, const kaq::Network &, const kaq::Size &, const kaq::Estimate *,
                      const kaq::PreparedChannel *, int count, float *scratch);

} // namespace speed
