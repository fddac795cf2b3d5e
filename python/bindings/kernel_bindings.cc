// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel: the integer kernel over NumPy arrays. native.py is its only user; arrays arrive there checked, and
// what this file checks again is what would otherwise touch memory out of bounds.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.h"
#include "frame_bindings.h"
#include "detection/instruction_sets.h"
#include "detection/plan.h"

namespace py = pybind11;

namespace {

kaq::Law make_law(const py::handle &from) {
    const auto values = from.cast<std::vector<double>>();
    require(values.size() == 4, "a law has alpha, gamma, low and high");
    return {values[0], values[1], values[2], values[3]};
}

// One layer: a dict of laws (alpha, gamma, low, high) by name.
kaq::Layer make_layer(const py::dict &from, bool admm) {
    kaq::Layer layer;
    const std::pair<const char *, kaq::Law *> laws[] = {{"step", &layer.step},
                                                        {"variance", &layer.variance},
                                                        {"dual_step", &layer.dual_step},
                                                        {"relaxation", &layer.relaxation},
                                                        {"gradient_step", &layer.gradient_step},
                                                        {"threshold", &layer.threshold}};
    for (const auto &[name, law] : laws)
        if (from.contains(name))
            *law = make_law(from[name]);
    layer.prox = from.contains("threshold")  ? kaq::Prox::soft_threshold
                 : from.contains("variance") ? kaq::Prox::ramp
                                             : kaq::Prox::none;
    require(layer.step.low > 0 && (layer.prox != kaq::Prox::ramp || layer.variance.low > 0) &&
                (!admm || layer.prox == kaq::Prox::ramp),
            "a law is missing");
    return layer;
}

kaq::Network make_network(const std::string &type, int bits_per_dimension, float half_distance, int activation_max,
                          int matrix_max, float matrix_clip, bool stream_steps, float output_spread, int candidates,
                          const std::vector<py::dict> &layers, const py::handle &output_variance,
                          const py::handle &regularization, double snr_low_db, double snr_high_db) {
    require((type == "admm" || type == "pgd") && bits_per_dimension >= 1 && bits_per_dimension <= 4 &&
                half_distance > 0 && activation_max >= 1 && activation_max <= 127 && matrix_max >= 1 &&
                matrix_max <= 127 && matrix_clip > 0 && matrix_clip <= 1 && output_spread >= 0 && candidates >= 0 &&
                candidates <= kaq::max_candidates && (type == "admm" || (!candidates && !stream_steps)) &&
                !layers.empty() && layers.size() <= kaq::max_layers && snr_low_db <= snr_high_db,
            "not a network that the kernels know");
    kaq::Network network;
    network.type = type == "admm" ? kaq::NetworkType::admm : kaq::NetworkType::pgd;
    network.bits_per_dimension = bits_per_dimension;
    network.half_distance = half_distance;
    network.activation_max = activation_max;
    network.matrix_max = matrix_max;
    network.matrix_clip = matrix_clip;
    network.stream_steps = stream_steps;
    network.output_spread = output_spread;
    network.candidates = candidates;
    for (const py::dict &layer : layers)
        network.layers.push_back(make_layer(layer, type == "admm"));
    network.output_variance = make_law(output_variance);
    network.regularization = make_law(regularization);
    network.snr_low_db = snr_low_db;
    network.snr_high_db = snr_high_db;
    require(network.output_variance.low > 0 && network.regularization.low > 0, "a law is missing");
    return network;
}

// A plan, and pointers to its streams, so that a call does not allocate.
struct Plan {
    kaq::Plan plan;
    std::vector<const Complex *> antennas;
    std::vector<Complex *> streams;
    std::vector<float *> llr_streams;
    std::mutex in_use;

