// SPDX-License-Identifier: GPL-3.0-or-later
#include "preparation_steps.h"

namespace speed {

void preparation_avx512vnni(int steps, const kaq::Network &network, const kaq::Size &size,
                            const kaq::Estimate *estimates, const kaq::PreparedChannel *channels, int count,
                            float *scratch) {
    run_steps<kaq::PackedLayout<16, 4, 128>>(steps, network, size, estimates, channels, count, scratch);
}

} // namespace speed
