// SPDX-License-Identifier: GPL-3.0-or-later
// The linear detectors for aarch64 with the dot product instructions.

#include "detection/linear_detection.h"

#include "detection/kernels.h"

namespace kaq {

const LinearKernel neondot_linear_kernel = make_linear_kernel();

} // namespace kaq