    Plan(const kaq::Network &network, const std::string &instruction_set, int num_channels, int num_rx, int num_tx,
         int num_threads)
        : plan(network, instruction_set.empty() ? kaq::select_kernel() : kaq::kernel_named(instruction_set),
               num_channels, num_rx, num_tx, num_threads),
          antennas(num_rx), streams(num_tx), llr_streams(num_tx) {}
};

// Two threads in one plan would overwrite each other's buffers.
std::unique_lock<std::mutex> use(Plan &self) {
    std::unique_lock<std::mutex> lock(self.in_use, std::try_to_lock);
    if (!lock.owns_lock())
        throw std::runtime_error("another thread is using this plan; each thread needs one of its own");
    return lock;
}

void prepare(Plan &self, const Array<Complex> &h, const Array<double> &noise, bool is_snr_db,
             int vectors_per_estimate) {
    kaq::Plan &plan = self.plan;
    require(h.ndim() == 3 && h.shape(0) == plan.num_channels() && h.shape(1) == plan.num_rx() &&
                h.shape(2) == plan.num_tx(),
            "h of shape (C, num_rx, num_tx) expected");
    require(noise.size() == 1 || noise.size() == plan.num_channels(), "one noise variance or SNR, or C, expected");
    const auto lock = use(self);
    const Complex *channels = h.data();
    const kaq::Noise given{noise.data(), noise.size() > 1, is_snr_db};
    py::gil_scoped_release release;
    plan.prepare(channels, given, vectors_per_estimate);
}

// Copy between an array without padding and one whose last axis is padded.
template <typename T, typename Vector>
Array<T> unpadded(const Vector &from, std::vector<py::ssize_t> shape, int stride) {
    Array<T> out(shape);
    const std::size_t width = shape.back(), count = width ? out.size() / width : 0;
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(from.data() + i * stride, width, out.mutable_data() + i * width);
    return out;
}

template <typename T, typename Vector>
void fill_padded(Vector &to, const py::dict &arrays, const char *name, std::vector<py::ssize_t> shape, int stride) {
    const auto array = arrays[name].cast<Array<T>>();
    require(std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()) == shape, name);
    const std::size_t width = shape.back(), count = width ? array.size() / width : 0;
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(array.data() + i * width, width, to.data() + i * stride);
}

// visit(array, name, shape, row stride) for each integer array but the matrices
template <typename Visitor>
void visit_integers(kaq::Plan &plan, Visitor visit) {
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    const int positions = plan.positions(), layers = static_cast<int>(k);
    kaq::IntegerArrays &arrays = plan.integers();
    visit(arrays.diagonal, "diagonal", {c, k, n}, positions);
    visit(arrays.slope, "slope", {c, k, n}, positions);
    visit(arrays.inverse_step, "inverse_step", {c, k, n}, positions);
    visit(arrays.threshold, "threshold", {c, k}, layers);
    visit(arrays.first_gain, "first_gain", {c, k}, layers);
    visit(arrays.second_gain, "second_gain", {c, k, n}, positions);
    visit(arrays.llr_scale, "llr_scale", {c, n}, positions);
    if (!plan.network().candidates)
        return;
    visit(arrays.metric_diagonal, "metric_diagonal", {c, n}, positions);
    visit(arrays.metric_soft_first, "metric_soft_first", {c}, static_cast<int>(c));
    visit(arrays.metric_searched, "metric_searched", {c}, static_cast<int>(c));
}

// visit(matrices, prefix, shape of rescale) for the network's matrices, and for the metric's
template <typename Visitor>
void visit_matrices(const kaq::Plan &plan, Visitor visit) {
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    visit(false, std::string(), std::vector<py::ssize_t>{c, k, n});
    if (plan.network().candidates)
        visit(true, std::string("metric_"), std::vector<py::ssize_t>{c, n});
}

