// SPDX-License-Identifier: GPL-3.0-or-later
// The linear detectors for processors without fused multiply-adds.

#define KAQ_SEPARATE_PRODUCTS // support/lanes.h

#include "detection/linear_detection.h"

#include "detection/kernels.h"

namespace kaq {

const LinearKernel portable_linear_kernel = make_linear_kernel();

} // namespace kaq
