// SPDX-License-Identifier: GPL-3.0-or-later
// The module gr_kaq._kernel, and what it says of its kernels; the other *_bindings.cc add the rest.

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "detection/instruction_sets.h"
#include "detection_bindings.h"
#include "frame_bindings.h"
#include "shapes.h"

namespace py = pybind11;

namespace {

std::vector<std::string> names_of(const std::vector<const kaq::Kernel *> &kernels) {
    std::vector<std::string> names;
    for (const kaq::Kernel *kernel : kernels)
        names.emplace_back(kernel->name);
    return names;
}

double squared_norm(const Array<Complex> &h) {
    // all kernels give the same bits, and to select one takes longer than this
    static const kaq::Kernel &kernel = kaq::select_kernel();
    double norm;
    kernel.squared_norms(values_of(h), {&norm, 1});
    return norm;
}

} // namespace

PYBIND11_MODULE(_kernel, module) {
    module.doc() = "The integer detection kernel, which gr_kaq.native wraps, and the search for frames.";
    expect_known_numpy();
    module.attr("version") = KAQ_VERSION;
    module.attr("pybind11") = py::make_tuple(PYBIND11_VERSION_MAJOR, PYBIND11_VERSION_MINOR);
    bind_network(module);
    bind_plan(module);
    bind_list(module);
    bind_linear(module);
    module.def("squared_norm", &squared_norm, py::arg("h"));
    module.def("selected_instruction_set", [] { return kaq::select_kernel().name; });
    module.def("known_instruction_sets", [] { return names_of(kaq::known_kernels()); });
    module.def("instruction_sets", [] { return names_of(kaq::available_kernels()); });
    bind_frame_search(module);
    bind_frame_carriers(module);
    bind_frame_memory(module);
    bind_frame_estimator(module);
    bind_frame_windows(module);
    bind_frame_training(module);
}
