// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel.ListPlan over NumPy arrays, which only list_native.py makes. What is converted here is checked by
// kaq::ListNetwork.

#include <pybind11/stl.h>

#include <tuple>
#include <utility>
#include <vector>

#include "bound_plan.h"
#include "detection/list_plan.h"
#include "detection_bindings.h"

namespace py = pybind11;

namespace {

struct ListPlan : BoundPlan<kaq::ListPlan> {
    using BoundPlan::BoundPlan;
};

using Curves = std::vector<std::vector<float>>; // by bit and knot

// The largest number of streams, and the curves list_narrow, list_wide, propagation_narrow and propagation_wide.
using Fusion = std::tuple<int, Curves, Curves, Curves, Curves>;

kaq::ListNetwork make_list_network(int bits_per_dimension, float half_distance, int survivors, int largest_entry,
                                   float step_alpha, float step_gamma,
                                   const std::vector<std::pair<float, float>> &layers, const std::vector<float> &knots,
                                   const std::vector<Fusion> &fusion) {
    kaq::ListNetwork network;
    network.bits_per_dimension = bits_per_dimension;
    network.half_distance = half_distance;
    network.survivors = survivors;
    network.largest_entry = largest_entry;
    network.step_alpha = step_alpha;
    network.step_gamma = step_gamma;
    for (const auto &[damping, least_variance] : layers)
        network.layers.push_back({damping, least_variance});
    network.knots = knots;
    for (const auto &[max_num_tx, list_narrow, list_wide, propagation_narrow, propagation_wide] : fusion)
        network.fusion.push_back({max_num_tx, list_narrow, list_wide, propagation_narrow, propagation_wide});
    network.check();
    return network;
}

} // namespace

void bind_list(py::module_ &module) {
    py::class_<kaq::ListNetwork>(module, "ListNetwork")
        .def(py::init(&make_list_network), py::kw_only(), py::arg("bits_per_dimension"), py::arg("half_distance"),
             py::arg("survivors"), py::arg("largest_entry"), py::arg("step_alpha"), py::arg("step_gamma"),
             py::arg("layers"), py::arg("knots"), py::arg("fusion"));
    py::class_<ListPlan>(module, "ListPlan")
        .def(py::init<const kaq::ListNetwork &, const std::string &, int, int, int, int>(), py::arg("network"),
             py::arg("instruction_set"), py::arg("num_channels"), py::arg("num_rx"), py::arg("num_tx"),
             py::arg("num_threads"))
        .def_property_readonly("instruction_set", [](const ListPlan &self) { return self.plan.kernel().name; })
        .def("prepare", &ListPlan::prepare)
        .def("detect", &ListPlan::detect)
        .def("detect_streams", &ListPlan::detect_streams)
        .def("detect_pieces", &ListPlan::detect_pieces);
}
