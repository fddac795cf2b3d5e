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

void prepare(Plan &self, const Array<Complex> &h, const Array<double> &noise, bool is_snr_db,
             int vectors_per_estimate) {
    self.prepare(h, noise, is_snr_db, vectors_per_estimate);
}

// Copy between an array without padding and one whose last axis is padded.
template <typename T, typename Vector>
Array<T> unpadded(const Vector &from, std::vector<py::ssize_t> shape, int stride) {
    Array<T> out(shape);
    const std::size_t width = shape.back(), count = width ? out.size() / width : 0;
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(from.data() + i * stride, width, out.mutable_data() + i * width);
    return out;
}

template <typename T, typename Vector>
void fill_padded(Vector &to, const py::dict &arrays, const char *name, const std::vector<py::ssize_t> &shape,
                 int stride) {
    const auto array = arrays[name].cast<Array<T>>();
    const Array<T> expected(shape);
    expect(array.ndim() == expected.ndim() && std::equal(shape.begin(), shape.end(), array.shape()), name, " of shape ",
           Shape{expected}, " expected; shape ", Shape{array}, " given");
    const std::size_t width = shape.back(), count = width ? array.size() / width : 0;
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(array.data() + i * width, width, to.data() + i * stride);
}

// visit(array, name, shape, row stride) for each integer array but the matrices
template <typename Visitor>
void visit_integers(kaq::Plan &plan, Visitor visit) {
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    const int positions = plan.positions(), layers = static_cast<int>(k);
    kaq::IntegerArrays &arrays = plan.integers();
    visit(arrays.diagonal, "diagonal", {c, k, n}, positions);
    visit(arrays.slope, "slope", {c, k, n}, positions);
    visit(arrays.inverse_step, "inverse_step", {c, k, n}, positions);
    visit(arrays.threshold, "threshold", {c, k}, layers);
    visit(arrays.first_gain, "first_gain", {c, k}, layers);
    visit(arrays.second_gain, "second_gain", {c, k, n}, positions);
    visit(arrays.llr_scale, "llr_scale", {c, n}, positions);
}

py::dict get_integers(Plan &self) {
    kaq::Plan &plan = self.plan;
    py::dict out;
    visit_integers(plan, [&](auto &array, const char *name, std::vector<py::ssize_t> shape, int stride) {
        out[name] = unpadded<typename std::decay_t<decltype(array)>::value_type>(array, std::move(shape), stride);
    });
    const kaq::PlainMatrices plain = plan.matrices();
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    out["matrix"] = unpadded<std::int8_t>(plain.matrix, {c, n, n}, plan.positions());
    out["rescale"] = unpadded<std::int32_t>(plain.rescale, {c, k, n}, plan.positions());
    return out;
}

void set_integers(Plan &self, const py::dict &arrays) {
    kaq::Plan &plan = self.plan;
    visit_integers(plan, [&](auto &array, const char *name, const std::vector<py::ssize_t> &shape, int stride) {
        fill_padded<typename std::decay_t<decltype(array)>::value_type>(array, arrays, name, shape, stride);
    });
    plan.repeat_rows();
    kaq::PlainMatrices plain = plan.matrices();
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    fill_padded<std::int8_t>(plain.matrix, arrays, "matrix", {c, n, n}, plan.positions());
    fill_padded<std::int32_t>(plain.rescale, arrays, "rescale", {c, k, n}, plan.positions());
    plan.set_matrices(plain);
}

// A copy of rows (C, T, n) with padding.
kaq::AlignedVector<std::int16_t> padded(const kaq::Plan &plan, const Array<std::int16_t> &from) {
    expect(from.ndim() == 3 && from.shape(0) == plan.num_channels() && from.shape(2) == plan.rows(), "rows of shape (",
           plan.num_channels(), ", T, ", plan.rows(), ") expected; shape ", Shape{from}, " given");
    const std::size_t count = from.shape(0) * from.shape(1);
    kaq::AlignedVector<std::int16_t> to(count * plan.stride());
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(from.data() + i * plan.rows(), plan.rows(), to.data() + i * plan.stride());
    return to;
}

// t from b, both (C, T, n)
Array<std::int16_t> run_layers(Plan &self, const Array<std::int16_t> &b) {
    const kaq::Plan &plan = self.plan;
    const auto in = padded(plan, b);
    kaq::AlignedVector<std::int16_t> out(in.size());
    {
        py::gil_scoped_release release;
        plan.layers(in, out);
    }
    return unpadded<std::int16_t>(out, {b.shape(0), b.shape(1), b.shape(2)}, plan.stride());
}

// Integer LLRs (count, bits_per_dimension, n) of t (count, n)
Array<std::int32_t> run_llrs(Plan &self, const Array<std::int16_t> &t) {
    const kaq::Plan &plan = self.plan;
    expect(t.ndim() == 2 && t.shape(1) == plan.rows(), "t of shape (count, ", plan.rows(), ") expected; shape ",
           Shape{t}, " given");
    const int bits = plan.network().bits_per_dimension, stride = plan.stride();
    kaq::AlignedVector<std::int16_t> in(stride);
    kaq::AlignedVector<std::int32_t> out(static_cast<std::size_t>(t.shape(0)) * bits * stride);
    for (py::ssize_t i = 0; i < t.shape(0); ++i) {
        std::copy_n(t.data() + i * plan.rows(), plan.rows(), in.data());
        plan.kernel().llrs(plan.network(), {1, plan.num_tx()}, in,
                           kaq::ArrayView(out.data() + i * bits * stride, bits, stride));
    }
    return unpadded<std::int32_t>(out, {t.shape(0), bits, t.shape(1)}, stride);
}

// b and finite of y (C, T, num_rx)
py::tuple run_filter(Plan &self, const Array<Complex> &y) {
    const kaq::Plan &plan = self.plan;
    const int num_vectors = check_received(plan, y);
    std::vector<const Complex *> antennas;
    for (int r = 0; r < plan.num_rx(); ++r)
        antennas.push_back(y.data() + r);
    kaq::AlignedVector<std::int16_t> b(y.shape(0) * y.shape(1) * plan.stride());
    Array<bool> finite({y.shape(0), y.shape(1)});
    plan.filter(contiguous(antennas, plan.num_channels(), num_vectors, 1), b, mutable_values_of(finite));
    return py::make_tuple(unpadded<std::int16_t>(b, {y.shape(0), y.shape(1), plan.rows()}, plan.stride()), finite);
}

} // namespace

void bind_plan(py::module_ &module) {
    py::class_<Plan>(module, "Plan")
        .def(py::init<const kaq::Network &, const std::string &, int, int, int, int>(), py::arg("network"),
             py::arg("instruction_set"), py::arg("num_channels"), py::arg("num_rx"), py::arg("num_tx"),
             py::arg("num_threads"))
        .def_property_readonly("instruction_set", [](const Plan &self) { return self.plan.kernel().name; })
        .def_property("integers", &get_integers, &set_integers)
        .def("prepare", &prepare, py::arg("h"), py::arg("noise"), py::arg("is_snr_db"), py::arg("vectors_per_estimate"))
        .def("filter", &run_filter)
        .def("layers", &run_layers)
        .def("llrs", &run_llrs)
        .def("detect", &Plan::detect)
        .def("detect_streams", &Plan::detect_streams);
}
