// SPDX-License-Identifier: GPL-3.0-or-later
// The list detector for processors without fused multiply-adds.

#define KAQ_EMULATED_PRODUCTS // support/lanes.h

#include "detection/list_detection.h"

#include "detection/kernels.h"

namespace kaq {

const ListKernel portable_list_kernel = make_list_kernel();

} // namespace kaq
