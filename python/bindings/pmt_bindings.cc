// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._pmt: a PMT vector as a NumPy array, in microseconds. Needs the distribution's pybind11, whose GNU Radio
// bindings know pmt_t.

#include <pmt/pmt.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <complex>
#include <stdexcept>

namespace py = pybind11;

namespace {

py::array_t<std::complex<float>> c32vector_to_numpy(const pmt::pmt_t &vector) {
    if (!vector || !pmt::is_c32vector(vector))
        throw std::invalid_argument("a c32vector expected");
    std::size_t length = 0;
    const std::complex<float> *elements = pmt::c32vector_elements(vector, length);
    return py::array_t<std::complex<float>>(static_cast<py::ssize_t>(length), elements);
}

} // namespace

PYBIND11_MODULE(_pmt, module) {
    module.doc() = "PMT vectors as NumPy arrays.";
    py::module_::import("pmt"); // registers pmt_t
    module.def("c32vector_to_numpy", &c32vector_to_numpy, "Copy a c32vector to a complex64 array.");
}
