// SPDX-License-Identifier: GPL-3.0-or-later
// The training symbols of a frame over NumPy arrays. gr_kaq.estimation.observation is its only user; what is checked
// here is what would otherwise touch memory out of bounds. The GIL is kept: a call takes less than to hand it over
// twice.

#include "frame_bindings.h"
#include "shapes.h"

#include <pybind11/stl.h>

#include <utility>
#include <vector>

#include "frames/frame_training.h"

namespace py = pybind11;

namespace {

using kaq::expect;
using ComplexDouble = std::complex<double>;

constexpr py::ssize_t max_antennas = 256;

kaq::TrainingMap make_map(int num_symbols, int num_active, int comb, const std::vector<int> &symbols,
                          const Array<int> &indices, const Array<int> &carriers, const Array<ComplexDouble> &inverse) {
    expect(indices.ndim() == 3 && indices.shape(0) == static_cast<py::ssize_t>(symbols.size()) && indices.size() > 0,
           "indices of shape (", symbols.size(), ", num_tx, places) expected; shape ", Shape{indices}, " given");
    expect(carriers.size() == indices.size(), "carriers of shape ", Shape{indices}, " expected; shape ",
           Shape{carriers}, " given");
    expect(inverse.size() == indices.size(), "inverse of shape ", Shape{indices}, " expected; shape ", Shape{inverse},
           " given");
    expect(comb > 0, "a comb of at least 1 expected; ", comb, " given");
    expect_below(symbols, num_symbols, "symbols with training");
    expect_below(values_of(indices), num_active, "indices of carriers");
    return {num_symbols,
            num_active,
            static_cast<int>(indices.shape(1)),
            static_cast<int>(indices.shape(2)),
            comb,
            symbols,
            copy(indices),
            copy(carriers),
            copy(inverse)};
}

// (ls, power, delay)
py::tuple least_squares(const kaq::TrainingMap &map, const Array<std::complex<float>> &grid) {
    expect(grid.ndim() == 3 && grid.shape(0) == map.num_symbols && grid.shape(2) == map.num_active, "grid of shape (",
           map.num_symbols, ", num_rx, ", map.num_active, ") expected; shape ", Shape{grid}, " given");
    const py::ssize_t num_rx = grid.shape(1);
    expect(num_rx >= 1 && num_rx <= max_antennas, "1 to ", max_antennas, " antennas expected; ", num_rx, " given");
    Array<ComplexDouble> ls(
        std::vector<py::ssize_t>{static_cast<py::ssize_t>(map.symbols.size()), map.num_tx, map.num_places, num_rx});
    Array<double> power(num_rx);
    const double delay = kaq::least_squares(map, view<3>(grid), mutable_view<4>(ls), mutable_values_of(power));
    return py::make_tuple(ls, power, delay);
}

kaq::DelayModels make_delays(const Array<double> &energies, const Array<double> &scores, int per_share) {
    expect(energies.ndim() == 2 && energies.size() > 0, "energies of shape (models, modes) expected; shape ",
           Shape{energies}, " given");
    expect(scores.size() == energies.shape(0), "scores of ", energies.shape(0), " models expected; ", scores.size(),
           " given");
    expect(per_share > 0 && energies.shape(0) % per_share == 0, "per_share has to divide ", energies.shape(0),
           " models; ", per_share, " given");
    return {static_cast<int>(energies.shape(0)), static_cast<int>(energies.shape(1)), per_share, copy(energies),
            copy(scores)};
}

int choose_delay(const kaq::DelayModels &models, const Array<ComplexDouble> &coefficients, double num_observed,
                 double noise, double weight) {
    expect(coefficients.ndim() == 4 && coefficients.shape(2) == models.num_modes,
           "coefficients of shape (symbols, num_tx, ", models.num_modes, ", num_rx) expected; shape ",
           Shape{coefficients}, " given");
    return kaq::choose_delay(models,
                             {.coefficients = {coefficients.data(), coefficients.shape(0) * coefficients.shape(1),
                                               coefficients.shape(2), coefficients.shape(3)},
                              .num_observed = num_observed,
                              .noise = noise,
                              .independent = weight});
}

// Of each antenna, which is this axis.
template <typename T>
py::array_t<double> antenna_energies(const Array<std::complex<T>> &values, int axis) {
    expect(axis >= 0 && axis < values.ndim(), "one of ", values.ndim(), " axes expected; axis ", axis, " given");
    std::size_t outer = 1, inner = 1;
    for (int i = 0; i < axis; ++i)
        outer *= values.shape(i);
    for (int i = axis + 1; i < values.ndim(); ++i)
        inner *= values.shape(i);
    const std::vector<double> energies = kaq::antenna_energies<T>({values.data(), outer, values.shape(axis), inner});
    return py::array_t<double>(static_cast<py::ssize_t>(energies.size()), energies.data());
}

kaq::OffsetModels make_offsets(const Array<double> &turns, const Array<double> &scores) {
    expect(scores.size() > 0, "scores of at least one offset expected");
    expect(turns.size() == 2 * kaq::training_pairs * scores.size(), "turns of shape (", 2 * kaq::training_pairs, ", ",
           scores.size(), ") expected; shape ", Shape{turns}, " given");
    return {static_cast<int>(scores.size()), copy(turns), copy(scores)};
}

std::pair<int, int> choose_doppler(const kaq::OffsetModels &offsets, const Array<ComplexDouble> &coefficients,
                                   const Array<double> &diagonals, const Array<double> &pairs,
                                   const Array<double> &constant, double num_observed) {
    expect(coefficients.ndim() == 4 && coefficients.shape(0) == kaq::training_symbols, "coefficients of shape (",
           kaq::training_symbols, ", num_tx, modes, num_rx) expected; shape ", Shape{coefficients}, " given");
    const py::ssize_t num_modes = coefficients.shape(2), num_dopplers = constant.size();
    expect(diagonals.size() == kaq::training_symbols * num_modes * num_dopplers, "diagonals of ", num_dopplers,
           " Dopplers and ", num_modes, " modes expected; shape ", Shape{diagonals}, " given");
    expect(pairs.size() == kaq::training_pairs * num_modes * num_dopplers, "pairs of ", num_dopplers, " Dopplers and ",
           num_modes, " modes expected; shape ", Shape{pairs}, " given");
    const kaq::DopplerChoice chosen =
        kaq::choose_doppler({.diagonals = {diagonals.data(), num_dopplers, num_modes, kaq::training_symbols},
                             .pairs = {pairs.data(), kaq::training_pairs, num_dopplers, num_modes},
                             .constant = values_of(constant)},
                            offsets, view<4>(coefficients), num_observed);
    return {chosen.doppler, chosen.offset};
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
