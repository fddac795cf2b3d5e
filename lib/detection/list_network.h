// SPDX-License-Identifier: GPL-3.0-or-later
// A list detector: K-best search, expectation propagation, and the fusion of both to LLRs. list_model.py says what each
// parameter is.
#pragma once

#include <cstddef>
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
    using Curve = std::vector<float>; // a weight for each knot
    // How a bit's LLR follows from those by the list and by the propagation: the sum over both and all knots of
    // weight * clip(llr, -knot, knot). Weights lie between those for narrow lists and for wide ones.
    struct Fusion {
        int max_num_tx; // largest number of streams that they are for
        std::vector<Curve> list_narrow, list_wide, propagation_narrow, propagation_wide; // by bit of a dimension
    };

    int bits_per_dimension = 1;
    float half_distance = 0;
    int survivors = 8; // 8 or 16
    int largest_entry = max_list_entry;
    float step_alpha = 0, step_gamma = 0;
    std::vector<Layer> layers;
    std::vector<float> knots;
    std::vector<Fusion> fusion; // by the number of streams, ascending

    // The weights for a number of streams, which the last ones have to be for.
    const Fusion &fusion_for(int num_tx) const {
        std::size_t i = 0;
        while (i + 1 < fusion.size() && num_tx > fusion[i].max_num_tx)
            ++i;
        return fusion[i];
    }

    // Throws std::invalid_argument, which names the value, if the kernels cannot run it.
    void check() const;
};

} // namespace kaq
