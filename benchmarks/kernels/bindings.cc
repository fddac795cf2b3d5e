// SPDX-License-Identifier: GPL-3.0-or-later
// kaq_speed: stages of the kernels and microbenchmarks of `python -m benchmarks.speed`. Whatever is timed runs in C++
// without the GIL, as often as asked for.

#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "detection/instruction_sets.h"
#include "detection/plan.h"
#include "peaks.h"
#include "stages.h"

namespace py = pybind11;

namespace {

using Complex = std::complex<float>;
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

void require(bool condition, const char *what) {
    if (!condition)
        throw std::invalid_argument(what);
}

// Seconds that `repeats` calls take.
template <typename Call>
double seconds(int repeats, Call call) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i)
        call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Channels (C, num_rx, num_tx), samples (num_rx, T, C), symbols (num_tx, T, C) and LLRs (num_tx, T, C bits).
class Data {
public:
    Data(Array<Complex> h, double noise_var, Array<Complex> y, int bits_per_symbol)
        : h_(std::move(h)), y_(std::move(y)), noise_var_(noise_var), bits_(bits_per_symbol) {
        require(h_.ndim() == 3 && y_.ndim() == 3 && y_.shape(0) == h_.shape(1) && y_.shape(2) == h_.shape(0),
                "h (C, num_rx, num_tx) and y (num_rx, T, C) expected");
        const py::ssize_t block = y_.shape(1) * y_.shape(2);
        symbols_ = Array<Complex>({h_.shape(2), y_.shape(1), y_.shape(2)});
        llrs_ = Array<float>({h_.shape(2), y_.shape(1), y_.shape(2) * bits_});
        for (py::ssize_t r = 0; r < h_.shape(1); ++r)
            antennas_.push_back(y_.data() + r * block);
        for (py::ssize_t j = 0; j < h_.shape(2); ++j) {
            streams_.push_back(symbols_.mutable_data() + j * block);
            llr_streams_.push_back(llrs_.mutable_data() + j * block * bits_);
        }
    }

    int num_channels() const { return static_cast<int>(h_.shape(0)); }
    int num_rx() const { return static_cast<int>(h_.shape(1)); }
    int num_tx() const { return static_cast<int>(h_.shape(2)); }
    int num_vectors() const { return static_cast<int>(y_.shape(1)); }
    std::span<const Complex> h() const { return {h_.data(), static_cast<std::size_t>(h_.size())}; }
    const double *noise_var() const { return &noise_var_; }
    const Array<Complex> &symbols() const { return symbols_; }
    const Array<float> &llrs() const { return llrs_; }

    kaq::ReceivedView received() const { return view(antennas_, 1); }
    kaq::DetectedView detected(bool with_llrs) const {
        return {.symbols = view(streams_, 1), .llrs = with_llrs ? view(llr_streams_, bits_) : kaq::PortView<float>{}};
    }

private:
    // Of arrays (T, C width)
    template <typename T>
    kaq::PortView<T> view(const std::vector<T *> &ports, int width) const {
        return {.ports = ports,
                .num_channels = num_channels(),
                .num_vectors = num_vectors(),
                .channel_stride = width,
                .vector_stride = static_cast<std::ptrdiff_t>(num_channels()) * width,
                .width = width};
    }

    Array<Complex> h_, y_, symbols_;
    Array<float> llrs_;
    double noise_var_;
    int bits_;
    std::vector<const Complex *> antennas_;
    std::vector<Complex *> streams_;
    std::vector<float *> llr_streams_;
};

// Of the library, or one that stops after a stage.
const kaq::Kernel &kernel_until(const std::string &instruction_set, const std::string &stage) {
    if (stage.empty())
        return kaq::kernel_named(instruction_set);
    for (const speed::StagedKernel &staged : speed::staged_kernels(instruction_set))
        if (staged.stage == stage)
            return staged.kernel;
    throw std::invalid_argument("no stage " + stage + " of " + instruction_set);
}

// An unfolded network, up to a stage or all of it.
class Plan {
public:
    Plan(const kaq::Network &network, const Data &data, const std::string &instruction_set, const std::string &stage)
        : plan_(network, kernel_until(instruction_set, stage), data.num_channels(), data.num_rx(), data.num_tx()) {}

    double prepare(const Data &data, int repeats) {
        return seconds(repeats, [&] {
            plan_.prepare(data.h(), kaq::Noise::of_variance({data.noise_var(), 1}), data.num_vectors());
        });
    }
    double detect(const Data &data, bool with_llrs, int repeats) {
        return seconds(repeats, [&] { plan_.detect(data.received(), data.detected(with_llrs)); });
    }

private:
    kaq::Plan plan_;
};

} // namespace

PYBIND11_MODULE(kaq_speed, module) {
    module.doc() = "Stages of the kernels and microbenchmarks of python -m benchmarks.speed.";
    py::module_::import("gr_kaq._kernel"); // registers kaq::Network
    using release = py::call_guard<py::gil_scoped_release>;

    py::class_<speed::DotProduct>(module, "DotProduct")
        .def_readonly("name", &speed::DotProduct::name)
        .def_readonly("multiply_adds", &speed::DotProduct::multiply_adds)
        .def_readonly("available", &speed::DotProduct::available);
    module.def("dot_products", &speed::dot_products);
    module.def("time_dot_product", &speed::time_dot_product, release());
    module.def("clock_rate", &speed::clock_rate, release());
    module.def("read_bandwidth", &speed::read_bandwidth, release());

    py::class_<Data>(module, "Data")
        .def(py::init<Array<Complex>, double, Array<Complex>, int>())
        .def_property_readonly("symbols", &Data::symbols)
        .def_property_readonly("llrs", &Data::llrs);

    module.def("stages", [](const std::string &instruction_set) {
        std::vector<std::string_view> names;
        for (const speed::StagedKernel &staged : speed::staged_kernels(instruction_set))
            names.push_back(staged.stage);
        return names;
    });
    py::class_<Plan>(module, "Plan")
        .def(py::init<const kaq::Network &, const Data &, const std::string &, const std::string &>(),
             py::arg("network"), py::arg("data"), py::arg("instruction_set"), py::arg("stage") = "")
        .def("prepare", &Plan::prepare, release())
        .def("detect", &Plan::detect, release());
#if defined(__clang__)
    module.attr("compiler") = std::string("Clang ") + __clang_version__;
#else
    module.attr("compiler") = std::string("GCC ") + __VERSION__;
#endif
}
