// SPDX-License-Identifier: GPL-3.0-or-later
// The memory of frames over NumPy arrays. gr_kaq.estimation.frame_memory is its only user; what is checked here is what
// would otherwise touch memory out of bounds.

#include "frame_bindings.h"
#include "shapes.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "frames/frame_memory.h"

namespace py = pybind11;

namespace {

using kaq::expect;
using ComplexDouble = std::complex<double>;

kaq::DelayProfile make_profile(const Array<double> &powers, const Array<Complex> &frequency, const Array<Complex> &seen,
                               const Array<Complex> &analysis, const Array<double> &noise,
                               const Array<double> &energies) {
    expect(frequency.ndim() == 2 && frequency.shape(1) > 0, "frequency of shape (carriers, modes) expected; shape ",
           Shape{frequency}, " given");
    const py::ssize_t num_modes = frequency.shape(1);
    expect(seen.ndim() == 4 && seen.shape(3) == num_modes, "seen of shape (symbols, num_tx, places, ", num_modes,
           ") expected; shape ", Shape{seen}, " given");
    expect(analysis.ndim() == 4 && analysis.shape(0) == seen.shape(0) && analysis.shape(1) == seen.shape(1) &&
               analysis.shape(2) == num_modes && analysis.shape(3) == seen.shape(2),
           "analysis of shape (", seen.shape(0), ", ", seen.shape(1), ", ", num_modes, ", ", seen.shape(2),
           ") expected; shape ", Shape{analysis}, " given");
    for (const Array<double> *of_modes : {&noise, &energies})
        expect(of_modes->size() == num_modes, "noise and energies of ", num_modes, " modes expected; shape ",
               Shape{*of_modes}, " given");
    return {copy(powers),
            {static_cast<int>(num_modes), copy(frequency), copy(seen), copy(analysis), copy(noise), copy(energies)}};
}

using Fit = std::function<kaq::DelayProfile(Array<ComplexDouble>, int, std::optional<Array<double>>)>;

std::shared_ptr<kaq::FrameMemory> make_memory(const kaq::FrameObserver &observer, const std::vector<int> &carriers,
                                              int fft_size, int symbol_length, double lead, const Array<int> &sets,
                                              const std::vector<double> &dopplers, int frames, Fit fit) {
    const kaq::TrainingMap &map = observer.map();
    expect(!carriers.empty() && carriers.size() == std::size_t(map.num_active), map.num_active, " carriers expected; ",
           carriers.size(), " given");
    const auto [first, last] = std::minmax_element(carriers.begin(), carriers.end());
    expect(*first > -fft_size && *last < fft_size, "carriers between ", -fft_size, " and ", fft_size, " expected; ",
           *first, " to ", *last, " given");
    for (const int carrier : map.carriers)
        expect(carrier >= *first && carrier <= *last, "carriers that include those with training expected; ", carrier,
               " is not there");
    expect(symbol_length > 0, "a symbol_length of at least 1 expected; ", symbol_length, " given");
    expect(sets.ndim() == 2 && sets.shape(0) == kaq::training_symbols && sets.shape(1) == map.num_tx, "sets of shape (",
           kaq::training_symbols, ", ", map.num_tx, ") expected; shape ", Shape{sets}, " given");
    const std::span<const int> of_streams = values_of(sets);
    const int num_sets = 1 + *std::max_element(of_streams.begin(), of_streams.end());
    expect_below(of_streams, static_cast<int>(sets.size()), "sets");
    expect(!dopplers.empty(), "at least one of dopplers expected");
    expect(frames >= 1, "frames is ", frames, "; at least 1 expected");
    const auto size = [](auto... extents) { return (std::size_t(1) * ... * std::size_t(extents)); };
    const auto fitted = [fit = std::move(fit), map, num_sets, size](std::span<const ComplexDouble> covariance,
                                                                    int delay_model, const kaq::DelayProfile *before) {
        const py::gil_scoped_acquire acquire;
        const Array<ComplexDouble> given({num_sets, map.num_places, map.num_places}, covariance.data());
        std::optional<Array<double>> powers;
        if (before)
            powers.emplace(static_cast<py::ssize_t>(before->powers.size()), before->powers.data());
        kaq::DelayProfile profile = fit(given, delay_model, powers);
        const kaq::DelayModes &modes = profile.modes;
        expect(modes.frequency.size() == size(map.num_active, modes.num_modes) &&
                   modes.seen.size() == size(map.symbols.size(), map.num_tx, map.num_places, modes.num_modes),
               "fit has to give a DelayProfile for frames of this format");
        return profile;
    };
    return std::make_shared<kaq::FrameMemory>(
        kaq::TrackedFormat{map, carriers, fft_size, symbol_length, lead, num_sets, copy(sets), dopplers}, frames,
        fitted);
}

// training: (symbols, num_tx, places, num_rx). (channel, error variance of each symbol)
py::tuple interpolate_frame(kaq::FrameMemory &memory, const Array<Complex> &training, const Array<double> &noise_var,
                            double delay, double carrier_offset, int delay_model, int doppler, double snr,
                            const std::optional<std::pair<double, double>> &arrival) {
    const kaq::TrackedFormat &format = memory.format();
    const kaq::TrainingMap &map = format.training;
    expect(training.ndim() == 4 && training.shape(0) == kaq::training_symbols && training.shape(1) == map.num_tx &&
               training.shape(2) == map.num_places,
           "training of shape (", kaq::training_symbols, ", ", map.num_tx, ", ", map.num_places,
           ", num_rx) expected; shape ", Shape{training}, " given");
    const py::ssize_t num_rx = training.shape(3);
    expect(num_rx >= 1 && num_rx <= max_frame_antennas, "1 to ", max_frame_antennas, " antennas expected; ", num_rx,
           " given");
    expect(noise_var.size() == num_rx, "noise_var of ", num_rx, " antennas expected; ", noise_var.size(), " given");
    expect(doppler >= 0 && std::size_t(doppler) < format.dopplers.size(), "doppler below ", format.dopplers.size(),
           " expected; ", doppler, " given");
    kaq::ObservedFrame frame{};
    frame.delay = delay;
    frame.carrier_offset = carrier_offset;
    frame.snr = snr;
    frame.delay_model = delay_model;
    frame.doppler = doppler;
    frame.noise_var = copy(noise_var);
    frame.training = copy(training);
    std::optional<kaq::FrameArrival> came;
    if (arrival)
        came = {arrival->first, arrival->second};
    Array<Complex> h(std::vector<py::ssize_t>{map.num_symbols, map.num_active, num_rx, map.num_tx});
    Array<double> error(map.num_symbols);
    {
        const kaq::ArrayView<Complex, 4> to = mutable_view<4>(h);
        const std::span<double> errors = mutable_values_of(error);
        const py::gil_scoped_release release; // another thread may hold the memory, and wait for the interpreter
        memory.interpolate(frame, came, {}, to, errors);
    }
    return py::make_tuple(h, error);
}

// (frames, carrier_offset, delay, dopplers, lines), or None
py::object track(const kaq::FrameMemory &memory) {
    const std::optional<kaq::TrackState> state = memory.track();
    if (!state)
        return py::none();
    const auto array = [](const std::vector<double> &values) {
        return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
    };
    return py::make_tuple(state->frames, state->carrier_offset, state->delay, array(state->dopplers),
                          array(state->lines));
}

} // namespace

void bind_frame_memory(py::module_ &module) {
    py::class_<kaq::DelayProfile>(module, "DelayProfile")
        .def(py::init(&make_profile), py::kw_only(), py::arg("powers"), py::arg("frequency"), py::arg("seen"),
             py::arg("analysis"), py::arg("noise"), py::arg("energies"));
    py::class_<kaq::FrameMemory, std::shared_ptr<kaq::FrameMemory>>(module, "FrameMemory")
        .def(py::init(&make_memory), py::kw_only(), py::arg("observer"), py::arg("carriers"), py::arg("fft_size"),
             py::arg("symbol_length"), py::arg("lead"), py::arg("sets"), py::arg("dopplers"), py::arg("frames"),
             py::arg("fit"))
        .def("interpolate", &interpolate_frame, py::kw_only(), py::arg("training"), py::arg("noise_var"),
             py::arg("delay"), py::arg("carrier_offset"), py::arg("delay_model"), py::arg("doppler"), py::arg("snr"),
             py::arg("arrival"))
        .def_property_readonly("track", &track)
        .def_property_readonly("lost", &kaq::FrameMemory::lost);
}
