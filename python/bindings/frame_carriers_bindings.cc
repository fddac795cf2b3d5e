// SPDX-License-Identifier: GPL-3.0-or-later
// The carriers of a frame over NumPy arrays. gr_kaq.estimation.estimator is its only user; what is checked here is what
// would otherwise touch memory out of bounds. The GIL is kept: a call takes less than to hand it over twice.

#include "frame_bindings.h"
#include "shapes.h"

#include <pybind11/stl.h>

#include <vector>

#include "frames/frame_carriers.h"

namespace py = pybind11;

namespace {

using kaq::expect;

// So that places in an array of all of them fit into an int.
constexpr int max_symbols = 1 << 10, max_active = 1 << 12;

kaq::CarrierMap make_carrier_map(int num_symbols, int num_active, const std::vector<int> &symbols,
                                 const std::vector<int> &pilots, const std::vector<int> &data,
                                 const Array<Complex> &values) {
    expect(num_symbols <= max_symbols, max_symbols, " symbols at most; ", num_symbols, " given");
    expect(num_active <= max_active, max_active, " active carriers at most; ", num_active, " given");
    expect(!symbols.empty(), "at least one symbol with data expected");
    expect_below(symbols, num_symbols, "symbols with data");
    expect_below(pilots, num_active, "pilots");
    expect_below(data, num_active, "data carriers");
    expect(!pilots.empty() && pilots.size() % symbols.size() == 0, "as many pilots for each of ", symbols.size(),
           " symbols expected; ", pilots.size(), " given");
    expect(!data.empty() && data.size() % symbols.size() == 0, "as many data carriers for each of ", symbols.size(),
           " symbols expected; ", data.size(), " given");
    expect(values.ndim() == 2 && values.shape(0) == static_cast<py::ssize_t>(pilots.size()), "values of shape (",
           pilots.size(), ", num_tx) expected; shape ", Shape{values}, " given");
    expect(values.shape(1) >= 1 && values.shape(1) <= max_frame_antennas, "1 to ", max_frame_antennas,
           " streams expected; ", values.shape(1), " given");
    return {num_symbols, num_active, static_cast<int>(values.shape(1)), symbols, pilots, data, copy(values)};
}

void check_frame(const kaq::CarrierMap &map, const Array<Complex> &grid, const Array<Complex> &h) {
    expect(grid.ndim() == 3 && grid.shape(0) == map.num_symbols && grid.shape(2) == map.num_active, "grid of shape (",
           map.num_symbols, ", num_rx, ", map.num_active, ") expected; shape ", Shape{grid}, " given");
    expect(grid.shape(1) >= 1 && grid.shape(1) <= max_frame_antennas, "1 to ", max_frame_antennas,
           " antennas expected; ", grid.shape(1), " given");
    expect(h.ndim() == 4 && h.shape(0) == map.num_symbols && h.shape(1) == map.num_active &&
               h.shape(2) == grid.shape(1) && h.shape(3) == map.num_tx,
           "h of shape (", map.num_symbols, ", ", map.num_active, ", ", grid.shape(1), ", ", map.num_tx,
           ") expected; shape ", Shape{h}, " given");
}

void check_symbols(const kaq::CarrierMap &map, const Array<double> &values, const char *what) {
    expect(values.size() == map.num_symbols, what, " of ", map.num_symbols, " symbols expected; ", values.size(),
           " given");
}

void check_antennas(const Array<Complex> &grid, const Array<double> &noise_var) {
    expect(noise_var.size() == grid.shape(1), "noise_var of ", grid.shape(1), " antennas expected; ", noise_var.size(),
           " given");
}

std::vector<double> common_phases(const std::vector<std::complex<double>> &correlation,
                                  const std::vector<double> &energy, const std::vector<double> &total, int count) {
    expect(energy.size() == correlation.size(), "energy of ", correlation.size(), " symbols expected; ", energy.size(),
           " given");
    expect(total.size() == correlation.size(), "total of ", correlation.size(), " symbols expected; ", total.size(),
           " given");
    expect(count > 0, "sums over at least one pilot expected; count is ", count);
    return kaq::common_phases({correlation, energy, total, count});
}

// By how much the errors of h raise the noise, (num_symbols,).
Array<double> track_phases(const kaq::CarrierMap &map, const Array<Complex> &grid, const Array<Complex> &slope,
                           const Array<double> &noise_var, double snr, const Array<double> &error, Array<Complex> &h,
                           Array<double> &phase) {
    check_frame(map, grid, h);
    check_symbols(map, phase, "phase");
    check_symbols(map, error, "error");
    expect(slope.size() == map.num_active, "slope of ", map.num_active, " carriers expected; ", slope.size(), " given");
    check_antennas(grid, noise_var);
    std::vector<double> scale(grid.shape(1));
    kaq::equal_noise(values_of(noise_var), scale);
    const double residual =
        kaq::track_phases(map, view<3>(grid), values_of(slope), scale, mutable_view<4>(h), mutable_values_of(phase));
    Array<double> share(map.num_symbols);
    kaq::error_shares(map, values_of(noise_var), residual, snr, values_of(error), mutable_values_of(share));
    return share;
}

// (received, channel, noise_var, snr_db)
py::tuple take_data(const kaq::CarrierMap &map, const Array<Complex> &grid, const Array<Complex> &h,
                    const Array<double> &phase, const Array<double> &noise_var, const Array<double> &error) {
    check_frame(map, grid, h);
    check_symbols(map, phase, "phase");
    check_symbols(map, error, "error");
    check_antennas(grid, noise_var);
    const py::ssize_t num_rx = grid.shape(1), num_data = map.num_data();
    const auto symbols = static_cast<py::ssize_t>(map.symbols.size());
    Array<Complex> received(std::vector<py::ssize_t>{num_rx, symbols, num_data}),
        channel(std::vector<py::ssize_t>{symbols, num_data, num_rx, map.num_tx});
    std::vector<Complex *> antennas;
    for (py::ssize_t a = 0; a < num_rx; ++a)
        antennas.push_back(received.mutable_data(a, 0, 0));
    const kaq::DataNoise noise = kaq::take_data(map, view<3>(grid), view<4>(h), values_of(phase), values_of(noise_var),
                                                values_of(error), antennas, mutable_view<4>(channel));
    return py::make_tuple(received, channel, noise.noise_var, noise.snr_db);
}

} // namespace

void bind_frame_carriers(py::module_ &module) {
    module.def("common_phases", &common_phases, py::arg("correlation"), py::arg("energy"), py::arg("total"),
               py::arg("count"));
    py::class_<kaq::CarrierMap>(module, "CarrierMap")
        .def(py::init(&make_carrier_map), py::kw_only(), py::arg("num_symbols"), py::arg("num_active"),
             py::arg("symbols"), py::arg("pilots"), py::arg("data"), py::arg("values"))
        .def("track_phases", &track_phases, py::kw_only(), py::arg("grid"), py::arg("slope"), py::arg("noise_var"),
             py::arg("snr"), py::arg("error"), py::arg("h").noconvert(), py::arg("phase").noconvert())
        .def("take_data", &take_data, py::kw_only(), py::arg("grid"), py::arg("h"), py::arg("phase"),
             py::arg("noise_var"), py::arg("error"));
}
