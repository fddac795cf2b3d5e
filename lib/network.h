// SPDX-License-Identifier: GPL-3.0-or-later
// What a trained network is to the kernels: its structure, and the values of its laws for one estimate.
#pragma once

#include <cstdint>
#include <vector>

namespace kaq {

enum class NetworkType { admm, pgd };

// The proximal map at the end of a layer.
enum class Prox : std::uint8_t { none, soft_threshold, ramp };

struct Network {
    NetworkType type = NetworkType::admm;
    int bits_per_dimension = 1; // 1 to 4
    float half_distance = 0;    // half the distance between PAM levels
    int activation_max = 127;   // largest activation, 2^(A-1) - 1
    int matrix_max = 127;       // largest matrix entry, 2^(W-1) - 1
    float matrix_clip = 1;      // largest entry that is represented, over the largest of its row
    bool stream_steps = false;  // each stream's activations have a step of their own
    float output_spread = 0;    // row i has (1 + output_spread P_ii^2) times the output variance
    int candidates = 0;         // second guesses that are tried for each vector, 0 to max_candidates
    std::vector<Prox> prox;     // one per layer

    int num_levels() const { return 1 << bits_per_dimension; } // PAM levels per real dimension
    int num_layers() const { return static_cast<int>(prox.size()); }
};

// The laws at one SNR, as real numbers; K values each, those that a network does not have unused.
struct LayerValues {
    const double *step = nullptr;
    const double *variance = nullptr;
    const double *dual_step = nullptr;
    const double *relaxation = nullptr;
    const double *gradient_step = nullptr;
    const double *threshold = nullptr;
    double output_variance = 1;
    double regularization = 1;
};

inline constexpr int max_candidates = 16;

// Half the distance between PAM levels in state units, and in units of the metric's gradient (docs/integer-model.md).
inline constexpr int state_half_distance = 512;
inline constexpr int metric_half_distance = 128;
inline constexpr int metric_matrix_max = 127;
inline constexpr int rescale_shift = 12;

} // namespace kaq
