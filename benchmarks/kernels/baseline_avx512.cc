// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels_of.h"

namespace speed {
namespace {

constexpr TileOf tiles[] = {
    {1, 4, tile<1, 4>}, {1, 8, tile<1, 8>}, {1, 12, tile<1, 12>}, {1, 16, tile<1, 16>},
    {2, 4, tile<2, 4>}, {2, 6, tile<2, 6>}, {2, 8, tile<2, 8>},   {2, 12, tile<2, 12>},
    {4, 2, tile<4, 2>}, {4, 4, tile<4, 4>}, {4, 6, tile<4, 6>},
};

} // namespace

BaselineKernel baseline_kernel_avx512() { return baseline_kernel<tiles>("avx512"); }

} // namespace speed
