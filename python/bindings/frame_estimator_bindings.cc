// SPDX-License-Identifier: GPL-3.0-or-later
// Channel estimation of many frames in a call, over NumPy arrays. gr_kaq.estimation is its only user; what is checked
// here is what would otherwise touch memory out of bounds.

#include "frame_bindings.h"
#include "shapes.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "frames/frame_estimator.h"
#include "frames/frame_memory.h"
#include "frames/wiener_interpolation.h"

namespace py = pybind11;

namespace {

using kaq::expect;

std::shared_ptr<kaq::WienerFilter> make_wiener_filter(const Array<Complex> &analysis, const Array<float> &time,
                                                      const Array<Complex> &frequency, const Array<double> &error) {
    expect(time.ndim() == 2, "time of shape (symbols, modes) expected; shape ", Shape{time}, " given");
    expect(frequency.ndim() == 2, "frequency of shape (carriers, modes) expected; shape ", Shape{frequency}, " given");
    const py::ssize_t coefficients = time.shape(1) * frequency.shape(1);
    expect(analysis.ndim() == 3 && analysis.shape(1) == coefficients, "analysis of shape (num_tx, ", coefficients,
           ", values) expected; shape ", Shape{analysis}, " given");
    expect(error.size() == time.shape(0), "error of ", time.shape(0), " symbols expected; ", error.size(), " given");
    return std::make_shared<kaq::WienerFilter>(kaq::WienerFilter{
        .num_tx = static_cast<int>(analysis.shape(0)),
        .num_values = static_cast<int>(analysis.shape(2)),
        .num_symbols = static_cast<int>(time.shape(0)),
        .num_active = static_cast<int>(frequency.shape(0)),
        .time_modes = static_cast<int>(time.shape(1)),
        .carrier_modes = static_cast<int>(frequency.shape(1)),
        .analysis = copy(analysis),
        .time = copy(time),
        .frequency = copy(frequency),
        .error = copy(error),
    });
}

// training: (symbols, num_tx, places, num_rx)
Array<Complex> interpolate_training(const kaq::WienerFilter &filter, const Array<Complex> &training) {
    expect(training.ndim() == 4 && training.shape(1) == filter.num_tx &&
               training.shape(0) * training.shape(2) == filter.num_values,
           "training of shape (symbols, ", filter.num_tx, ", places, num_rx) with ", filter.num_values,
           " values of a stream expected; shape ", Shape{training}, " given");
    Array<Complex> h(std::vector<py::ssize_t>{filter.num_symbols, filter.num_active, training.shape(3), filter.num_tx});
    kaq::WienerScratch scratch;
    kaq::interpolate(filter, view<4>(training), {}, scratch, mutable_view<4>(h));
    return h;
}

using MakeWienerFilter = std::function<std::shared_ptr<kaq::WienerFilter>(int snr_step, int delay_model, int doppler)>;

std::shared_ptr<kaq::WienerFilters> make_filters(MakeWienerFilter make, std::size_t capacity) {
    return std::make_shared<kaq::WienerFilters>(
        [make = std::move(make)](const kaq::WienerFilters::Key &key) -> std::shared_ptr<const kaq::WienerFilter> {
            std::shared_ptr<kaq::WienerFilter> filter = make(key[0], key[1], key[2]);
            expect(filter != nullptr, "make has to give a WienerFilter");
            return filter;
        },
        capacity);
}

struct FrameEstimator {
    kaq::FrameEstimator estimator;
    std::mutex in_use;
};

// How channels are interpolated: each frame by itself, or with those before.
using Method = std::variant<std::shared_ptr<kaq::WienerFilters>, std::shared_ptr<kaq::FrameMemory>>;

std::unique_ptr<FrameEstimator> make_estimator(std::shared_ptr<kaq::FrameObserver> observer, Method method,
                                               int fft_size, const std::vector<int> &active,
                                               const std::vector<int> &guards, const std::vector<int> &numbers,
                                               const Array<Complex> &correction, const kaq::CarrierMap &carriers,
                                               int num_rx, bool whitens) {
    const kaq::TrainingMap &training = observer->map();
    expect(training.num_tx == carriers.num_tx && training.num_symbols == carriers.num_symbols &&
               training.num_active == carriers.num_active,
           "observer and carriers of one format expected");
    expect(active.size() == static_cast<std::size_t>(carriers.num_active), carriers.num_active,
           " active carriers expected; ", active.size(), " given");
    expect(numbers.size() == active.size(), active.size(), " numbers expected; ", numbers.size(), " given");
    expect(correction.size() == static_cast<py::ssize_t>(active.size()), "correction of ", active.size(),
           " carriers expected; ", correction.size(), " given");
    expect(!guards.empty(), "at least one guard carrier expected");
    expect_below(active, fft_size, "active carriers");
    expect_below(guards, fft_size, "guard carriers");
    expect(num_rx >= 1 && num_rx <= 256, "1 to 256 antennas expected; ", num_rx, " given");
    std::shared_ptr<kaq::ChannelInterpolator> interpolator;
    if (const auto *filters = std::get_if<std::shared_ptr<kaq::WienerFilters>>(&method)) {
        expect(*filters != nullptr, "filters expected");
        interpolator = std::make_shared<kaq::WienerInterpolator>(*filters);
    } else {
        const std::shared_ptr<kaq::FrameMemory> memory = std::get<std::shared_ptr<kaq::FrameMemory>>(method);
        expect(memory != nullptr && memory->format().training.num_tx == training.num_tx &&
                   memory->format().training.num_symbols == training.num_symbols &&
                   memory->format().training.num_active == training.num_active &&
                   memory->format().training.num_places == training.num_places,
               "memory and observer of one format expected");
        interpolator = memory;
    }
    return std::unique_ptr<FrameEstimator>(new FrameEstimator{
        {std::move(observer), std::move(interpolator),
         kaq::TransformMap{fft_size, active, guards, numbers, copy(correction)}, carriers, num_rx, whitens},
        {}});
}

// Transforms of each antenna, (items, fft_size), which hold the frames that begin at `starts`.
std::vector<const Complex *> check_transforms(const kaq::FrameEstimator &estimator,
                                              const std::vector<Array<Complex>> &transforms,
                                              const std::vector<py::ssize_t> &starts) {
    const auto num_rx = static_cast<std::size_t>(estimator.num_rx());
    const py::ssize_t fft_size = estimator.transforms().fft_size, num_symbols = estimator.carriers().num_symbols;
    expect(transforms.size() == num_rx, "transforms of ", num_rx, " antennas expected; ", transforms.size(), " given");
    std::vector<const Complex *> first;
    for (const Array<Complex> &of : transforms) {
        expect(of.ndim() == 2 && of.shape(1) == fft_size, "transforms of shape (items, ", fft_size,
               ") expected; shape ", Shape{of}, " given");
        for (const py::ssize_t start : starts)
            expect(start >= 0 && start + num_symbols <= of.shape(0), "frames that begin at 0 to ",
                   of.shape(0) - num_symbols, " expected; ", start, " given");
        first.push_back(of.data());
    }
    return first;
}

// (grid, covariance of the guard carriers: a sum)
py::tuple collect_grid(const FrameEstimator &self, const std::vector<Array<Complex>> &transforms, py::ssize_t start) {
    const kaq::FrameEstimator &estimator = self.estimator;
    std::vector<const Complex *> from = check_transforms(estimator, transforms, {start});
    for (const Complex *&antenna : from)
        antenna += start * estimator.transforms().fft_size;
    const kaq::CarrierMap &map = estimator.carriers();
    Array<Complex> grid(std::vector<py::ssize_t>{map.num_symbols, estimator.num_rx(), map.num_active});
    kaq::NoiseSum guards;
    std::vector<std::complex<double>> samples;
    kaq::collect_grid(estimator.transforms(), map.num_symbols, from, mutable_values_of(grid), guards, samples);
    const py::array_t<std::complex<double>> sum({estimator.num_rx(), estimator.num_rx()}, guards.sum.data());
    return py::make_tuple(grid, sum);
}

// transforms: of each antenna, (items, fft_size); a frame begins at each of `starts`.
// arrivals:   (sample, carrier offset in cycles per sample) of each frame, None where nobody knows; or None.
// looks:      whether to look at the training of each frame; None: at all.
// received:   of each antenna, (items, data_per_stream): one item for each frame.
// channels:   for each frame, (data_per_stream, num_rx, num_tx).
// magnitudes: (frames, num_rx, num_tx, num_active), or None.
//
// (noise_var, snr_db, delay_model, doppler, carrier_offset, delay, noise_var of the data, snr_db of the data,
// interference: None, or (first carrier, last carrier, power_db), whether its channel is forecast) of each
using Arrival = std::optional<std::pair<double, double>>;

py::list estimate_frames(FrameEstimator &self, const std::vector<Array<Complex>> &transforms,
                         const std::vector<py::ssize_t> &starts, const std::optional<std::vector<Arrival>> &arrivals,
                         const std::optional<std::vector<bool>> &looks, std::vector<Array<Complex>> received,
                         std::vector<Array<Complex>> channels, std::optional<Array<float>> magnitudes) {
    kaq::FrameEstimator &estimator = self.estimator;
    const kaq::CarrierMap &map = estimator.carriers();
    const py::ssize_t num_rx = estimator.num_rx(), fft_size = estimator.transforms().fft_size;
    const auto data_per_stream = static_cast<py::ssize_t>(map.data.size()),
               num_frames = static_cast<py::ssize_t>(starts.size());
    const std::vector<const Complex *> from = check_transforms(estimator, transforms, starts);
    expect(!arrivals || arrivals->size() == starts.size(), num_frames, " arrivals expected");
    expect(!looks || looks->size() == starts.size(), num_frames, " looks expected");
    expect(static_cast<py::ssize_t>(received.size()) == num_rx, "received of ", num_rx, " antennas expected; ",
           received.size(), " given");
    for (const Array<Complex> &of : received)
        expect(of.ndim() == 2 && of.shape(0) >= num_frames && of.shape(1) == data_per_stream, "received of shape (",
               num_frames, ", ", data_per_stream, ") expected; shape ", Shape{of}, " given");
    expect(channels.size() == starts.size(), num_frames, " channels expected; ", channels.size(), " given");
    const py::ssize_t channel_size = data_per_stream * num_rx * map.num_tx,
                      magnitude_size = num_rx * map.num_tx * map.num_active;
    for (const Array<Complex> &channel : channels)
        expect(channel.size() == channel_size, "a channel of ", channel_size, " values expected; shape ",
               Shape{channel}, " given");
    expect(!magnitudes || magnitudes->size() >= num_frames * magnitude_size, "magnitudes of ",
           num_frames * magnitude_size, " values expected");

    std::vector<Complex *> to, channel;
    for (Array<Complex> &of : received)
        to.push_back(of.mutable_data());
    for (Array<Complex> &of : channels)
        channel.push_back(of.mutable_data());
    float *shown = magnitudes ? magnitudes->mutable_data() : nullptr;
    std::vector<kaq::FrameEstimate> estimates;
    estimates.reserve(starts.size());
    {
        const py::gil_scoped_release release;
        const std::lock_guard lock(self.in_use);
        std::vector<const Complex *> of_frame(num_rx);
        for (std::size_t i = 0; i < starts.size(); ++i) {
            for (py::ssize_t a = 0; a < num_rx; ++a)
                of_frame[a] = from[a] + starts[i] * fft_size;
            const std::span<float> magnitude =
                shown ? std::span<float>(shown + i * magnitude_size, magnitude_size) : std::span<float>();
            std::optional<kaq::FrameArrival> arrival;
            if (arrivals && (*arrivals)[i])
                arrival = {(*arrivals)[i]->first, (*arrivals)[i]->second};
            estimates.push_back(
                estimator.estimate(of_frame, arrival, !looks || (*looks)[i], to, channel[i], magnitude));
            for (Complex *&antenna : to)
                antenna += data_per_stream;
        }
    }
    py::list frames;
    for (const kaq::FrameEstimate &of : estimates) {
        const kaq::Interference &on = of.interference;
        frames.append(py::make_tuple(
            of.noise_var, of.snr_db, of.delay_model, of.doppler, of.carrier_offset, of.delay, of.data.noise_var,
            of.data.snr_db, on.is_there ? py::object(py::make_tuple(on.first, on.last, on.power_db)) : py::none(),
            of.is_forecast));
    }
    return frames;
}

} // namespace