py::dict get_integers(Plan &self) {
    kaq::Plan &plan = self.plan;
    py::dict out;
    visit_integers(plan, [&](auto &array, const char *name, std::vector<py::ssize_t> shape, int stride) {
        out[name] = unpadded<typename std::decay_t<decltype(array)>::value_type>(array, std::move(shape), stride);
    });
    visit_matrices(plan, [&](bool metric, const std::string &prefix, std::vector<py::ssize_t> shape) {
        const kaq::PlainMatrices plain = plan.matrices(metric);
        const py::ssize_t c = plan.num_channels(), n = plan.rows();
        out[(prefix + "matrix").c_str()] = unpadded<std::int8_t>(plain.matrix, {c, n, n}, plan.positions());
        out[(prefix + "rescale").c_str()] = unpadded<std::int32_t>(plain.rescale, std::move(shape), plan.positions());
    });
    return out;
}

void set_integers(Plan &self, const py::dict &arrays) {
    kaq::Plan &plan = self.plan;
    visit_integers(plan, [&](auto &array, const char *name, std::vector<py::ssize_t> shape, int stride) {
        fill_padded<typename std::decay_t<decltype(array)>::value_type>(array, arrays, name, std::move(shape), stride);
    });
    plan.repeat_rows();
    visit_matrices(plan, [&](bool metric, const std::string &prefix, std::vector<py::ssize_t> shape) {
        kaq::PlainMatrices plain = plan.matrices(metric);
        const py::ssize_t c = plan.num_channels(), n = plan.rows();
        fill_padded<std::int8_t>(plain.matrix, arrays, (prefix + "matrix").c_str(), {c, n, n}, plan.positions());
        fill_padded<std::int32_t>(plain.rescale, arrays, (prefix + "rescale").c_str(), std::move(shape),
                                  plan.positions());
        plan.set_matrices(metric, plain);
    });
}

// A copy of rows (C, T, n) with padding.
kaq::AlignedVector<std::int16_t> padded(const kaq::Plan &channels, const Array<std::int16_t> &from) {
    require(from.ndim() == 3 && from.shape(0) == channels.num_channels() && from.shape(2) == channels.rows(),
            "rows of shape (C, T, n) expected");
    const std::size_t count = from.shape(0) * from.shape(1);
    kaq::AlignedVector<std::int16_t> to(count * channels.stride());
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(from.data() + i * channels.rows(), channels.rows(), to.data() + i * channels.stride());
    return to;
}

// t and soft from b and, for a network with candidates, the matched filter's output; all (C, T, n)
py::tuple run_layers(Plan &self, const Array<std::int16_t> &b, const std::optional<Array<std::int16_t>> &matched) {
    kaq::Plan &channels = self.plan;
    require(matched.has_value() == (channels.network().candidates > 0), "matched: for a network with candidates");
    require(!matched || matched->ndim() < 2 || matched->shape(1) == b.shape(1), "b and matched of one shape expected");
    const auto in = padded(channels, b);
    const auto matched_in = matched ? padded(channels, *matched) : kaq::AlignedVector<std::int16_t>();
    kaq::AlignedVector<std::int16_t> out(in.size()), soft(in.size());
    {
        py::gil_scoped_release release;
        channels.layers(in.data(), matched_in.data(), out.data(), soft.data(), static_cast<int>(b.shape(1)));
    }
    const std::vector<py::ssize_t> shape{b.shape(0), b.shape(1), b.shape(2)};
    return py::make_tuple(unpadded<std::int16_t>(out, shape, channels.stride()),
                          unpadded<std::int16_t>(soft, shape, channels.stride()));
}

