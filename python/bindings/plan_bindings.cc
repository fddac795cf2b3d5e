// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel.Plan over NumPy arrays. native_kernel.py is its only user; arrays arrive there checked, and what this
// file checks again is what would otherwise touch memory out of bounds.

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bound_plan.h"
#include "detection/instruction_sets.h"
#include "detection/plan.h"
#include "detection_bindings.h"
#include "shapes.h"

namespace py = pybind11;

namespace {

using kaq::expect;

struct Plan : BoundPlan<kaq::Plan> {
    using BoundPlan::BoundPlan;
};

// visit(array, name, shape) for each array of the integers
template <typename AnyIntegers, typename Visitor>
void visit_integers(const kaq::Plan &plan, AnyIntegers &integers, Visitor visit) {
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    using Shape = std::vector<py::ssize_t>;
    visit(integers.matrix, "matrix", Shape{c, n, n});
    visit(integers.diagonal, "diagonal", Shape{c, k, n});
    visit(integers.rescale, "rescale", Shape{c, k, n});
    visit(integers.slope, "slope", Shape{c, k, n});
    visit(integers.inverse_step, "inverse_step", Shape{c, k, n});
    visit(integers.threshold, "threshold", Shape{c, k});
    visit(integers.first_gain, "first_gain", Shape{c, k});
    visit(integers.second_gain, "second_gain", Shape{c, k, n});
    visit(integers.llr_scale, "llr_scale", Shape{c, n});
}

py::dict get_integers(Plan &self) {
    const auto lock = self.use();
    const kaq::Integers integers = self.plan.integers();
    py::dict out;
    visit_integers(self.plan, integers, [&](const auto &array, const char *name, const auto &shape) {
        out[name] = Array<typename std::decay_t<decltype(array)>::value_type>(shape, array.data());
    });
    return out;
}

void set_integers(Plan &self, const py::dict &arrays) {
    kaq::Integers integers(self.plan.network(), self.plan.num_channels(), self.plan.rows());
    visit_integers(self.plan, integers, [&](auto &array, const char *name, const auto &shape) {
        const auto given = arrays[name].template cast<Array<typename std::decay_t<decltype(array)>::value_type>>();
        const std::decay_t<decltype(given)> expected(shape);
        expect(given.ndim() == expected.ndim() && std::equal(shape.begin(), shape.end(), given.shape()), name,
               " of shape ", Shape{expected}, " expected; shape ", Shape{given}, " given");
        std::copy_n(given.data(), given.size(), array.begin());
    });
    const auto lock = self.use();
    self.plan.set_integers(integers);
}

// t from b, both (C, T, n)
Array<std::int16_t> run_layers(Plan &self, const Array<std::int16_t> &b) {
    expect(b.ndim() == 3 && b.shape(0) == self.plan.num_channels() && b.shape(2) == self.plan.rows(), "rows of shape (",
           self.plan.num_channels(), ", T, ", self.plan.rows(), ") expected; shape ", Shape{b}, " given");
    Array<std::int16_t> t({b.shape(0), b.shape(1), b.shape(2)});
    const std::span<std::int16_t> to = mutable_values_of(t);
    const auto lock = self.use();
    py::gil_scoped_release release;
    self.plan.layers(values_of(b), to);
    return t;
}

// Integer LLRs (count, bits_per_dimension, n) of t (count, n)
Array<std::int32_t> run_llrs(Plan &self, const Array<std::int16_t> &t) {
    const std::size_t n = self.plan.rows(), bits = self.plan.network().bits_per_dimension;
    expect(t.ndim() == 2 && t.shape(1) == self.plan.rows(), "t of shape (count, ", n, ") expected; shape ", Shape{t},
           " given");
    Array<std::int32_t> out({t.shape(0), static_cast<py::ssize_t>(bits), t.shape(1)});
    const auto lock = self.use();
    for (py::ssize_t i = 0; i < t.shape(0); ++i)
        self.plan.llrs({t.data() + i * n, n}, {out.mutable_data() + i * bits * n, bits * n});
    return out;
}

// b and finite of y (C, T, num_rx)
py::tuple run_filter(Plan &self, const Array<Complex> &y) {
    const int num_vectors = check_received(self.plan, y);
    std::vector<const Complex *> antennas;
    for (int r = 0; r < self.plan.num_rx(); ++r)
        antennas.push_back(y.data() + r);
    Array<std::int16_t> b({y.shape(0), y.shape(1), static_cast<py::ssize_t>(self.plan.rows())});
    Array<bool> finite({y.shape(0), y.shape(1)});
    const auto lock = self.use();
    self.plan.filter(contiguous(antennas, self.plan.num_channels(), num_vectors, 1), mutable_values_of(b),
                     mutable_values_of(finite));
    return py::make_tuple(b, finite);
}

} // namespace

void bind_plan(py::module_ &module) {
    py::class_<Plan>(module, "Plan")
        .def(py::init<const kaq::Network &, const std::string &, int, int, int, int>(), py::arg("network"),
             py::arg("instruction_set"), py::arg("num_channels"), py::arg("num_rx"), py::arg("num_tx"),
             py::arg("num_threads"))
        .def_property_readonly("instruction_set", [](const Plan &self) { return self.plan.kernel().name; })
        .def_property("integers", &get_integers, &set_integers)
        .def("prepare", &Plan::prepare)
        .def("filter", &run_filter)
        .def("layers", &run_layers)
        .def("llrs", &run_llrs)
        .def("detect", &Plan::detect)
        .def("detect_streams", &Plan::detect_streams)
        .def("detect_pieces", &Plan::detect_pieces);
}
