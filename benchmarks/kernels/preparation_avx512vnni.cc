// SPDX-License-Identifier: GPL-3.0-or-later
#include "preparation_steps.h"

namespace speed {

void preparation_avx512vnni(int steps, const kaq::Network &network, const kaq::Size &size,
                            std::span<const kaq::Estimate> estimates, std::span<const kaq::ChannelToPrepare> channels,
                            std::span<float> scratch) {
    run_steps<kaq::PackedLayout<16, 4, 128>>(steps, network, size, estimates, channels, scratch);
}

} // namespace speed
