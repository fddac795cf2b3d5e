// SPDX-License-Identifier: GPL-3.0-or-later
// NumPy arrays as the bindings of gr_kaq._kernel take them, and how they say what is wrong with one.
#pragma once

#include <pybind11/complex.h>
#include <pybind11/numpy.h>

#include <complex>
#include <stdexcept>
#include <string>

using Complex = std::complex<float>;

// In C order and at addresses that the type allows; a copy of what is not.
template <typename T>
using Array = pybind11::array_t<T, int{pybind11::array::c_style} | pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_>;

inline void require(bool condition, const char *what) {
    if (!condition)
        throw std::invalid_argument(what);
}

// Called while a module is imported. pybind11 before 2.12 reads the arrays of NumPy 2 at wrong places, without a word.
inline void expect_known_numpy() {
#if PYBIND11_VERSION_MAJOR == 2 && PYBIND11_VERSION_MINOR < 12
    const auto version = pybind11::module_::import("numpy").attr("__version__").cast<std::string>();
    if (std::stoi(version) >= 2)
        throw std::runtime_error("built with pybind11 " PYBIND11_TOSTRING(PYBIND11_VERSION_MAJOR) "." PYBIND11_TOSTRING(
                                     PYBIND11_VERSION_MINOR) ", which needs a NumPy below 2; this is NumPy " +
                                 version);
#endif
}
