// SPDX-License-Identifier: GPL-3.0-or-later
// The search for frames over NumPy arrays. gr_kaq.frames.synchronization is its only user; what is checked here is what
// would otherwise touch memory out of bounds.

#include "frame_bindings.h"
#include "shapes.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "frames/carrier_offset.h"
#include "frames/frame_search.h"

namespace py = pybind11;

namespace {

using kaq::expect;

using Windows = std::shared_ptr<std::vector<Complex>>;

// A frame that Python can have: one whose memory is its own.
struct OwnFrame {
    std::int64_t start;
    double carrier_offset, metric;
    bool overlapping;
    Windows windows;
    std::vector<std::uint8_t> dead, saturated;
};

// Memory for windows, which is used again when Python has let go of it.
class WindowPool {
public:
    explicit WindowPool(std::size_t num_values) : num_values_(num_values) {}

    Windows take() {
        const auto is_free = [](const Windows &each) { return each.use_count() == 1; };
        const auto free = std::find_if(all_.begin(), all_.end(), is_free);
        if (free != all_.end())
            return *free;
        auto windows = std::make_shared<std::vector<Complex>>(num_values_);
        if (all_.size() < kept)
            all_.push_back(windows);
        return windows;
    }

private:
    static constexpr std::size_t kept = 64; // frames that a busy receiver has at once

    std::size_t num_values_;
    std::vector<Windows> all_;
};

struct FrameSearch {
    kaq::FrameSearch search;
    WindowPool windows;
    std::mutex in_use;

    FrameSearch(const kaq::FrameLayout &layout, int num_rx, kaq::ArrayView<const Complex, 2> known)
        : search(layout, num_rx, known),
          windows(static_cast<std::size_t>(layout.num_symbols) * num_rx * layout.fft_size) {}
};

std::unique_ptr<FrameSearch> make_search(int num_rx, const Array<Complex> &known, int fft_size, int cp_length,
                                         int timing_advance, int delay_window, int num_symbols, int period,
                                         int num_periods) {
    expect(known.ndim() == 2, "known of shape (num_tx, known samples) expected; shape ", Shape{known}, " given");
    const kaq::FrameLayout layout{.fft_size = fft_size,
                                  .cp_length = cp_length,
                                  .timing_advance = timing_advance,
                                  .delay_window = delay_window,
                                  .num_symbols = num_symbols,
                                  .period = period,
                                  .num_periods = num_periods};
    return std::make_unique<FrameSearch>(layout, num_rx, view<2>(known));
}

class Frames : public kaq::FrameSink {
public:
    explicit Frames(WindowPool &pool) : pool_(pool) {}

    std::span<Complex> windows() override {
        windows_ = pool_.take();
        return *windows_;
    }
    void take(const kaq::FoundFrame &frame) override {
        all.push_back({frame.start,
                       frame.carrier_offset,
                       frame.metric,
                       frame.overlapping,
                       std::move(windows_),
                       {frame.dead.begin(), frame.dead.end()},
                       {frame.saturated.begin(), frame.saturated.end()}});
    }

    std::vector<OwnFrame> all;

private:
    WindowPool &pool_;
    Windows windows_; // of the next
};

// A NumPy array that keeps the memory.
py::array_t<Complex> keep(const Windows &windows, const std::vector<py::ssize_t> &shape) {
    const py::capsule owner(new Windows(windows), [](void *of) { delete static_cast<Windows *>(of); });
    return py::array_t<Complex>(shape, windows->data(), owner);
}

py::array_t<bool> flags(const std::vector<std::uint8_t> &values) {
    py::array_t<bool> array(static_cast<py::ssize_t>(values.size()));
    std::copy(values.begin(), values.end(), array.mutable_data());
    return array;
}

// (frames, invalid samples); a frame is the fields of synchronization.FoundFrame in their order.
py::tuple push(FrameSearch &self, const std::vector<Array<Complex>> &samples) {
    kaq::FrameSearch &search = self.search;
    expect(samples.size() == static_cast<std::size_t>(search.num_rx()), "samples of ", search.num_rx(),
           " antennas expected; ", samples.size(), " given");
    std::vector<const Complex *> antennas;
    for (const Array<Complex> &antenna : samples) {
        expect(antenna.ndim() == 1 && antenna.size() == samples.front().size(), "samples of shape (",
               samples.front().size(), ",) expected; shape ", Shape{antenna}, " given");
        antennas.push_back(antenna.data());
    }
    const auto count = static_cast<std::size_t>(samples.front().size());
    const py::ssize_t num_symbols = search.layout().num_symbols, num_rx = search.num_rx(),
                      fft_size = search.layout().fft_size;
    Frames found(self.windows);
    std::size_t invalid = 0;
    {
        const py::gil_scoped_release release;
        const std::lock_guard lock(self.in_use);
        invalid = search.push(antennas, count, found);
    }
    py::list frames;
    for (OwnFrame &frame : found.all)
        frames.append(py::make_tuple(frame.start, frame.carrier_offset, frame.metric,
                                     keep(frame.windows, {num_symbols, num_rx, fft_size}), frame.overlapping,
                                     flags(frame.dead), flags(frame.saturated)));
    return py::make_tuple(frames, invalid);
}

constexpr py::ssize_t max_preamble = 1 << 30; // samples, which are counted by an int

double carrier_offset(const Array<Complex> &preamble, int period) {
    expect(preamble.ndim() == 2, "a preamble of shape (num_rx, samples) expected; shape ", Shape{preamble}, " given");
    expect(period > 0 && period < max_preamble / kaq::lag_periods, "a period of 1 to ",
           max_preamble / kaq::lag_periods - 1, " samples expected; ", period, " given");
    expect(preamble.shape(1) > kaq::lag_periods * period, "more than ", kaq::lag_periods, " periods of ", period,
           " samples expected; ", preamble.shape(1), " samples given");
    expect(preamble.shape(1) < max_preamble, "less than ", max_preamble, " samples expected; ", preamble.shape(1),
           " given");
    const auto count = static_cast<std::size_t>(preamble.shape(1));
    std::vector<float> parts;
    std::vector<kaq::AntennaView> antennas;
    parts.reserve(2 * preamble.size()); // so that views of it hold
    for (py::ssize_t a = 0; a < preamble.shape(0); ++a) {
        const std::span<const Complex> from = view<2>(preamble).row(a);
        for (const Complex sample : from)
            parts.push_back(sample.real());
        for (const Complex sample : from)
            parts.push_back(sample.imag());
        const std::span<const float> both = std::span<const float>(parts).last(2 * count);
        antennas.emplace_back(both.first(count), both.last(count));
    }
    return kaq::carrier_offset(antennas, period);
}

} // namespace

void bind_frame_search(py::module_ &module) {
    py::class_<FrameSearch>(module, "FrameSearch")
        .def(py::init(&make_search), py::kw_only(), py::arg("num_rx"), py::arg("known"), py::arg("fft_size"),
             py::arg("cp_length"), py::arg("timing_advance"), py::arg("delay_window"), py::arg("num_symbols"),
             py::arg("period"), py::arg("num_periods"))
        .def("push", &push, py::arg("samples"))
        .def("interrupt",
             [](FrameSearch &self) {
                 const std::lock_guard lock(self.in_use);
                 return self.search.interrupt();
             })
        .def_property_readonly("position", [](const FrameSearch &self) { return self.search.position(); });
    module.def("carrier_offset", &carrier_offset, py::arg("preamble"), py::arg("period"));
}
