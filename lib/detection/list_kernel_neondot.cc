// SPDX-License-Identifier: GPL-3.0-or-later
// The list detector for aarch64 with the dot product instructions.

#include "detection/list_detection.h"

#include "detection/kernels.h"

namespace kaq {

const ListKernel neondot_list_kernel = make_list_kernel();

} // namespace kaq
