// SPDX-License-Identifier: GPL-3.0-or-later
#include "preparation_steps.h"

namespace speed {

void preparation_avx2(int steps, const kaq::Network &network, const kaq::Size &size,
                      std::span<const kaq::Estimate> estimates, std::span<const kaq::ChannelToPrepare> channels,
                      std::span<float> scratch) {
    run_steps<kaq::PackedLayout<8, 2, 0>>(steps, network, size, estimates, channels, scratch);
}

} // namespace speed
