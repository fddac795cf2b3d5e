// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/list_network.h"

#include <cmath>

#include "detection/network.h"
#include "support/expect.h"

namespace kaq {

void ListNetwork::check() const {
    expect(bits_per_dimension >= 1 && bits_per_dimension <= max_bits_per_dimension, "bits_per_dimension is ",
           bits_per_dimension, "; 1 to ", max_bits_per_dimension, " expected");
    const float levels = static_cast<float>(1 << bits_per_dimension); // of which the outermost have to be numbers
    expect(half_distance > 0 && std::isfinite(half_distance * levels), "half_distance is ", half_distance,
           "; a positive number expected");
    expect(survivors == 8 || survivors == 16, "survivors is ", survivors, "; 8 or 16 expected");
    expect(largest_entry >= 1 && largest_entry <= max_list_entry, "largest_entry is ", largest_entry, "; 1 to ",
           max_list_entry, " expected");
    expect(step_alpha >= 0 && step_gamma >= 0 && std::isfinite(step_alpha + step_gamma),
           "the step's alpha and gamma are ", step_alpha, " and ", step_gamma,
           "; finite numbers of 0 or more expected");
    expect(layers.size() <= max_list_layers, layers.size(), " layers; ", max_list_layers, " at most expected");
    for (const Layer &layer : layers) {
        expect(layer.damping >= 0 && layer.damping <= 1, "damping is ", layer.damping, "; 0 to 1 expected");
        expect(layer.least_variance > 0 && std::isfinite(layer.least_variance), "least_variance is ",
               layer.least_variance, "; a positive number expected");
    }
    expect(!knots.empty() && knots.size() <= max_list_knots, knots.size(), " knots; 1 to ", max_list_knots,
           " expected");
    for (std::size_t i = 0; i < knots.size(); ++i)
        expect(std::isfinite(knots[i]) && knots[i] > (i ? knots[i - 1] : 0), "knot ", i, " is ", knots[i],
               "; a finite number above ", i ? knots[i - 1] : 0, " expected");
    expect(!fusion.empty(), "no weights of the fusion; at least those for one number of streams expected");
    const std::size_t bits = bits_per_dimension;
    for (const Fusion &weights : fusion)
        for (const std::vector<Curve> *curves :
             {&weights.list_narrow, &weights.list_wide, &weights.propagation_narrow, &weights.propagation_wide}) {
            expect(curves->size() == bits, "curves of ", curves->size(), " kinds of bits; ", bits, " expected");
            for (const Curve &curve : *curves) {
                expect(curve.size() == knots.size(), curve.size(), " weights of a curve; one for each of the ",
                       knots.size(), " knots expected");
                for (const float weight : curve)
                    expect(std::isfinite(weight), "a weight of the fusion is ", weight, "; a finite number expected");
            }
        }
}

} // namespace kaq
