// SPDX-License-Identifier: GPL-3.0-or-later
// What a trained network is to the kernels: its structure, and the laws by which its values follow the SNR.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace kaq {

inline constexpr int max_layers = 32;
inline constexpr int max_bits_per_dimension = 4;
inline constexpr int max_int8 = 127; // activations and matrix entries are int8, without -128

enum class NetworkType { admm, pgd };

// The proximal map at the end of a layer.
enum class Prox : std::uint8_t { none, soft_threshold, ramp };

// What the layers are computed in.
enum class Precision : std::uint8_t { int8, fp32 };

// A value that follows the SNR: alpha SNR^(-1/2) + gamma, kept between low and high (preparation.py). The sum is not
// fused: it is compiled into kernels with and without fused multiply-adds, and the linker keeps any one of them.
struct Law {
    double alpha = 0, gamma = 0, low = 0, high = 0;

    double at(double inverse_root_snr) const { return std::clamp(alpha * inverse_root_snr + gamma, low, high); }
};

// The laws of one layer; those that the network or the layer does not have are all zero.
struct Layer {
    Law step, variance, dual_step, relaxation, gradient_step, threshold;
    Prox prox = Prox::none;
    int activation_max = 127; // largest activation: 2^(A-1) - 1, midrise 2^A - 1
};

struct Network {
    NetworkType type = NetworkType::admm;
    Precision precision = Precision::int8;
    int bits_per_dimension = 1; // 1 to max_bits_per_dimension
    float half_distance = 0;    // half the distance between PAM levels
    int matrix_max = 127;       // largest matrix entry: 2^(W-1) - 1, midrise 2^W - 1
    bool midrise = false;       // activations and matrix entries are the odd integers: all 2^A levels, and no zero
    float matrix_clip = 1;      // largest entry that is represented, over the largest of its row
    bool stream_steps = false;  // each stream's activations have a step of their own
    float output_spread = 0;    // row i has (1 + output_spread P_ii^2) times the output variance
    std::vector<Layer> layers;
    Law output_variance, regularization;
    double snr_low_db = 0, snr_high_db = 0; // the laws are evaluated at the SNR clipped to these

    int num_levels() const { return 1 << bits_per_dimension; } // PAM levels per real dimension
    int num_layers() const { return static_cast<int>(layers.size()); }

    // Throws std::invalid_argument, which names the value, if the kernels cannot run it.
    void check() const;
};

} // namespace kaq
