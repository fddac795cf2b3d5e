// SPDX-License-Identifier: GPL-3.0-or-later
// The windows of a frame over NumPy arrays. gr_kaq.estimation.learned is their only user; what is checked here is what
// would otherwise touch memory out of bounds. The GIL is kept: a call takes less than to hand it over twice.

#include "arrays.h"
#include "frame_bindings.h"

#include "frames/frame_windows.h"

namespace py = pybind11;

namespace {

Array<float> cut_windows(const Array<Complex> &channel, const Array<float> &scale, py::ssize_t width) {
    require(channel.ndim() == 4 && channel.size() > 0 && channel.size() < 1 << 28 && width > 0 &&
                channel.shape(1) % width == 0,
            "channel of shape (symbols, num_active, num_rx, num_tx) expected, whose carriers make whole windows");
    require(scale.size() == channel.shape(2), "scale of num_rx expected");
    const auto dimension = [&](int i) { return static_cast<int>(channel.shape(i)); };
    const kaq::WindowShape shape{dimension(0), dimension(1), dimension(2), dimension(3), static_cast<int>(width)};
    Array<float> grids({2 * channel.size() / (width * channel.shape(0)), width, channel.shape(0)});
    kaq::cut_windows(shape, channel.data(), scale.data(), grids.mutable_data());
    return grids;
}

// (channel, whether it is finite)
py::tuple join_windows(const Array<float> &grids, const Array<float> &scale, py::ssize_t num_active,
                       py::ssize_t num_tx) {
    require(grids.ndim() == 3 && grids.size() > 0 && grids.size() < 1 << 28 && num_tx > 0 && num_active > 0 &&
                num_active % grids.shape(1) == 0 && scale.size() > 0 &&
                grids.size() == 2 * num_active * scale.size() * num_tx * grids.shape(2),
            "grids of shape (any number, width, symbols) expected, as many as the channel takes");
    const auto integer = [](py::ssize_t value) { return static_cast<int>(value); };
    const kaq::WindowShape shape{integer(grids.shape(2)), integer(num_active), integer(scale.size()), integer(num_tx),
                                 integer(grids.shape(1))};
    Array<Complex> channel({grids.shape(2), num_active, scale.size(), num_tx});
    const bool finite = kaq::join_windows(shape, grids.data(), scale.data(), channel.mutable_data());
    return py::make_tuple(channel, finite);
}

} // namespace

void bind_frame_windows(py::module_ &module) {
    module.def("cut_windows", &cut_windows, py::arg("channel"), py::arg("scale"), py::arg("width"));
    module.def("join_windows", &join_windows, py::kw_only(), py::arg("grids"), py::arg("scale"), py::arg("num_active"),
               py::arg("num_tx"));
}
