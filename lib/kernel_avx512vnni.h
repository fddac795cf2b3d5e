// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "kernel.h"

namespace kaq {
extern const Kernel avx512vnni_kernel; // needs AVX-512 F, BW, VL and VNNI
}
