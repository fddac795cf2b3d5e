// SPDX-License-Identifier: GPL-3.0-or-later
// Detection: each function adds its part to gr_kaq._kernel.
#pragma once

#include <pybind11/pybind11.h>

void bind_network(pybind11::module_ &module);
void bind_plan(pybind11::module_ &module);
void bind_list(pybind11::module_ &module);
void bind_linear(pybind11::module_ &module);
