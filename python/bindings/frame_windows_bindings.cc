// SPDX-License-Identifier: GPL-3.0-or-later
// The windows of a frame over NumPy arrays. gr_kaq.estimation.learned is their only user; what is checked here is what
// would otherwise touch memory out of bounds. The GIL is kept: a call takes less than to hand it over twice.

#include "frame_bindings.h"
#include "shapes.h"

#include "frames/frame_windows.h"

namespace py = pybind11;

namespace {

using kaq::expect;

constexpr py::ssize_t max_values = 1 << 28; // of a channel: products of its extents stay far from overflow

Array<float> cut_windows(const Array<Complex> &channel, const Array<float> &scale, py::ssize_t width) {
    expect(channel.ndim() == 4 && channel.size() > 0,
           "channel of shape (symbols, num_active, num_rx, num_tx) expected; shape ", Shape{channel}, " given");
    expect(channel.size() < max_values, "less than ", max_values, " values expected; ", channel.size(), " given");
    const py::ssize_t num_symbols = channel.shape(0), num_active = channel.shape(1), num_rx = channel.shape(2),
                      num_tx = channel.shape(3);
    expect(width > 0 && num_active % width == 0, "width has to divide ", num_active, " carriers; ", width, " given");
    expect(scale.size() == num_rx, "scale of ", num_rx, " antennas expected; ", scale.size(), " given");
    const py::ssize_t num_windows = num_active / width;
    Array<float> grids({2 * num_windows * num_rx * num_tx, width, num_symbols});
    kaq::cut_windows(view<4>(channel), values_of(scale),
                     {grids.mutable_data(), 2, num_windows, num_rx, num_tx, width, num_symbols});
    return grids;
}

// (channel, whether it is finite)
py::tuple join_windows(const Array<float> &grids, const Array<float> &scale, py::ssize_t num_active,
                       py::ssize_t num_tx) {
    expect(grids.ndim() == 3 && grids.size() > 0, "grids of shape (any number, width, symbols) expected; shape ",
           Shape{grids}, " given");
    expect(grids.size() < max_values, "less than ", max_values, " values expected; ", grids.size(), " given");
    expect(scale.size() > 0, "scale of at least one antenna expected");
    expect(num_tx > 0 && num_tx < max_values, "at least one stream expected; ", num_tx, " given");
    const py::ssize_t num_rx = scale.size(), width = grids.shape(1), num_symbols = grids.shape(2);
    expect(num_active > 0 && num_active < max_values && num_active % width == 0, "num_active has to be a multiple of ",
           width, "; ", num_active, " given");
    const py::ssize_t num_windows = num_active / width;
    expect(grids.shape(0) / num_tx / num_rx / 2 == num_windows && grids.shape(0) == 2 * num_windows * num_rx * num_tx,
           num_windows, " windows of ", num_rx, "x", num_tx, " pairs in two parts expected; ", grids.shape(0),
           " grids given");
    Array<Complex> channel({num_symbols, num_active, num_rx, num_tx});
    const bool finite = kaq::join_windows({grids.data(), 2, num_windows, num_rx, num_tx, width, num_symbols},
                                          values_of(scale), mutable_view<4>(channel));
    return py::make_tuple(channel, finite);
}

} // namespace

void bind_frame_windows(py::module_ &module) {
    module.def("cut_windows", &cut_windows, py::arg("channel"), py::arg("scale"), py::arg("width"));
    module.def("join_windows", &join_windows, py::kw_only(), py::arg("grids"), py::arg("scale"), py::arg("num_active"),
               py::arg("num_tx"));
}
