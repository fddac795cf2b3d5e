// SPDX-License-Identifier: GPL-3.0-or-later
// Which vector of which channel each lane of a vector register holds.
#pragma once

namespace kaq {

// Vectors of a batch: lane l has channel first_channel + l % num_channels, and vector
// first_vector + l / num_channels + i * copies in step i, where copies = lanes / num_channels.
struct LaneVectors {
    int first_channel, num_channels;
    int first_vector, num_vectors;
};

} // namespace kaq
