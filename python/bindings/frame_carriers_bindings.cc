// SPDX-License-Identifier: GPL-3.0-or-later
// The carriers of a frame over NumPy arrays. gr_kaq.estimation.estimator is its only user; what is checked here is what
// would otherwise touch memory out of bounds. The GIL is kept: a call takes less than to hand it over twice.

#include "arrays.h"
#include "frame_bindings.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <vector>

#include "frames/frame_carriers.h"

namespace py = pybind11;

namespace {

kaq::CarrierMap make_map(int num_symbols, int num_active, const std::vector<int> &symbols,
                         const std::vector<int> &pilots, const std::vector<int> &data, const Array<Complex> &values) {
    const auto below = [](const std::vector<int> &places, int limit) {
        return !places.empty() &&
               std::all_of(places.begin(), places.end(), [limit](int place) { return place >= 0 && place < limit; });
    };
    require(num_symbols <= 1 << 10 && num_active <= 1 << 12 && below(symbols, num_symbols) &&
                below(pilots, num_active) && below(data, num_active) && pilots.size() % symbols.size() == 0 &&
                data.size() % symbols.size() == 0,
            "carriers for each symbol expected");
    require(values.ndim() == 2 && values.shape(0) == static_cast<py::ssize_t>(pilots.size()) && values.shape(1) >= 1 &&
                values.shape(1) <= 256,
            "values of shape (pilots, num_tx) expected");
    return {num_symbols,
            num_active,
            static_cast<int>(values.shape(1)),
            symbols,
            pilots,
            data,
            {values.data(), values.data() + values.size()}};
}

// num_rx, if the shapes of a frame fit
int check_frame(const kaq::CarrierMap &map, const Array<Complex> &grid, const Array<Complex> &h) {
    require(grid.ndim() == 3 && grid.shape(0) == map.num_symbols && grid.shape(1) >= 1 && grid.shape(1) <= 256 &&
                grid.shape(2) == map.num_active,
            "grid of shape (symbols, num_rx, num_active) expected");
    require(h.ndim() == 4 && h.shape(0) == map.num_symbols && h.shape(1) == map.num_active &&
                h.shape(2) == grid.shape(1) && h.shape(3) == map.num_tx,
            "h of shape (symbols, num_active, num_rx, num_tx) expected");
    return static_cast<int>(grid.shape(1));
}

double track_phases(const kaq::CarrierMap &map, const Array<Complex> &grid, const Array<Complex> &slope,
                    const Array<double> &scale, Array<Complex> &h, Array<double> &phase) {
    const int num_rx = check_frame(map, grid, h);
    require(slope.size() == map.num_active && scale.size() == num_rx && phase.size() == map.num_symbols,
            "slope of num_active, scale of num_rx and a phase of each symbol expected");
    return kaq::track_phases(map, num_rx, grid.data(), slope.data(), scale.data(), h.mutable_data(),
                             phase.mutable_data());
}

// (received, channel, sum of |channel|^2)
py::tuple take_data(const kaq::CarrierMap &map, const Array<Complex> &grid, const Array<Complex> &h,
                    const Array<double> &phase, const Array<float> &scale) {
    const int num_rx = check_frame(map, grid, h), num_data = map.num_data();
    const auto symbols = static_cast<py::ssize_t>(map.symbols.size());
    require(phase.size() == map.num_symbols && scale.size() == symbols * num_rx,
            "a phase of each symbol, and scale of shape (symbols with data, num_rx) expected");
    Array<Complex> received(std::vector<py::ssize_t>{num_rx, symbols, num_data}),
        channel(std::vector<py::ssize_t>{symbols, num_data, num_rx, map.num_tx});
    const double power = kaq::take_data(map, num_rx, grid.data(), h.data(), phase.data(), scale.data(),
                                        received.mutable_data(), channel.mutable_data());
    return py::make_tuple(received, channel, power);
}

} // namespace

void bind_frame_carriers(py::module_ &module) {
    module.def(
        "common_phases",
        [](const std::vector<std::complex<double>> &correlation, const std::vector<double> &energy,
           const std::vector<double> &total, int count) {
            require(energy.size() == correlation.size() && total.size() == correlation.size() && count > 0,
                    "three sums for each symbol expected");
            return kaq::common_phases(correlation, energy, total, count);
        },
        py::arg("correlation"), py::arg("energy"), py::arg("total"), py::arg("count"));
    py::class_<kaq::CarrierMap>(module, "CarrierMap")
        .def(py::init(&make_map), py::kw_only(), py::arg("num_symbols"), py::arg("num_active"), py::arg("symbols"),
             py::arg("pilots"), py::arg("data"), py::arg("values"))
        .def("track_phases", &track_phases, py::kw_only(), py::arg("grid"), py::arg("slope"), py::arg("scale"),
             py::arg("h").noconvert(), py::arg("phase").noconvert())
        .def("take_data", &take_data, py::kw_only(), py::arg("grid"), py::arg("h"), py::arg("phase"), py::arg("scale"));
}
