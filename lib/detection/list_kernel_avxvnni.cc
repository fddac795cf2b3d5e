// SPDX-License-Identifier: GPL-3.0-or-later
// The list detector for AVX-VNNI.

#include "detection/list_detection.h"

#include "detection/kernels.h"

namespace kaq {

const ListKernel avxvnni_list_kernel = make_list_kernel();

} // namespace kaq
