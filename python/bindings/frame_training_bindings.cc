// SPDX-License-Identifier: GPL-3.0-or-later
// The training symbols of a frame over NumPy arrays. gr_kaq.estimation.observation is its only user; what is checked
// here is what would otherwise touch memory out of bounds.

#include "frame_bindings.h"
#include "shapes.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <memory>
#include <utility>
#include <vector>

#include "frames/frame_observer.h"

namespace py = pybind11;

namespace {

using kaq::expect;
using ComplexDouble = std::complex<double>;

kaq::TrainingMap make_training_map(int num_symbols, int num_active, int comb, const std::vector<int> &symbols,
                                   const Array<int> &indices, const Array<int> &carriers,
                                   const Array<ComplexDouble> &inverse) {
    expect(symbols.size() == kaq::training_symbols, kaq::training_symbols, " symbols with training expected; ",
           symbols.size(), " given");
    expect(indices.ndim() == 3 && indices.shape(0) == kaq::training_symbols && indices.size() > 0, "indices of shape (",
           symbols.size(), ", num_tx, places) expected; shape ", Shape{indices}, " given");
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

// Of each symbol and stream of the map.
void check_modes(const kaq::TrainingMap &map, const Array<ComplexDouble> &modes, const char *what) {
    expect(modes.ndim() == 4 && modes.shape(0) == kaq::training_symbols && modes.shape(1) == map.num_tx &&
               modes.shape(3) == map.num_places,
           what, " of shape (", kaq::training_symbols, ", ", map.num_tx, ", modes, ", map.num_places,
           ") expected; shape ", Shape{modes}, " given");
}

kaq::DelayModels make_delays(const Array<double> &energies, const Array<double> &scores, int per_share,
                             int num_places) {
    expect(energies.ndim() == 2 && energies.size() > 0 && energies.shape(1) == num_places,
           "delay_energies of shape (models, ", num_places, ") expected; shape ", Shape{energies}, " given");
    expect(scores.size() == energies.shape(0), "delay_scores of ", energies.shape(0), " models expected; ",
           scores.size(), " given");
    expect(per_share > 0 && energies.shape(0) % per_share == 0, "per_share has to divide ", energies.shape(0),
           " models; ", per_share, " given");
    return {static_cast<int>(energies.shape(0)), num_places, per_share, copy(energies), copy(scores)};
}

kaq::OffsetModels make_offsets(const Array<double> &turns, const Array<double> &scores) {
    expect(scores.size() > 0, "offset_scores of at least one offset expected");
    expect(turns.size() == 2 * kaq::training_pairs * scores.size(), "offset_turns of shape (", 2 * kaq::training_pairs,
           ", ", scores.size(), ") expected; shape ", Shape{turns}, " given");
    return {static_cast<int>(scores.size()), copy(turns), copy(scores)};
}

std::shared_ptr<kaq::DopplerFilter> make_doppler_filter(const Array<ComplexDouble> &analysis,
                                                        const Array<double> &diagonals, const Array<double> &pairs,
                                                        const Array<double> &constant) {
    expect(analysis.ndim() == 4 && analysis.shape(0) == kaq::training_symbols, "an analysis of shape (",
           kaq::training_symbols, ", num_tx, modes, places) expected; shape ", Shape{analysis}, " given");
    const py::ssize_t num_modes = analysis.shape(2), num_dopplers = constant.size();
    expect(num_dopplers > 0, "a constant of at least one Doppler expected");
    expect(diagonals.size() == kaq::training_symbols * num_modes * num_dopplers, "diagonals of ", num_dopplers,
           " Dopplers and ", num_modes, " modes expected; shape ", Shape{diagonals}, " given");
    expect(pairs.size() == kaq::training_pairs * num_modes * num_dopplers, "pairs of ", num_dopplers, " Dopplers and ",
           num_modes, " modes expected; shape ", Shape{pairs}, " given");
    return std::make_shared<kaq::DopplerFilter>(
        kaq::DopplerFilter{static_cast<int>(num_modes), copy(analysis), copy(diagonals), copy(pairs), copy(constant)});
}

using MakeDopplerFilter = std::function<std::shared_ptr<kaq::DopplerFilter>(int delay_model, int snr_step)>;

std::shared_ptr<kaq::FrameObserver>
make_observer(int num_symbols, int num_active, int comb, const std::vector<int> &symbols, const Array<int> &indices,
              const Array<int> &carriers, const Array<ComplexDouble> &inverse, const Array<ComplexDouble> &noise_modes,
              const Array<ComplexDouble> &delay_modes, const Array<double> &delay_energies,
              const Array<double> &delay_scores, int per_share, const Array<double> &offset_turns,
              const Array<double> &offset_scores, const std::vector<double> &offsets, MakeDopplerFilter make) {
    kaq::TrainingMap map = make_training_map(num_symbols, num_active, comb, symbols, indices, carriers, inverse);
    check_modes(map, noise_modes, "noise_modes");
    check_modes(map, delay_modes, "delay_modes");
    expect(delay_modes.shape(2) == map.num_places, "as many delay_modes as places expected; ", delay_modes.shape(2),
           " given");
    kaq::DelayModels delays = make_delays(delay_energies, delay_scores, per_share, map.num_places);
    kaq::OffsetModels of_offsets = make_offsets(offset_turns, offset_scores);
    expect(offsets.size() == of_offsets.scores.size(), "offsets for ", of_offsets.scores.size(), " scores expected; ",
           offsets.size(), " given");
    const std::size_t num_tx = map.num_tx, num_places = map.num_places;
    const auto made = [make = std::move(make), num_tx,
                       num_places](const kaq::DopplerFilters::Key &key) -> std::shared_ptr<const kaq::DopplerFilter> {
        std::shared_ptr<kaq::DopplerFilter> filter = make(key[0], key[1]);
        expect(filter != nullptr &&
                   filter->analysis.size() == kaq::training_symbols * num_tx * filter->num_modes * num_places,
               "make_filter has to give a DopplerFilter for ", num_tx, " streams and ", num_places, " places");
        return filter;
    };
    return std::make_shared<kaq::FrameObserver>(
        kaq::ObserverModel{std::move(map), static_cast<int>(noise_modes.shape(2)), copy(noise_modes), copy(delay_modes),
                           std::move(delays), std::move(of_offsets), offsets},
        made);
}

// What is known of the noise of the frames that an observer has seen.
struct NoiseTrack {
    std::shared_ptr<kaq::FrameObserver> observer;
    kaq::NoiseTrack track{};
};

// (training, delay, carrier_offset, noise_var, delay_model, doppler, snr, whitening, interference). The last two are
// None where the noise is white, or (num_active, num_rx, num_rx) and (first, last carrier of the grid, power over that
// of the signal).
py::tuple observe(const std::shared_ptr<kaq::FrameObserver> &observer, const Array<Complex> &grid,
                  const Array<ComplexDouble> &guards, int guard_count, NoiseTrack *track) {
    const kaq::TrainingMap &map = observer->map();
    expect(grid.ndim() == 3 && grid.shape(0) == map.num_symbols && grid.shape(2) == map.num_active, "grid of shape (",
           map.num_symbols, ", num_rx, ", map.num_active, ") expected; shape ", Shape{grid}, " given");
    const py::ssize_t num_rx = grid.shape(1);
    expect(num_rx >= 1 && num_rx <= max_frame_antennas, "1 to ", max_frame_antennas, " antennas expected; ", num_rx,
           " given");
    expect(guards.ndim() == 2 && guards.shape(0) == num_rx && guards.shape(1) == num_rx, "guards of shape (", num_rx,
           ", ", num_rx, ") expected; shape ", Shape{guards}, " given");
    expect(!track || track->observer == observer, "a noise track of this observer expected");
    kaq::ObservedFrame frame{};
    observer->observe(view<3>(grid), {static_cast<std::size_t>(num_rx), copy(guards), double(guard_count)},
                      track ? &track->track : nullptr, frame);
    Array<Complex> training(std::vector<py::ssize_t>{kaq::training_symbols, map.num_tx, map.num_places, num_rx});
    std::copy(frame.training.begin(), frame.training.end(), training.mutable_data());
    const py::array_t<double> noise_var(num_rx, frame.noise_var.data());
    py::object whitening = py::none(), interference = py::none();
    if (frame.whitening.is_needed) {
        Array<Complex> carriers(std::vector<py::ssize_t>{map.num_active, num_rx, num_rx});
        std::copy(frame.whitening.carrier.begin(), frame.whitening.carrier.end(), carriers.mutable_data());
        whitening = carriers;
        interference = py::make_tuple(frame.whitening.first, frame.whitening.last, frame.whitening.interference);
    }
    return py::make_tuple(training, frame.delay, frame.carrier_offset, noise_var, frame.delay_model, frame.doppler,
                          frame.snr, whitening, interference);
}

} // namespace

void bind_frame_training(py::module_ &module) {
    py::class_<kaq::DopplerFilter, std::shared_ptr<kaq::DopplerFilter>>(module, "DopplerFilter")
        .def(py::init(&make_doppler_filter), py::kw_only(), py::arg("analysis"), py::arg("diagonals"), py::arg("pairs"),
             py::arg("constant"));
    py::class_<kaq::FrameObserver, std::shared_ptr<kaq::FrameObserver>>(module, "FrameObserver")
        .def(py::init(&make_observer), py::kw_only(), py::arg("num_symbols"), py::arg("num_active"), py::arg("comb"),
             py::arg("symbols"), py::arg("indices"), py::arg("carriers"), py::arg("inverse"), py::arg("noise_modes"),
             py::arg("delay_modes"), py::arg("delay_energies"), py::arg("delay_scores"), py::arg("per_share"),
             py::arg("offset_turns"), py::arg("offset_scores"), py::arg("offsets"), py::arg("make_filter"))
        .def("observe", &observe, py::arg("grid"), py::arg("guards"), py::arg("guard_count"),
             py::arg("track") = py::none());
    py::class_<NoiseTrack>(module, "NoiseTrack")
        .def(py::init([](std::shared_ptr<kaq::FrameObserver> observer) {
                 return std::unique_ptr<NoiseTrack>(new NoiseTrack{std::move(observer)});
             }),
             py::arg("observer").none(false));
}
