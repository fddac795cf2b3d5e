// SPDX-License-Identifier: GPL-3.0-or-later
// Copies of Kernel::prepare that stop after a step, one for each instruction set that has one.
#pragma once

#include "detection/kernel.h"

namespace speed {

using Preparation = void (*)(int steps, const kaq::Network &, const kaq::Size &, std::span<const kaq::Estimate>,
                             std::span<const kaq::ChannelToPrepare>, std::span<float> scratch);

// nullptr where there is none for a kernel.
Preparation preparation_of(const kaq::Kernel &kernel);

void preparation_avx512vnni(int steps, const kaq::Network &, const kaq::Size &, std::span<const kaq::Estimate>,
                            std::span<const kaq::ChannelToPrepare>, std::span<float> scratch);
void preparation_avx2(int steps, const kaq::Network &, const kaq::Size &, std::span<const kaq::Estimate>,
                      std::span<const kaq::ChannelToPrepare>, std::span<float> scratch);

} // namespace speed
