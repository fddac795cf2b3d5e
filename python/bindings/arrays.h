// SPDX-License-Identifier: GPL-3.0-or-later
// NumPy arrays as the bindings of gr_kaq._kernel take them, and how they say what is wrong with one.
#pragma once

#include <pybind11/complex.h>
#include <pybind11/numpy.h>

#include <complex>
#include <stdexcept>

using Complex = std::complex<float>;

// In C order and at addresses that the type allows; a copy of what is not.
template <typename T>
using Array = pybind11::array_t<T, int{pybind11::array::c_style} | pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_>;

inline void require(bool condition, const char *what) {
    if (!condition)
        throw std::invalid_argument(what);
}
