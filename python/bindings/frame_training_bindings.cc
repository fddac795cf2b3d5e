// SPDX-License-Identifier: GPL-3.0-or-later
// The training symbols of a frame over NumPy arrays. gr_kaq.estimation.observation is its only user; what is checked here
// is what would otherwise touch memory out of bounds. The GIL is kept: a call takes less than to hand it over twice.

#include "arrays.h"
#include "frame_bindings.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <vector>

#include "frames/frame_training.h"

namespace py = pybind11;

namespace {

template <typename T>
std::vector<T> copy(const Array<T> &array) {
    return {array.data(), array.data() + array.size()};
}

kaq::TrainingMap make_map(int num_symbols, int num_active, int comb, const std::vector<int> &symbols,
                          const Array<int> &indices, const Array<int> &carriers,
                          const Array<std::complex<double>> &inverse) {
    require(indices.ndim() == 3 && indices.shape(0) == static_cast<py::ssize_t>(symbols.size()) && indices.size() > 0 &&
                carriers.size() == indices.size() && inverse.size() == indices.size(),
            "arrays of shape (symbols, num_tx, places) expected");
    const auto below = [](const std::vector<int> &places, int limit) {
        return std::all_of(places.begin(), places.end(), [limit](int place) { return place >= 0 && place < limit; });
    };
    kaq::TrainingMap map{num_symbols,
                         num_active,
                         static_cast<int>(indices.shape(1)),
                         static_cast<int>(indices.shape(2)),
                         comb,
                         symbols,
                         copy(indices),
                         copy(carriers),
                         copy(inverse)};
    require(comb > 0 && below(map.symbols, num_symbols) && below(map.indices, num_active),
            "a place is out of the grid");
    return map;
}

// (ls, power, delay)
py::tuple least_squares(const kaq::TrainingMap &map, const Array<std::complex<float>> &grid) {
    require(grid.ndim() == 3 && grid.shape(0) == map.num_symbols && grid.shape(1) >= 1 && grid.shape(1) <= 256 &&
                grid.shape(2) == map.num_active,
            "grid of shape (symbols, num_rx, num_active) expected");
    const py::ssize_t num_rx = grid.shape(1);
    Array<std::complex<double>> ls(
        std::vector<py::ssize_t>{static_cast<py::ssize_t>(map.symbols.size()), map.num_tx, map.num_places, num_rx});
    Array<double> power(num_rx);
    const double delay =
        kaq::least_squares(map, static_cast<int>(num_rx), grid.data(), ls.mutable_data(), power.mutable_data());
    return py::make_tuple(ls, power, delay);
}

kaq::DelayModels make_delays(const Array<double> &energies, const Array<double> &scores, int per_share) {
    require(energies.ndim() == 2 && energies.size() > 0 && scores.size() == energies.shape(0) && per_share > 0 &&
                energies.shape(0) % per_share == 0,
            "energies of shape (models, modes) and scores of shape (models,) expected");
    return {static_cast<int>(energies.shape(0)), static_cast<int>(energies.shape(1)), per_share, copy(energies),
            copy(scores)};
}

int choose_delay(const kaq::DelayModels &models, const Array<std::complex<double>> &coefficients, double num_observed,
                 double noise, double weight) {
    require(coefficients.ndim() == 4 && coefficients.shape(2) == models.num_modes,
            "coefficients of shape (symbols, num_tx, modes, num_rx) expected");
    return kaq::choose_delay(models, static_cast<std::size_t>(coefficients.shape(0) * coefficients.shape(1)),
                             static_cast<int>(coefficients.shape(3)), coefficients.data(), num_observed, noise, weight);
}

// Of each antenna, which is this axis.
template <typename T>
py::array_t<double> antenna_energies(const Array<std::complex<T>> &values, int axis) {
    require(axis >= 0 && axis < values.ndim(), "an axis of the array expected");
    std::size_t outer = 1, inner = 1;
    for (int i = 0; i < axis; ++i)
        outer *= values.shape(i);
    for (int i = axis + 1; i < values.ndim(); ++i)
        inner *= values.shape(i);
    const std::vector<double> energies =
        kaq::antenna_energies(values.data(), outer, static_cast<int>(values.shape(axis)), inner);
    return py::array_t<double>(static_cast<py::ssize_t>(energies.size()), energies.data());
}

kaq::OffsetModels make_offsets(const Array<double> &turns, const Array<double> &scores) {
    require(scores.size() > 0 && turns.size() == 6 * scores.size(), "turns of shape (6, offsets) expected");
    return {static_cast<int>(scores.size()), copy(turns), copy(scores)};
}

std::pair<int, int> choose_doppler(const kaq::OffsetModels &offsets, const Array<std::complex<double>> &coefficients,
                                   const Array<double> &diagonals, const Array<double> &pairs,
                                   const Array<double> &constant, double num_observed) {
    require(coefficients.ndim() == 4 && coefficients.shape(0) == 3,
            "coefficients of shape (3, num_tx, modes, num_rx) expected");
    const py::ssize_t num_modes = coefficients.shape(2), num_dopplers = constant.size();
    require(diagonals.size() == 3 * num_modes * num_dopplers && pairs.size() == diagonals.size(),
            "weights of every Doppler and mode expected");
    return kaq::choose_doppler(
        {static_cast<int>(num_dopplers), static_cast<int>(num_modes), diagonals.data(), pairs.data(), constant.data()},
        offsets, static_cast<int>(coefficients.shape(1)), static_cast<int>(coefficients.shape(3)), coefficients.data(),
        num_observed);
}

} // namespace

void bind_frame_training(py::module_ &module) {
    py::class_<kaq::TrainingMap>(module, "TrainingMap")
        .def(py::init(&make_map), py::kw_only(), py::arg("num_symbols"), py::arg("num_active"), py::arg("comb"),
             py::arg("symbols"), py::arg("indices"), py::arg("carriers"), py::arg("inverse"))
        .def("least_squares", &least_squares, py::arg("grid"));
    py::class_<kaq::DelayModels>(module, "DelayModels")
        .def(py::init(&make_delays), py::arg("energies"), py::arg("scores"), py::arg("per_share"))
        .def("choose", &choose_delay, py::arg("coefficients"), py::arg("num_observed"), py::arg("noise"),
             py::arg("weight"));
    module.def("antenna_energies", &antenna_energies<float>, py::arg("values").noconvert(), py::arg("axis"));
    module.def("antenna_energies", &antenna_energies<double>, py::arg("values").noconvert(), py::arg("axis"));
    py::class_<kaq::OffsetModels>(module, "OffsetModels")
        .def(py::init(&make_offsets), py::arg("turns"), py::arg("scores"))
        .def("choose_doppler", &choose_doppler, py::arg("coefficients"), py::arg("diagonals"), py::arg("pairs"),
             py::arg("constant"), py::arg("num_observed"));
}
