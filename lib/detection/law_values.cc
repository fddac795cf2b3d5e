// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/law_values.h"

#include <algorithm>
#include <cmath>

#include "detection/fixed_point.h"

namespace kaq {
namespace {

float to_integer(double x, double low, double high) { return static_cast<float>(std::lrint(std::clamp(x, low, high))); }
float q15(double x) { return to_integer(q15_one * x, -int16_max, int16_max); }

LayerValues values_of(const Network &network, const Layer &layer, double root) {
    const double distance = network.half_distance, unit = distance / state_half_distance;
    const bool admm = network.type == NetworkType::admm;
    const double gradient_step = layer.gradient_step.at(root), relaxation = layer.relaxation.at(root);
    LayerValues out{};
    if (network.precision == Precision::int8) {
        out.inverse_step = to_integer(q15_one * unit / layer.step.at(root), 1, int16_max);
        out.to_state = static_cast<float>(rescale_one * (admm ? 1 : -gradient_step) *
                                          (double{q15_one} / double{out.inverse_step}));
    }
    out.gradient_step = static_cast<float>(gradient_step);
    out.relaxation = static_cast<float>(relaxation);
    out.dual_step = static_cast<float>(layer.dual_step.at(root));
    out.first_gain = q15((admm ? relaxation : gradient_step) - 1);
    if (layer.prox == Prox::soft_threshold) {
        const double threshold = layer.threshold.at(root) / unit;
        out.threshold = to_integer(threshold, 0, int16_max);
        out.soft_threshold = static_cast<float>(threshold);
    }
    if (layer.prox == Prox::ramp)
        out.to_slope = static_cast<float>(q9_one * distance * distance / layer.variance.at(root));
    return out;
}

} // namespace

LawValues::LawValues(const Network &network, double root)
    : inverse_root_snr(root), regularization(static_cast<float>(network.regularization.at(root))),
      to_llr(static_cast<float>(double{network.half_distance} * network.half_distance /
                                (integer_llr_scale * network.output_variance.at(root)))) {
    for (int k = 0; k < network.num_layers(); ++k)
        layers[k] = values_of(network, network.layers[k], root);
}

} // namespace kaq
