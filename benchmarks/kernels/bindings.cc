// SPDX-License-Identifier: GPL-3.0-or-later
// kaq_speed: kernels and microbenchmarks of `python -m benchmarks.speed`. Whatever is timed runs in C++ without the
// GIL, as often as asked for.

#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "baselines.h"
#include "detection/instruction_sets.h"
#include "detection/plan.h"
#include "peaks.h"
#include "stages.h"

namespace py = pybind11;

#ifdef KAQ_HAVE_HIGHWAY
namespace kaq {
extern const Kernel highway_vnni_kernel, highway_kernel;
}
#endif

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

// The integer layers over a SIMD library, where that was found: what the choice of intrinsics was made on.
std::vector<const kaq::Kernel *> highway_kernels() {
#ifdef KAQ_HAVE_HIGHWAY
    if (std::string(kaq::available_kernels().front()->name) == "avx512vnni")
        return {&kaq::highway_vnni_kernel, &kaq::highway_kernel};
#endif
    return {};
}

const kaq::Kernel &integer_kernel(const std::string &name) {
    for (const kaq::Kernel *kernel : highway_kernels())
        if (name == kernel->name)
            return *kernel;
    return name.empty() ? kaq::select_kernel() : kaq::kernel_named(name);
}

// The integer detector.
class Integer {
public:
    // kernel: one of highway_kernels(); empty: the one that detectors use
    Integer(const kaq::Network &network, const Data &data, int num_threads, const std::string &kernel)
        : plan_(network, integer_kernel(kernel), data.num_channels(), data.num_rx(), data.num_tx(), num_threads) {}

    double prepare(const Data &data, int repeats) {
        return seconds(repeats, [&] { prepare_once(data); });
    }
    double detect(const Data &data, bool with_llrs, int repeats) {
        return seconds(repeats, [&] { plan_.detect(data.received(), data.detected(with_llrs)); });
    }
    double both(const Data &data, bool with_llrs, int repeats) {
        return seconds(repeats, [&] {
            prepare_once(data);
            plan_.detect(data.received(), data.detected(with_llrs));
        });
    }
    // b from the samples, for `layers`.
    void filter(const Data &data) {
        const std::size_t size = static_cast<std::size_t>(data.num_channels()) * data.num_vectors();
        for (auto *rows : {&b_, &t_})
            rows->resize(size * plan_.stride());
        std::unique_ptr<bool[]> finite(new bool[size]);
        plan_.filter(data.received(), b_, {finite.get(), size});
        filtered_ = true;
    }
    double layers(int repeats) {
        require(filtered_, "filter first");
        return seconds(repeats, [&] { plan_.layers(b_, t_); });
    }

private:
    void prepare_once(const Data &data) {
        plan_.prepare(data.h(), kaq::Noise::of_variance({data.noise_var(), 1}), data.num_vectors());
    }

    kaq::Plan plan_;
    kaq::AlignedVector<std::int16_t> b_, t_;
    bool filtered_ = false;
};

// The integer detector stage by stage.
class Staged {
public:
    Staged(const kaq::Network &network, const Data &data, double inverse_root_snr)
        : stages_(network, kaq::select_kernel(), data.num_channels(), data.num_rx(), data.num_tx()),
          names_(speed::preparation_steps(kaq::select_kernel(), network.type)) {
        stages_.set(data.h(), static_cast<float>(*data.noise_var()), inverse_root_snr, data.num_vectors());
        stages_.prepare(0);
    }

    const std::vector<std::string> &steps() const { return names_; }
    double prepare(int steps, int repeats) {
        return seconds(repeats, [&] { stages_.prepare(steps); });
    }
    double detect(const Data &data, int last, int repeats) {
        require(last >= 1 && last <= 4, "a step from 1 to 4 expected");
        return seconds(repeats, [&] {
            stages_.detect(static_cast<speed::DetectionStep>(last), data.received(), data.detected(true));
        });
    }

private:
    speed::Stages stages_;
    std::vector<std::string> names_;
};

const speed::BaselineKernel &kernel_named(const std::string &name) {
    for (const speed::BaselineKernel &kernel : speed::baseline_kernels())
        if (name == kernel.name)
            return kernel;
    throw std::invalid_argument("no such kernel here");
}

speed::Form form_named(const std::string &name) {
    require(name == "filter" || name == "triangles" || name == "matched", "no such form");
    return name == "filter" ? speed::Form::filter : name == "triangles" ? speed::Form::triangles : speed::Form::matched;
}

// Layout, groups and vectors.
using TileName = std::tuple<std::string, int, int>;

