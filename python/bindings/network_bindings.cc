// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel.Network, which only native_kernel.py makes. What is converted here is checked by kaq::Network.

#include <pybind11/stl.h>

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "detection/network.h"
#include "detection_bindings.h"
#include "support/expect.h"

namespace py = pybind11;

namespace {

using Bounds = std::array<double, 4>; // of a law: alpha, gamma, low, high

// The keyword arguments of Network, each of which is taken once by the field that it is for.
class Arguments {
public:
    explicit Arguments(const py::kwargs &from) : from_(from) {}

    template <typename T>
    T take(const char *name) {
        if (!from_.contains(name))
            throw py::type_error(std::string("Network: ") + name + " is missing");
        ++num_taken_;
        const py::object value = from_[name];
        try {
            return value.cast<T>();
        } catch (const py::cast_error &) {
            throw py::type_error(std::string("Network: ") + name + " is " + std::string(py::repr(value)) +
                                 "; another type expected");
        }
    }

    kaq::Law take_law(const char *name) {
        const Bounds bounds = take<Bounds>(name);
        return {bounds[0], bounds[1], bounds[2], bounds[3]};
    }

    // After all were taken: no other may be there.
    void end() const {
        if (num_taken_ != from_.size())
            throw py::type_error("Network takes " + std::to_string(num_taken_) + " arguments; " +
                                 std::to_string(from_.size()) + " given");
    }

private:
    const py::kwargs &from_;
    std::size_t num_taken_ = 0;
};

kaq::NetworkType type_named(const std::string &name) {
    kaq::expect(name == "admm" || name == "pgd", "network type '", name, "' given; 'admm' or 'pgd' expected");
    return name == "admm" ? kaq::NetworkType::admm : kaq::NetworkType::pgd;
}

kaq::Precision precision_named(const std::string &name) {
    kaq::expect(name == "int8" || name == "fp32", "precision '", name, "' given; 'int8' or 'fp32' expected");
    return name == "int8" ? kaq::Precision::int8 : kaq::Precision::fp32;
}

int activation_max_of(const py::dict &layer) {
    if (!layer.contains("activation_max"))
        throw py::type_error("Network: activation_max of a layer is missing");
    const py::object value = layer["activation_max"];
    if (!py::isinstance<py::int_>(value))
        throw py::type_error("Network: activation_max is " + std::string(py::repr(value)) + "; another type expected");
    return value.cast<int>();
}

// One layer: a dict of laws by name, and the largest activation. A layer with a threshold, or with a variance, has the
// proximal map that takes it.
kaq::Layer make_layer(const py::dict &from) {
    kaq::Layer layer;
    const std::pair<const char *, kaq::Law *> laws[] = {{"step", &layer.step},
                                                        {"variance", &layer.variance},
                                                        {"dual_step", &layer.dual_step},
                                                        {"relaxation", &layer.relaxation},
                                                        {"gradient_step", &layer.gradient_step},
                                                        {"threshold", &layer.threshold}};
    for (const auto &[name, law] : laws)
        if (from.contains(name)) {
            const auto bounds = from[name].cast<Bounds>();
            *law = {bounds[0], bounds[1], bounds[2], bounds[3]};
        }
    layer.activation_max = activation_max_of(from);
    layer.prox = from.contains("threshold")  ? kaq::Prox::soft_threshold
                 : from.contains("variance") ? kaq::Prox::ramp
                                             : kaq::Prox::none;
    return layer;
}

kaq::Network make_network(const py::kwargs &from) {
    Arguments arguments(from);
    kaq::Network network;
    network.type = type_named(arguments.take<std::string>("type"));
    network.precision = precision_named(arguments.take<std::string>("precision"));
    network.bits_per_dimension = arguments.take<int>("bits_per_dimension");
    network.half_distance = arguments.take<float>("half_distance");
    network.matrix_max = arguments.take<int>("matrix_max");
    network.midrise = arguments.take<bool>("midrise");
    network.matrix_clip = arguments.take<float>("matrix_clip");
    network.stream_steps = arguments.take<bool>("stream_steps");
    network.output_spread = arguments.take<float>("output_spread");
    for (const py::dict &layer : arguments.take<std::vector<py::dict>>("layers"))
        network.layers.push_back(make_layer(layer));
    network.output_variance = arguments.take_law("output_variance");
    network.regularization = arguments.take_law("regularization");
    network.snr_low_db = arguments.take<double>("snr_low_db");
    network.snr_high_db = arguments.take<double>("snr_high_db");
    arguments.end();
    network.check();
    return network;
}

} // namespace

void bind_network(py::module_ &module) { py::class_<kaq::Network>(module, "Network").def(py::init(&make_network)); }
