// SPDX-License-Identifier: GPL-3.0-or-later
// Levels for a decoder over NumPy arrays. gr_kaq.frames.payload is the only user. The GIL is kept: a call takes less
// than to hand it over twice.

#include "frame_bindings.h"
#include "shapes.h"

#include "frames/soft_levels.h"

namespace py = pybind11;

namespace {

// None where nothing is known
py::object soft_levels(const Array<float> &llrs, float median_level) {
    Array<std::uint8_t> levels(llrs.size());
    if (!kaq::soft_levels(values_of(llrs), median_level, mutable_values_of(levels)))
        return py::none();
    return std::move(levels);
}

} // namespace

void bind_soft_levels(py::module_ &module) {
    module.def("soft_levels", &soft_levels, py::arg("llrs"), py::arg("median_level"));
}
