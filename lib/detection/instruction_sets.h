// SPDX-License-Identifier: GPL-3.0-or-later
// Which kernels this build has, and which of them this processor can run.
#pragma once

#include <string>
#include <vector>

#include "detection/kernel.h"
#include "detection/linear_kernel.h"
#include "detection/list_kernel.h"

namespace kaq {

// Kernels of this build, the fastest first, whether this processor can run them or not.
std::vector<const Kernel *> known_kernels();

// Those that run here.
std::vector<const Kernel *> available_kernels();

// The fastest kernel, or the one that the environment variable GR_KAQ_INSTRUCTION_SET names.
// Throws std::invalid_argument for a name that this processor or build does not have.
const Kernel &select_kernel();

// The kernel called `name`; throws as above.
const Kernel &kernel_named(const std::string &name);

// The list detector for the same instruction set.
const ListKernel &list_kernel_of(const Kernel &kernel);

// The linear detectors for the same instruction set.
const LinearKernel &linear_kernel_of(const Kernel &kernel);

} // namespace kaq
