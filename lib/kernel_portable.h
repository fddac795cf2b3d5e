// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "kernel.h"

namespace kaq {
extern const Kernel portable_kernel;
}
