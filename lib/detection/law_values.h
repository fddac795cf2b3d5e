// SPDX-License-Identifier: GPL-3.0-or-later
// The laws of a network at one SNR, as integers where the layers need integers.
#pragma once

#include <cstdint>

#include "detection/network.h"

namespace kaq {

// Values of a layer that all rows share.
struct LayerValues {
    std::int16_t inverse_step, first_gain, threshold; // of the integer layers
    float gradient_step, dual_step;
    float to_state;                   // rescale over the step of a row
    float to_slope;                   // slope over the precision of a stream, Q9; 0 where the layer has no ramp
    float relaxation, soft_threshold; // of the layers in single precision
};

struct LawValues {
    double inverse_root_snr; // where the laws were evaluated
    float regularization;
    double output_variance;
    LayerValues layers[max_layers];

    LawValues(const Network &network, double inverse_root_snr);
};

} // namespace kaq
