// SPDX-License-Identifier: GPL-3.0-or-later
// The size of a channel.
#pragma once

namespace kaq {

inline constexpr int max_streams = 64;
inline constexpr int max_rows = 2 * max_streams;

// Antennas, streams, and the rows of the real-valued model.
struct Size {
    int num_rx;
    int num_tx;

    int rows() const { return 2 * num_tx; }
};

} // namespace kaq
