// SPDX-License-Identifier: GPL-3.0-or-later
#include "preparation_steps.h"

namespace speed {

void preparation_avx2(int steps, const kaq::Network &network, const kaq::Size &size, const kaq::Estimate *estimates,
                      const kaq::PreparedChannel *channels, int count, float *scratch) {
    run_steps<kaq::PackedLayout<8, 2, 0>>(steps, network, size, estimates, channels, count, scratch);
}

} // namespace speed
