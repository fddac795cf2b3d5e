// SPDX-License-Identifier: GPL-3.0-or-later
// The search for frames over NumPy arrays. gr_kaq.frames.synchronization is its only user; what is checked here is what would
// otherwise touch memory out of bounds.

#include "arrays.h"
#include "frame_bindings.h"

#include <mutex>
#include <utility>
#include <vector>

#include "frames/frame_search.h"

namespace py = pybind11;

namespace {

struct FrameSearch {
    kaq::FrameSearch search;
    std::mutex in_use;

    FrameSearch(const kaq::FrameLayout &layout, int num_rx, int num_tx, const Complex *known)
        : search(layout, num_rx, num_tx, known) {}
};

std::unique_ptr<FrameSearch> make_search(int num_rx, const Array<Complex> &known, int fft_size, int cp_length,
                                         int timing_advance, int num_symbols, int period, int num_periods) {
    const kaq::FrameLayout layout{fft_size, cp_length, timing_advance, num_symbols, period, num_periods};
    for (const int length : {fft_size, cp_length, timing_advance})
        require(length > 0 && length <= 1 << 16 && length % 4 == 0, "lengths that are multiples of 4 expected");
    require(timing_advance < cp_length && period > 0 && period <= 1 << 16 && period % 16 == 0 && num_periods > 5 &&
                num_periods <= 100 && num_symbols > 0 && num_symbols <= 100,
            "no layout of a frame");
    require(num_rx >= 1 && known.ndim() == 2 && known.shape(0) >= 1 && known.shape(0) <= kaq::max_streams &&
                known.shape(1) == layout.known_length(),
            "num_rx of at least 1 and `known` of shape (num_tx, known samples) expected");
    return std::make_unique<FrameSearch>(layout, num_rx, static_cast<int>(known.shape(0)), known.data());
}

// A NumPy array that keeps the vector.
py::array_t<Complex> keep(std::vector<Complex> &&values, const std::vector<py::ssize_t> &shape) {
    auto *held = new std::vector<Complex>(std::move(values));
    const py::capsule owner(held, [](void *of) { delete static_cast<std::vector<Complex> *>(of); });
    return py::array_t<Complex>(shape, held->data(), owner);
}

py::array_t<bool> flags(const std::vector<std::uint8_t> &values) {
    py::array_t<bool> array(static_cast<py::ssize_t>(values.size()));
    std::copy(values.begin(), values.end(), array.mutable_data());
    return array;
}

// (frames, invalid samples); a frame is the fields of synchronization.FoundFrame in their order.
py::tuple push(FrameSearch &self, const Array<Complex> &samples) {
    kaq::FrameSearch &search = self.search;
    require(samples.ndim() == 2 && samples.shape(0) == search.num_rx(), "samples of shape (num_rx, n) expected");
    std::vector<const Complex *> antennas;
    for (int a = 0; a < search.num_rx(); ++a)
        antennas.push_back(samples.data() + a * samples.shape(1));
    std::vector<kaq::FoundFrame> found;
    std::size_t invalid = 0;
    {
        const py::gil_scoped_release release;
        const std::lock_guard lock(self.in_use);
        invalid = search.push(antennas.data(), static_cast<std::size_t>(samples.shape(1)), found);
    }
    py::list frames;
    for (kaq::FoundFrame &frame : found)
        frames.append(py::make_tuple(
            frame.start, frame.carrier_offset, frame.metric,
            keep(std::move(frame.windows), {search.layout().num_symbols, search.num_rx(), search.layout().fft_size}),
            frame.overlapping, flags(frame.dead), flags(frame.saturated)));
    return py::make_tuple(frames, invalid);
}

double carrier_offset(const Array<Complex> &preamble, int period) {
    require(preamble.ndim() == 2 && period > 0 && preamble.shape(1) > 5 * period && preamble.shape(1) < 1 << 30,
            "a preamble of shape (num_rx, more than five periods) expected");
    const auto count = static_cast<std::size_t>(preamble.shape(1));
    std::vector<float> parts;
    std::vector<kaq::AntennaView> antennas;
    parts.reserve(2 * preamble.size()); // so that pointers into it hold
    for (py::ssize_t a = 0; a < preamble.shape(0); ++a) {
        const Complex *from = preamble.data() + a * preamble.shape(1);
        for (std::size_t n = 0; n < count; ++n)
            parts.push_back(from[n].real());
        for (std::size_t n = 0; n < count; ++n)
            parts.push_back(from[n].imag());
        antennas.push_back({parts.data() + parts.size() - 2 * count, parts.data() + parts.size() - count});
    }
    return kaq::carrier_offset(antennas, static_cast<int>(count), period);
}

} // namespace

void bind_frame_search(py::module_ &module) {
    py::class_<FrameSearch>(module, "FrameSearch")
        .def(py::init(&make_search), py::kw_only(), py::arg("num_rx"), py::arg("known"), py::arg("fft_size"),
             py::arg("cp_length"), py::arg("timing_advance"), py::arg("num_symbols"), py::arg("period"),
             py::arg("num_periods"))
        .def("push", &push, py::arg("samples"))
        .def("interrupt",
             [](FrameSearch &self) {
                 const std::lock_guard lock(self.in_use);
                 return self.search.interrupt();
             })
        .def_property_readonly("position", [](const FrameSearch &self) { return self.search.position(); });
    module.def("carrier_offset", &carrier_offset, py::arg("preamble"), py::arg("period"));
}