// Integer LLRs (count, bits_per_dimension, n) of t (count, n)
Array<std::int32_t> run_llrs(Plan &self, const Array<std::int16_t> &t) {
    kaq::Plan &channels = self.plan;
    require(t.ndim() == 2 && t.shape(1) == channels.rows(), "t of shape (count, n) expected");
    const int bits = channels.network().bits_per_dimension, stride = channels.stride();
    kaq::AlignedVector<std::int16_t> in(stride);
    kaq::AlignedVector<std::int32_t> out(static_cast<std::size_t>(t.shape(0)) * bits * stride);
    for (py::ssize_t i = 0; i < t.shape(0); ++i) {
        std::copy_n(t.data() + i * channels.rows(), channels.rows(), in.data());
        channels.kernel().llrs(channels.network(), {1, channels.num_tx()}, in.data(), out.data() + i * bits * stride);
    }
    return unpadded<std::int32_t>(out, {t.shape(0), bits, t.shape(1)}, stride);
}

// b, the matched filter's output (or None) and finite of y (C, T, num_rx)
py::tuple run_filter(Plan &self, const Array<Complex> &y) {
    kaq::Plan &channels = self.plan;
    require(y.ndim() == 3 && y.shape(0) == channels.num_channels() && y.shape(2) == channels.num_rx(),
            "y of shape (C, T, num_rx) expected");
    std::vector<const Complex *> antennas;
    for (int r = 0; r < channels.num_rx(); ++r)
        antennas.push_back(y.data() + r);
    kaq::AlignedVector<std::int16_t> b(y.shape(0) * y.shape(1) * channels.stride()), matched(b.size());
    Array<bool> finite({y.shape(0), y.shape(1)});
    channels.filter({antennas.data(), y.shape(1) * y.shape(2), y.shape(2)}, static_cast<int>(y.shape(1)), b.data(),
                    matched.data(), finite.mutable_data());
    const std::vector<py::ssize_t> shape{y.shape(0), y.shape(1), channels.rows()};
    const py::object second = channels.network().candidates
                                  ? py::object(unpadded<std::int16_t>(matched, shape, channels.stride()))
                                  : py::object(py::none());
    return py::make_tuple(unpadded<std::int16_t>(b, shape, channels.stride()), second, finite);
}

std::size_t detect(Plan &self, const Array<Complex> &y, Array<Complex> &symbols, Array<float> &llrs) {
    kaq::Plan &channels = self.plan;
    const py::ssize_t c = channels.num_channels(), n = channels.num_tx(), r = channels.num_rx(),
                      bits = 2 * channels.network().bits_per_dimension;
    require(y.ndim() == 3 && y.shape(0) == c && y.shape(2) == r, "y of shape (C, T, num_rx) expected");
    const py::ssize_t t = y.shape(1);
    require(t <= std::numeric_limits<int>::max(), "too many vectors for one call");
    require(symbols.size() == c * t * n && llrs.size() == c * t * n * bits, "outputs of a wrong size");
    const auto lock = use(self);
    for (py::ssize_t i = 0; i < r; ++i)
        self.antennas[i] = y.data() + i;
    for (py::ssize_t j = 0; j < n; ++j) {
        self.streams[j] = symbols.mutable_data() + j;
        self.llr_streams[j] = llrs.mutable_data() + j * bits;
    }
    py::gil_scoped_release release;
    return channels.detect({self.antennas.data(), t * r, r},
                           {self.streams.data(), t * n, n, self.llr_streams.data(), t * n * bits, n * bits},
                           static_cast<int>(t));
}

// Pointers to the data of arrays (T, width), which have to be contiguous.
template <typename T, typename Pointer>
void stream_pointers(const py::sequence &arrays, std::vector<Pointer> &pointers, py::ssize_t num_vectors,
                     py::ssize_t width, bool written) {
    require(arrays.size() == pointers.size(), "a wrong number of streams");
    for (std::size_t i = 0; i < pointers.size(); ++i) {
        const py::object item = arrays[i];
        require(Array<T>::check_(item), "streams of shape (T, width), contiguous and of the right type expected");
        const auto array = py::reinterpret_borrow<py::array>(item);
        require(array.ndim() == 2 && array.shape(0) == num_vectors && array.shape(1) == width &&
                    (!written || array.writeable()) && (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_),
                "streams of shape (T, width), contiguous, aligned and of the right type expected");
        pointers[i] = static_cast<Pointer>(const_cast<void *>(array.data()));
    }
}

