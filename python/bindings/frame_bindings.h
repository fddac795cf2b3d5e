// SPDX-License-Identifier: GPL-3.0-or-later
// What the receiver's frames add to gr_kaq._kernel.
#pragma once

#include <pybind11/pybind11.h>

// of a frame, on either side
constexpr pybind11::ssize_t max_frame_antennas = 256;

void bind_frame_search(pybind11::module_ &module);
void bind_frame_carriers(pybind11::module_ &module);
void bind_frame_training(pybind11::module_ &module);
void bind_frame_memory(pybind11::module_ &module);
void bind_frame_estimator(pybind11::module_ &module);
void bind_frame_windows(pybind11::module_ &module);