void bind_frame_estimator(py::module_ &module) {
    py::class_<kaq::WienerFilter, std::shared_ptr<kaq::WienerFilter>>(module, "WienerFilter")
        .def(py::init(&make_wiener_filter), py::kw_only(), py::arg("analysis"), py::arg("time"), py::arg("frequency"),
             py::arg("error"))
        .def("interpolate", &interpolate_training, py::arg("training"))
        .def_property_readonly(
            "num_modes", [](const kaq::WienerFilter &self) { return std::pair(self.time_modes, self.carrier_modes); })
        .def_property_readonly("error", [](const kaq::WienerFilter &self) {
            return py::array_t<double>(static_cast<py::ssize_t>(self.error.size()), self.error.data());
        });
    py::class_<kaq::WienerFilters, std::shared_ptr<kaq::WienerFilters>>(module, "WienerFilters")
        .def(py::init(&make_filters), py::arg("make"), py::arg("capacity"))
        .def(
            "get",
            [](kaq::WienerFilters &self, int snr_step, int delay_model, int doppler) {
                return std::const_pointer_cast<kaq::WienerFilter>(self.get({snr_step, delay_model, doppler}));
            },
            py::arg("snr_step"), py::arg("delay_model"), py::arg("doppler"));
    py::class_<FrameEstimator>(module, "FrameEstimator")
        .def(py::init(&make_estimator), py::kw_only(), py::arg("observer"), py::arg("interpolator"),
             py::arg("fft_size"), py::arg("active"), py::arg("guards"), py::arg("numbers"), py::arg("correction"),
             py::arg("carriers"), py::arg("num_rx"), py::arg("whitens"))
        .def("collect_grid", &collect_grid, py::arg("transforms"), py::arg("start"))
        .def("estimate_frames", &estimate_frames, py::kw_only(), py::arg("transforms"), py::arg("starts"),
             py::arg("arrivals"), py::arg("looks") = py::none(), py::arg("received"), py::arg("channels"),
             py::arg("magnitudes"));
}