std::size_t detect_streams(Plan &self, const py::sequence &received, const py::sequence &symbols,
                           const py::sequence &llrs) {
    kaq::Plan &channels = self.plan;
    const py::ssize_t c = channels.num_channels(), bits = 2 * channels.network().bits_per_dimension;
    require(received.size() > 0 && py::isinstance<py::array>(received[0]), "streams of shape (T, C) expected");
    const auto first = py::reinterpret_borrow<py::array>(received[0]);
    require(first.ndim() == 2, "streams of shape (T, C) expected");
    const py::ssize_t t = first.shape(0);
    require(t <= std::numeric_limits<int>::max(), "too many vectors for one call");
    const bool with_llrs = llrs.size() > 0;
    const auto lock = use(self);
    stream_pointers<Complex>(received, self.antennas, t, c, false);
    stream_pointers<Complex>(symbols, self.streams, t, c, true);
    if (with_llrs)
        stream_pointers<float>(llrs, self.llr_streams, t, c * bits, true);
    py::gil_scoped_release release;
    return channels.detect({self.antennas.data(), 1, c},
                           {self.streams.data(), 1, c, with_llrs ? self.llr_streams.data() : nullptr, bits, c * bits},
                           static_cast<int>(t));
}

} // namespace

PYBIND11_MODULE(_kernel, module) {
    module.doc() = "The integer detection kernel, which gr_kaq.native wraps, and the search for frames.";
    py::class_<kaq::Network>(module, "Network")
        .def(py::init(&make_network), py::kw_only(), py::arg("type"), py::arg("bits_per_dimension"),
             py::arg("half_distance"), py::arg("activation_max"), py::arg("matrix_max"), py::arg("matrix_clip"),
             py::arg("stream_steps"), py::arg("output_spread"), py::arg("candidates"), py::arg("layers"),
             py::arg("output_variance"), py::arg("regularization"), py::arg("snr_low_db"), py::arg("snr_high_db"));
    py::class_<Plan>(module, "Plan")
        .def(py::init<const kaq::Network &, const std::string &, int, int, int, int>(), py::arg("network"),
             py::arg("instruction_set"), py::arg("num_channels"), py::arg("num_rx"), py::arg("num_tx"),
             py::arg("num_threads"))
        .def_property_readonly("instruction_set", [](const Plan &self) { return self.plan.kernel().name; })
        .def_property("integers", &get_integers, &set_integers)
        .def("prepare", &prepare, py::arg("h"), py::arg("noise"), py::arg("is_snr_db"), py::arg("vectors_per_estimate"))
        .def("filter", &run_filter)
        .def("layers", &run_layers)
        .def("llrs", &run_llrs)
        .def("detect", &detect)
        .def("detect_streams", &detect_streams);
    module.def(
        "squared_norm",
        [](const Array<Complex> &h) {
            // all kernels give the same bits, and to select one takes longer than this
            static const kaq::Kernel &kernel = kaq::select_kernel();
            return kernel.squared_norm(h.data(), static_cast<std::size_t>(h.size()));
        },
        py::arg("h"));
    module.def("selected_instruction_set", [] { return kaq::select_kernel().name; });
    const auto names = [](const std::vector<const kaq::Kernel *> &kernels) {
        std::vector<std::string> out;
        for (const kaq::Kernel *kernel : kernels)
            out.emplace_back(kernel->name);
        return out;
    };
    module.def("known_instruction_sets", [names] { return names(kaq::known_kernels()); });
    module.def("instruction_sets", [names] { return names(kaq::available_kernels()); });
    bind_frame_search(module);
    bind_frame_carriers(module);
    bind_frame_windows(module);
    bind_frame_training(module);
    bind_soft_levels(module);
}