speed::Tile tile_named(const TileName &name) {
    const auto &[layout, groups, vectors] = name;
    require(layout == "rows" || layout == "channels", "'rows' or 'channels' expected");
    return {layout == "rows" ? speed::Layout::rows : speed::Layout::channels, groups, vectors};
}

// LMMSE, or a network in single precision.
class Float {
public:
    Float(const std::string &kernel, const std::string &form, const Data &data)
        : baseline_(kernel_named(kernel).lmmse(form_named(form), data.num_channels(), data.num_rx(), data.num_tx())) {}
    Float(const std::string &kernel, const std::string &form, const kaq::Network &network, const TileName &tile,
          const Data &data) {
        auto made = kernel_named(kernel).network(network, form_named(form), tile_named(tile), data.num_channels(),
                                                 data.num_rx(), data.num_tx());
        layered_ = made.get();
        baseline_ = std::move(made);
    }

    double prepare(const Data &data, int repeats) {
        return seconds(repeats, [&] { baseline_->prepare(data.h().data(), noise_var(data)); });
    }
    double detect(const Data &data, int repeats) {
        return seconds(repeats, [&] { baseline_->detect(data.received(), data.detected(false)); });
    }
    double both(const Data &data, int repeats) {
        return seconds(repeats, [&] {
            baseline_->prepare(data.h().data(), noise_var(data));
            baseline_->detect(data.received(), data.detected(false));
        });
    }
    void filter(const Data &data) {
        require(layered_, "a network expected");
        layered_->filter(data.received());
        filtered_ = true;
    }
    double layers(int repeats) {
        require(filtered_, "filter first");
        return seconds(repeats, [&] { layered_->layers(); });
    }

private:
    static float noise_var(const Data &data) { return static_cast<float>(*data.noise_var()); }

    std::unique_ptr<speed::Baseline> baseline_;
    speed::LayeredBaseline *layered_ = nullptr;
    bool filtered_ = false;
};

} // namespace

PYBIND11_MODULE(kaq_speed, module) {
    module.doc() = "Kernels and microbenchmarks of python -m benchmarks.speed.";
    py::module_::import("gr_kaq._kernel"); // registers kaq::Network
    using release = py::call_guard<py::gil_scoped_release>;

    module.def("highway_kernels", [] {
        std::vector<std::string> names;
        for (const kaq::Kernel *kernel : highway_kernels())
            names.emplace_back(kernel->name);
        return names;
    });
    py::class_<speed::DotProduct>(module, "DotProduct")
        .def_readonly("name", &speed::DotProduct::name)
        .def_readonly("operand", &speed::DotProduct::operand)
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

    py::class_<Integer>(module, "Integer")
        .def(py::init<const kaq::Network &, const Data &, int, const std::string &>(), py::arg("network"),
             py::arg("data"), py::arg("num_threads") = 1, py::arg("kernel") = "")
        .def("prepare", &Integer::prepare, release())
        .def("detect", &Integer::detect, release())
        .def("both", &Integer::both, release())
        .def("filter", &Integer::filter, release())
        .def("layers", &Integer::layers, release());
    py::class_<Staged>(module, "Staged")
        .def(py::init<const kaq::Network &, const Data &, double>())
        .def_property_readonly("steps", &Staged::steps)
        .def("prepare", &Staged::prepare, release())
        .def("detect", &Staged::detect, release());
    py::class_<Float>(module, "Float")
        .def(py::init<const std::string &, const std::string &, const Data &>())
        .def(py::init<const std::string &, const std::string &, const kaq::Network &, TileName, const Data &>())
        .def("prepare", &Float::prepare, release())
        .def("detect", &Float::detect, release())
        .def("both", &Float::both, release())
        .def("filter", &Float::filter, release())
        .def("layers", &Float::layers, release());
#if defined(__clang__)
    module.attr("compiler") = std::string("Clang ") + __clang_version__;
#else
    module.attr("compiler") = std::string("GCC ") + __VERSION__;
#endif
    module.def("kernels", [] {
        std::vector<std::string> names;
        for (const speed::BaselineKernel &kernel : speed::baseline_kernels())
            names.emplace_back(kernel.name);
        return names;
    });
    module.def("width", [](const std::string &name) { return kernel_named(name).width; });
    module.def("tiles", [](const std::string &name) {
        std::vector<TileName> tiles;
        for (const speed::Tile &tile : kernel_named(name).tiles)
            tiles.emplace_back(tile.layout == speed::Layout::rows ? "rows" : "channels", tile.groups, tile.vectors);
        return tiles;
    });
}
