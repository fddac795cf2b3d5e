// SPDX-License-Identifier: GPL-3.0-or-later
// The linear detectors for AVX2.

#include "detection/linear_detection.h"

#include "detection/kernels.h"

namespace kaq {

const LinearKernel avx2_linear_kernel = make_linear_kernel();

} // namespace kaq
