// SPDX-License-Identifier: GPL-3.0-or-later
// The list detector for AVX2.

#include "detection/list_detection.h"

#include "detection/kernels.h"

namespace kaq {

const ListKernel avx2_list_kernel = make_list_kernel();

} // namespace kaq
