// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel: the integer kernel over NumPy arrays. native.py is its only user; arrays arrive there checked, and
// what this file checks again is what would otherwise touch memory out of bounds.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "channels.h"
#include "instruction_sets.h"

namespace py = pybind11;
using Complex = std::complex<float>;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

kaq::Network make_network(const std::string &type, int bits_per_dimension, float half_distance, int activation_max,
                          int matrix_max, float matrix_clip, bool stream_steps, float output_spread, int candidates,
                          const std::vector<int> &prox) {
    if ((type != "admm" && type != "pgd") || bits_per_dimension < 1 || bits_per_dimension > 4 || activation_max < 1 ||
        activation_max > 127 || matrix_max < 1 || matrix_max > 127 || !(matrix_clip > 0 && matrix_clip <= 1) ||
        !(output_spread >= 0) || candidates < 0 || candidates > kaq::max_candidates ||
        (type == "pgd" && (candidates || stream_steps)) || prox.empty())
        throw std::invalid_argument("not a network that the kernels know");
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
    for (const int p : prox)
        network.prox.push_back(static_cast<kaq::Prox>(p));
    return network;
}

void require(bool condition, const char *what) {
    if (!condition)
        throw std::invalid_argument(what);
}

// One array of law values, (1 or C, K).
const double *law(const py::dict &laws, const char *name, int num_layers, py::ssize_t num_sets,
                  std::vector<py::array> &keep) {
    if (!laws.contains(name))
        return nullptr;
    const auto array = laws[name].cast<Array<double>>();
    require(array.ndim() == 2 && array.shape(0) == num_sets && array.shape(1) == num_layers, "law of a wrong shape");
    keep.push_back(array);
    return array.data();
}

