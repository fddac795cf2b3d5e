// SPDX-License-Identifier: GPL-3.0-or-later
// The laws of a network at one SNR, as integers where the layers need integers.
#pragma once

#include "detection/network.h"

namespace kaq {

// Values of a layer that all rows share.
struct LayerValues {
    float inverse_step, first_gain, threshold; // of the integer layers, 16-bit integers
    float gradient_step, dual_step;
    float to_state;                   // rescale over the step of a row
    float to_slope;                   // slope over the precision of a stream, Q9; 0 where the layer has no ramp
    float relaxation, soft_threshold; // of the layers in single precision
};

struct LawValues {
    double inverse_root_snr; // where the laws were evaluated
    float regularization;
    float to_llr; // LLRs, as the integer layers have them, over the precision of a stream
    LayerValues layers[max_layers];

    LawValues() = default; // without values
    LawValues(const Network &network, double inverse_root_snr);
};

} // namespace kaq
