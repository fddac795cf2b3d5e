// SPDX-License-Identifier: GPL-3.0-or-later
// The linear detectors for AVX-VNNI.

#include "detection/linear_detection.h"

#include "detection/kernels.h"

namespace kaq {

const LinearKernel avxvnni_linear_kernel = make_linear_kernel();

} // namespace kaq
