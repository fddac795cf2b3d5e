// SPDX-License-Identifier: GPL-3.0-or-later
// A list detector: K-best search, expectation propagation, and the fusion of both to LLRs. list_model.py says what each
// parameter is.
#pragma once

#include <vector>

namespace kaq {

inline constexpr int max_list_streams = 16;
inline constexpr int max_list_rx = 64;
inline constexpr int max_list_layers = 4;
inline constexpr int max_list_knots = 16;
inline constexpr int max_list_entry = 32639; // of two signed bytes, 127 * 256 + 127

struct ListNetwork {
    struct Layer {
        float damping, least_variance;
    };
    // Of one kind of bit: the LLR is the sum of weight * clip(llr, -knot, knot) over both sources and all knots.
    struct Fusion {
        std::vector<float> list, propagation;
    };

    int bits_per_dimension = 1;
    float half_distance = 0;
    int survivors = 8; // 8 or 16
    int largest_entry = max_list_entry;
    float step_alpha = 0, step_gamma = 0;
    std::vector<Layer> layers;
    std::vector<float> knots;
    std::vector<Fusion> fusion; // for each bit of a dimension

    // Throws std::invalid_argument, which names the value, if the kernels cannot run it.
    void check() const;
};

} // namespace kaq