kaq::Channels prepare(const kaq::Network &network, const std::string &instruction_set, const Array<Complex> &h,
                      const Array<double> &noise_var, const py::dict &laws, const Array<double> &output_variance,
                      const Array<double> &regularization) {
    require(h.ndim() == 3, "h of shape (C, num_rx, num_tx) expected");
    const int num_channels = static_cast<int>(h.shape(0));
    const py::ssize_t num_sets = output_variance.size(), num_noise = noise_var.size();
    require((num_sets == 1 || num_sets == num_channels) && regularization.size() == num_sets, "one law set or C");
    require(num_noise == 1 || num_noise == num_channels, "one noise_var or C");
    const int num_layers = network.num_layers();
    std::vector<py::array> keep;
    kaq::LayerValues first;
    first.step = law(laws, "step", num_layers, num_sets, keep);
    first.variance = law(laws, "variance", num_layers, num_sets, keep);
    first.dual_step = law(laws, "dual_step", num_layers, num_sets, keep);
    first.relaxation = law(laws, "relaxation", num_layers, num_sets, keep);
    first.gradient_step = law(laws, "gradient_step", num_layers, num_sets, keep);
    first.threshold = law(laws, "threshold", num_layers, num_sets, keep);
    const bool admm = network.type == kaq::NetworkType::admm;
    require(first.step &&
                (admm ? first.variance && first.dual_step && first.relaxation : first.gradient_step != nullptr),
            "a law is missing");
    for (const kaq::Prox prox : network.prox)
        require((prox != kaq::Prox::ramp || first.variance) && (prox != kaq::Prox::soft_threshold || first.threshold),
                "a law is missing");
    std::vector<kaq::LayerValues> values(num_sets);
    for (py::ssize_t i = 0; i < num_sets; ++i) {
        const auto shifted = [&](const double *p) { return p ? p + i * num_layers : nullptr; };
        values[i] = {shifted(first.step),       shifted(first.variance),      shifted(first.dual_step),
                     shifted(first.relaxation), shifted(first.gradient_step), shifted(first.threshold),
                     output_variance.data()[i], regularization.data()[i]};
    }
    const auto &kernel = instruction_set.empty() ? kaq::select_kernel() : kaq::kernel_named(instruction_set);
    const int num_rx = static_cast<int>(h.shape(1)), num_tx = static_cast<int>(h.shape(2));
    const Complex *channels = h.data();
    const double *noise = noise_var.data();

    py::gil_scoped_release release;
    kaq::Channels prepared(network, kernel, num_channels, num_rx, num_tx);
    prepared.prepare(channels, noise, num_noise > 1, values.data(), num_sets > 1);
    return prepared;
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

// visit(array, name, shape, row stride) for each integer array
template <typename Visitor>
void visit_integers(kaq::Channels &channels, Visitor visit) {
    const py::ssize_t c = channels.num_channels(), k = channels.network().num_layers(), n = channels.rows();
    const int stride = channels.stride(), layers = static_cast<int>(k);
    kaq::IntegerArrays &arrays = channels.integers();
    visit(arrays.matrix, "matrix", {c, n, n}, stride);
    visit(arrays.diagonal, "diagonal", {c, k, n}, stride);
    visit(arrays.rescale, "rescale", {c, k, n}, stride);
    visit(arrays.slope, "slope", {c, k, n}, stride);
    visit(arrays.inverse_step, "inverse_step", {c, k, n}, stride);
    visit(arrays.threshold, "threshold", {c, k}, layers);
    visit(arrays.first_gain, "first_gain", {c, k}, layers);
    visit(arrays.second_gain, "second_gain", {c, k, n}, stride);
    visit(arrays.llr_scale, "llr_scale", {c, n}, stride);
    if (!channels.network().candidates)
        return;
    visit(arrays.metric_matrix, "metric_matrix", {c, n, n}, stride);
    visit(arrays.metric_rescale, "metric_rescale", {c, n}, stride);
    visit(arrays.metric_diagonal, "metric_diagonal", {c, n}, stride);
    visit(arrays.metric_soft_first, "metric_soft_first", {c}, static_cast<int>(c));
    visit(arrays.metric_searched, "metric_searched", {c}, static_cast<int>(c));
}

py::dict get_integers(kaq::Channels &channels) {
    py::dict out;
    visit_integers(channels, [&](auto &array, const char *name, std::vector<py::ssize_t> shape, int stride) {
        out[name] = unpadded<typename std::decay_t<decltype(array)>::value_type>(array, std::move(shape), stride);
    });
    return out;
}

kaq::Channels from_integers(const kaq::Network &network, const std::string &instruction_set, const py::dict &arrays) {
    const auto matrix = arrays["matrix"].cast<py::array>();
    require(matrix.ndim() == 3, "matrix of shape (C, n, n) expected");
    kaq::Channels channels(network, kaq::kernel_named(instruction_set), static_cast<int>(matrix.shape(0)), 1,
                           static_cast<int>(matrix.shape(1) / 2));
    visit_integers(channels, [&](auto &array, const char *name, std::vector<py::ssize_t> shape, int stride) {
        fill_padded<typename std::decay_t<decltype(array)>::value_type>(array, arrays, name, std::move(shape), stride);
    });
    channels.pack();
    return channels;
}

// A copy of rows (C, T, n) with padding.
kaq::AlignedVector<std::int16_t> padded(const kaq::Channels &channels, const Array<std::int16_t> &from) {
    require(from.ndim() == 3 && from.shape(0) == channels.num_channels() && from.shape(2) == channels.rows(),
            "rows of shape (C, T, n) expected");
    const std::size_t count = from.shape(0) * from.shape(1);
    kaq::AlignedVector<std::int16_t> to(count * channels.stride());
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(from.data() + i * channels.rows(), channels.rows(), to.data() + i * channels.stride());
    return to;
}

// t and soft from b and, for a network with candidates, the matched filter's output; all (C, T, n)
py::tuple run_layers(const kaq::Channels &channels, const Array<std::int16_t> &b,
                     const std::optional<Array<std::int16_t>> &matched) {
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
Array<std::int32_t> run_llrs(const kaq::Channels &channels, const Array<std::int16_t> &t) {
    require(t.ndim() == 2 && t.shape(1) == channels.rows(), "t of shape (count, n) expected");
    const int bits = channels.network().bits_per_dimension, stride = channels.stride();
    kaq::AlignedVector<std::int16_t> in(stride);
    kaq::AlignedVector<std::int32_t> out(static_cast<std::size_t>(t.shape(0)) * bits * stride);
    for (py::ssize_t i = 0; i < t.shape(0); ++i) {
        std::copy_n(t.data() + i * channels.rows(), channels.rows(), in.data());
        channels.kernel().llrs(channels.network(), stride, in.data(), out.data() + i * bits * stride);
    }
    return unpadded<std::int32_t>(out, {t.shape(0), bits, t.shape(1)}, stride);
}

// b, the matched filter's output (or None) and finite of y (C, T, num_rx)
py::tuple run_filter(const kaq::Channels &channels, const Array<Complex> &y) {
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

std::size_t detect(const kaq::Channels &channels, const Array<Complex> &y, Array<Complex> &symbols,
                   Array<float> &llrs) {
    const py::ssize_t c = channels.num_channels(), n = channels.num_tx(), r = channels.num_rx(),
                      bits = 2 * channels.network().bits_per_dimension;
    require(y.ndim() == 3 && y.shape(0) == c && y.shape(2) == r, "y of shape (C, T, num_rx) expected");
    const py::ssize_t t = y.shape(1);
    require(symbols.size() == c * t * n && llrs.size() == c * t * n * bits, "outputs of a wrong size");
    std::vector<const Complex *> antennas;
    std::vector<Complex *> streams;
    std::vector<float *> llr_streams;
    for (py::ssize_t i = 0; i < r; ++i)
        antennas.push_back(y.data() + i);
    for (py::ssize_t j = 0; j < n; ++j) {
        streams.push_back(symbols.mutable_data() + j);
        llr_streams.push_back(llrs.mutable_data() + j * bits);
    }
    py::gil_scoped_release release;
    return channels.detect({antennas.data(), t * r, r},
                           {streams.data(), t * n, n, llr_streams.data(), t * n * bits, n * bits}, static_cast<int>(t));
}

// Pointers to the data of arrays (T, width), which have to be contiguous.
template <typename T, typename Pointer>
std::vector<Pointer> stream_pointers(const std::vector<py::array> &arrays, std::size_t count, py::ssize_t num_vectors,
                                     py::ssize_t width, bool written) {
    require(arrays.size() == count, "a wrong number of streams");
    std::vector<Pointer> pointers;
    for (const py::array &array : arrays) {
        require(py::isinstance<Array<T>>(array) && array.ndim() == 2 && array.shape(0) == num_vectors &&
                    array.shape(1) == width && (!written || array.writeable()),
                "streams of shape (T, width), contiguous and of the right type expected");
        pointers.push_back(static_cast<Pointer>(const_cast<void *>(array.data())));
    }
    return pointers;
}

std::size_t detect_streams(const kaq::Channels &channels, const std::vector<py::array> &received,
                           const std::vector<py::array> &symbols, const std::vector<py::array> &llrs) {
    const py::ssize_t c = channels.num_channels(), bits = 2 * channels.network().bits_per_dimension;
    require(!received.empty() && received[0].ndim() == 2, "streams of shape (T, C) expected");
    const py::ssize_t t = received[0].shape(0);
    const std::size_t n = channels.num_tx();
    const auto antennas = stream_pointers<Complex, const Complex *>(received, channels.num_rx(), t, c, false);
    const auto streams = stream_pointers<Complex, Complex *>(symbols, n, t, c, true);
    const auto llr_streams = stream_pointers<float, float *>(llrs, llrs.empty() ? 0 : n, t, c * bits, true);
    py::gil_scoped_release release;
    return channels.detect({antennas.data(), 1, c},
                           {streams.data(), 1, c, llrs.empty() ? nullptr : llr_streams.data(), bits, c * bits},
                           static_cast<int>(t));
}

} // namespace

PYBIND11_MODULE(_kernel, module) {
    module.doc() = "The integer detection kernel; gr_kaq.native wraps it.";
    py::class_<kaq::Network>(module, "Network")
        .def(py::init(&make_network), py::arg("type"), py::arg("bits_per_dimension"), py::arg("half_distance"),
             py::arg("activation_max"), py::arg("matrix_max"), py::arg("matrix_clip"), py::arg("stream_steps"),
             py::arg("output_spread"), py::arg("candidates"), py::arg("prox"));
    py::class_<kaq::Channels>(module, "Channels")
        .def_property_readonly("instruction_set", [](const kaq::Channels &c) { return c.kernel().name; })
        .def_property_readonly("integers", &get_integers)
        .def("filter", &run_filter)
        .def("layers", &run_layers)
        .def("llrs", &run_llrs)
        .def("detect", &detect)
        .def("detect_streams", &detect_streams);
    module.def("prepare", &prepare);
    module.def("from_integers", &from_integers);
    module.def("selected_instruction_set", [] { return kaq::select_kernel().name; });
    module.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const kaq::Kernel *kernel : kaq::available_kernels())
            names.emplace_back(kernel->name);
        return names;
    });
}
