// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel.LinearPlan over NumPy arrays, which only linear_native.py makes. What is converted here is checked by
// kaq::LinearNetwork.

#include <pybind11/pybind11.h>

#include <string>

#include "bound_plan.h"
#include "detection/linear_plan.h"
#include "detection_bindings.h"
#include "support/expect.h"

namespace py = pybind11;

namespace {

struct LinearPlan : BoundPlan<kaq::LinearPlan> {
    using BoundPlan::BoundPlan;
};

kaq::LinearNetwork make_linear_network(const std::string &type, int bits_per_dimension, float half_distance) {
    kaq::expect(type == "lmmse" || type == "zf", "type is '", type, "'; lmmse or zf expected");
    kaq::LinearNetwork network;
    network.type = type == "zf" ? kaq::LinearNetwork::Type::zero_forcing : kaq::LinearNetwork::Type::lmmse;
    network.bits_per_dimension = bits_per_dimension;
    network.half_distance = half_distance;
    network.check();
    return network;
}

} // namespace

void bind_linear(py::module_ &module) {
    py::class_<kaq::LinearNetwork>(module, "LinearNetwork")
        .def(py::init(&make_linear_network), py::kw_only(), py::arg("type"), py::arg("bits_per_dimension"),
             py::arg("half_distance"));
    py::class_<LinearPlan>(module, "LinearPlan")
        .def(py::init<const kaq::LinearNetwork &, const std::string &, int, int, int, int>(), py::arg("network"),
             py::arg("instruction_set"), py::arg("num_channels"), py::arg("num_rx"), py::arg("num_tx"),
             py::arg("num_threads"))
        .def_property_readonly("instruction_set", [](const LinearPlan &self) { return self.plan.kernel().name; })
        .def("prepare", &LinearPlan::prepare)
        .def("detect", &LinearPlan::detect)
        .def("detect_streams", &LinearPlan::detect_streams)
        .def("detect_pieces", &LinearPlan::detect_pieces);
}
