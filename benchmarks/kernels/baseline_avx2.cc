// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels_of.h"

namespace speed {
namespace {

constexpr TileOf tiles[] = {
    {1, 4, tile<1, 4>}, {1, 8, tile<1, 8>}, {1, 12, tile<1, 12>}, {2, 2, tile<2, 2>},
    {2, 4, tile<2, 4>}, {2, 6, tile<2, 6>}, {4, 2, tile<4, 2>},   {4, 3, tile<4, 3>},
};

} // namespace

BaselineKernel baseline_kernel_avx2() { return baseline_kernel<tiles>("avx2"); }

} // namespace speed
