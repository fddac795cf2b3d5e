// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels_of.h"

namespace speed {
namespace {

constexpr TileOf tiles[] = {
    {1, 8, tile<1, 8>}, {2, 4, tile<2, 4>}, {2, 8, tile<2, 8>}, {4, 4, tile<4, 4>}, {4, 6, tile<4, 6>},
};

} // namespace

BaselineKernel baseline_kernel_neon() { return baseline_kernel<tiles>("neon"); }

} // namespace speed
