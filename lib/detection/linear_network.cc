// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/linear_network.h"

#include <cmath>

#include "detection/network.h"
#include "support/expect.h"

namespace kaq {

void LinearNetwork::check() const {
    expect(bits_per_dimension >= 1 && bits_per_dimension <= max_bits_per_dimension, "bits_per_dimension is ",
           bits_per_dimension, "; 1 to ", max_bits_per_dimension, " expected");
    expect(half_distance > 0 && half_distance <= 1, "half_distance is ", half_distance,
           "; above 0 and up to 1 expected");
}

} // namespace kaq
