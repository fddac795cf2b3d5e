// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._kernel.Plan over NumPy arrays. native_kernel.py is its only user; arrays arrive there checked, and what this
// file checks again is what would otherwise touch memory out of bounds.

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "detection/instruction_sets.h"
#include "detection/plan.h"
#include "detection_bindings.h"
#include "shapes.h"

namespace py = pybind11;

namespace {

using kaq::expect;

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

    int llrs_of_symbol() const { return 2 * plan.network().bits_per_dimension; }
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
    expect(h.ndim() == 3 && h.shape(0) == plan.num_channels() && h.shape(1) == plan.num_rx() &&
               h.shape(2) == plan.num_tx(),
           "h of shape (", plan.num_channels(), ", ", plan.num_rx(), ", ", plan.num_tx(), ") expected; shape ",
           Shape{h}, " given");
    expect(noise.size() == 1 || noise.size() == plan.num_channels(), "one noise variance or SNR, or ",
           plan.num_channels(), ", expected; ", noise.size(), " given");
    const auto lock = use(self);
    const std::span<const Complex> channels = values_of(h);
    const kaq::Noise given =
        is_snr_db ? kaq::Noise::of_snr_db(values_of(noise)) : kaq::Noise::of_variance(values_of(noise));
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
void fill_padded(Vector &to, const py::dict &arrays, const char *name, const std::vector<py::ssize_t> &shape,
                 int stride) {
    const auto array = arrays[name].cast<Array<T>>();
    const Array<T> expected(shape);
    expect(array.ndim() == expected.ndim() && std::equal(shape.begin(), shape.end(), array.shape()), name, " of shape ",
           Shape{expected}, " expected; shape ", Shape{array}, " given");
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

// visit(which, prefix, shape of rescale) for the network's matrices, and for the metric's
template <typename Visitor>
void visit_matrices(const kaq::Plan &plan, Visitor visit) {
    const py::ssize_t c = plan.num_channels(), k = plan.network().num_layers(), n = plan.rows();
    visit(kaq::MatrixOf::layers, std::string(), std::vector<py::ssize_t>{c, k, n});
    if (plan.network().candidates)
        visit(kaq::MatrixOf::metric, std::string("metric_"), std::vector<py::ssize_t>{c, n});
}

py::dict get_integers(Plan &self) {
    kaq::Plan &plan = self.plan;
    py::dict out;
    visit_integers(plan, [&](auto &array, const char *name, std::vector<py::ssize_t> shape, int stride) {
        out[name] = unpadded<typename std::decay_t<decltype(array)>::value_type>(array, std::move(shape), stride);
    });
    visit_matrices(plan, [&](kaq::MatrixOf which, const std::string &prefix, std::vector<py::ssize_t> shape) {
        const kaq::PlainMatrices plain = plan.matrices(which);
        const py::ssize_t c = plan.num_channels(), n = plan.rows();
        out[(prefix + "matrix").c_str()] = unpadded<std::int8_t>(plain.matrix, {c, n, n}, plan.positions());
        out[(prefix + "rescale").c_str()] = unpadded<std::int32_t>(plain.rescale, std::move(shape), plan.positions());
    });
    return out;
}

void set_integers(Plan &self, const py::dict &arrays) {
    kaq::Plan &plan = self.plan;
    visit_integers(plan, [&](auto &array, const char *name, const std::vector<py::ssize_t> &shape, int stride) {
        fill_padded<typename std::decay_t<decltype(array)>::value_type>(array, arrays, name, shape, stride);
    });
    plan.repeat_rows();
    visit_matrices(plan, [&](kaq::MatrixOf which, const std::string &prefix, const std::vector<py::ssize_t> &shape) {
        kaq::PlainMatrices plain = plan.matrices(which);
        const py::ssize_t c = plan.num_channels(), n = plan.rows();
        fill_padded<std::int8_t>(plain.matrix, arrays, (prefix + "matrix").c_str(), {c, n, n}, plan.positions());
        fill_padded<std::int32_t>(plain.rescale, arrays, (prefix + "rescale").c_str(), shape, plan.positions());
        plan.set_matrices(which, plain);
    });
}

// A copy of rows (C, T, n) with padding.
kaq::AlignedVector<std::int16_t> padded(const kaq::Plan &plan, const Array<std::int16_t> &from) {
    expect(from.ndim() == 3 && from.shape(0) == plan.num_channels() && from.shape(2) == plan.rows(), "rows of shape (",
           plan.num_channels(), ", T, ", plan.rows(), ") expected; shape ", Shape{from}, " given");
    const std::size_t count = from.shape(0) * from.shape(1);
    kaq::AlignedVector<std::int16_t> to(count * plan.stride());
    for (std::size_t i = 0; i < count; ++i)
        std::copy_n(from.data() + i * plan.rows(), plan.rows(), to.data() + i * plan.stride());
    return to;
}

// t and soft from b and, for a network with candidates, the matched filter's output; all (C, T, n)
py::tuple run_layers(Plan &self, const Array<std::int16_t> &b, const std::optional<Array<std::int16_t>> &matched) {
    const kaq::Plan &plan = self.plan;
    expect(matched.has_value() == (plan.network().candidates > 0), "the network has ", plan.network().candidates,
           " candidates; matched is given for a network that has some, and only then");
    const auto in = padded(plan, b);
    const auto matched_in = matched ? padded(plan, *matched) : kaq::AlignedVector<std::int16_t>();
    expect(!matched || matched->shape(1) == b.shape(1), "b and matched of one shape expected; shapes ", Shape{b},
           " and ", Shape{matched ? *matched : b}, " given");
    kaq::AlignedVector<std::int16_t> out(in.size()), soft(in.size());
    {
        py::gil_scoped_release release;
        plan.layers(in, matched_in, out, soft);
    }
    const std::vector<py::ssize_t> shape{b.shape(0), b.shape(1), b.shape(2)};
    return py::make_tuple(unpadded<std::int16_t>(out, shape, plan.stride()),
                          unpadded<std::int16_t>(soft, shape, plan.stride()));
}

// Integer LLRs (count, bits_per_dimension, n) of t (count, n)
Array<std::int32_t> run_llrs(Plan &self, const Array<std::int16_t> &t) {
    const kaq::Plan &plan = self.plan;
    expect(t.ndim() == 2 && t.shape(1) == plan.rows(), "t of shape (count, ", plan.rows(), ") expected; shape ",
           Shape{t}, " given");
    const int bits = plan.network().bits_per_dimension, stride = plan.stride();
    kaq::AlignedVector<std::int16_t> in(stride);
    kaq::AlignedVector<std::int32_t> out(static_cast<std::size_t>(t.shape(0)) * bits * stride);
    for (py::ssize_t i = 0; i < t.shape(0); ++i) {
        std::copy_n(t.data() + i * plan.rows(), plan.rows(), in.data());
        plan.kernel().llrs(plan.network(), {1, plan.num_tx()}, in,
                           kaq::ArrayView(out.data() + i * bits * stride, bits, stride));
    }
    return unpadded<std::int32_t>(out, {t.shape(0), bits, t.shape(1)}, stride);
}

// y has to be (C, T, num_rx); returns T.
int check_received(const kaq::Plan &plan, const Array<Complex> &y) {
    expect(y.ndim() == 3 && y.shape(0) == plan.num_channels() && y.shape(2) == plan.num_rx(), "y of shape (",
           plan.num_channels(), ", T, ", plan.num_rx(), ") expected; shape ", Shape{y}, " given");
    constexpr int most = std::numeric_limits<int>::max();
    expect(y.shape(1) <= most, most, " vectors in one call at most; ", y.shape(1), " given");
    return static_cast<int>(y.shape(1));
}

// The ports of an array (C, T, ports) are next to each other, and so are the values of each.
template <typename T>
kaq::PortView<T> contiguous(const std::vector<T *> &ports, int num_channels, int num_vectors, int width) {
    const std::ptrdiff_t of_vector = static_cast<std::ptrdiff_t>(ports.size()) * width;
    return {.ports = ports,
            .num_channels = num_channels,
            .num_vectors = num_vectors,
            .channel_stride = num_vectors * of_vector,
            .vector_stride = of_vector,
            .width = width};
}

// b, the matched filter's output (or None) and finite of y (C, T, num_rx)
py::tuple run_filter(Plan &self, const Array<Complex> &y) {
    const kaq::Plan &plan = self.plan;
    const int num_vectors = check_received(plan, y);
    std::vector<const Complex *> antennas;
    for (int r = 0; r < plan.num_rx(); ++r)
        antennas.push_back(y.data() + r);
    kaq::AlignedVector<std::int16_t> b(y.shape(0) * y.shape(1) * plan.stride()), matched(b.size());
    Array<bool> finite({y.shape(0), y.shape(1)});
    plan.filter(contiguous(antennas, plan.num_channels(), num_vectors, 1), b, matched, mutable_values_of(finite));
    const std::vector<py::ssize_t> shape{y.shape(0), y.shape(1), plan.rows()};
    const py::object second = plan.network().candidates
                                  ? py::object(unpadded<std::int16_t>(matched, shape, plan.stride()))
                                  : py::object(py::none());
    return py::make_tuple(unpadded<std::int16_t>(b, shape, plan.stride()), second, finite);
}

std::size_t detect(Plan &self, const Array<Complex> &y, Array<Complex> &symbols, Array<float> &llrs) {
    kaq::Plan &plan = self.plan;
    const int num_vectors = check_received(plan, y), num_channels = plan.num_channels(), bits = self.llrs_of_symbol();
    const py::ssize_t num_symbols = y.shape(0) * y.shape(1) * plan.num_tx();
    expect(symbols.size() == num_symbols, "room for ", num_symbols, " symbols expected; ", symbols.size(), " given");
    expect(llrs.size() == num_symbols * bits, "room for ", num_symbols * bits, " LLRs expected; ", llrs.size(),
           " given");
    const auto lock = use(self);
    for (int i = 0; i < plan.num_rx(); ++i)
        self.antennas[i] = y.data() + i;
    for (int j = 0; j < plan.num_tx(); ++j) {
        self.streams[j] = symbols.mutable_data() + j;
        self.llr_streams[j] = llrs.mutable_data() + j * bits;
    }
    py::gil_scoped_release release;
    return plan.detect(contiguous(self.antennas, num_channels, num_vectors, 1),
                       {.symbols = contiguous(self.streams, num_channels, num_vectors, 1),
                        .llrs = contiguous(self.llr_streams, num_channels, num_vectors, bits)});
}

// Pointers to the data of arrays (T, width), which have to be contiguous.
template <typename T, typename Pointer>
void stream_pointers(const char *name, const py::sequence &arrays, std::vector<Pointer> &pointers,
                     py::ssize_t num_vectors, py::ssize_t width, bool written) {
    expect(arrays.size() == pointers.size(), name, ": ", pointers.size(), " streams expected; ", arrays.size(),
           " given");
    for (std::size_t i = 0; i < pointers.size(); ++i) {
        const py::object item = arrays[i];
        expect(Array<T>::check_(item), name, ": stream ", i,
               " is no contiguous array of the right type: complex64, or float32 for LLRs");
        const auto array = py::reinterpret_borrow<py::array>(item);
        expect(array.ndim() == 2 && array.shape(0) == num_vectors && array.shape(1) == width, name, ": stream ", i,
               " of shape (", num_vectors, ", ", width, ") expected; shape ", Shape{array}, " given");
        expect(!written || array.writeable(), name, ": stream ", i, " is read-only");
        expect(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_, name, ": stream ", i,
               " is not aligned for its type");
        pointers[i] = static_cast<Pointer>(const_cast<void *>(array.data()));
    }
}

std::size_t detect_streams(Plan &self, const py::sequence &received, const py::sequence &symbols,
                           const py::sequence &llrs) {
    kaq::Plan &plan = self.plan;
    const int num_channels = plan.num_channels(), bits = self.llrs_of_symbol();
    expect(received.size() > 0 && py::isinstance<py::array>(received[0]),
           "received: a list of streams, arrays of shape (T, ", num_channels, "), expected");
    const auto first = py::reinterpret_borrow<py::array>(received[0]);
    expect(first.ndim() == 2, "received: streams of shape (T, ", num_channels, ") expected; shape ", Shape{first},
           " given");
    constexpr int most = std::numeric_limits<int>::max();
    expect(first.shape(0) <= most, most, " vectors in one call at most; ", first.shape(0), " given");
    const int num_vectors = static_cast<int>(first.shape(0));
    const auto lock = use(self);
    stream_pointers<Complex>("received", received, self.antennas, num_vectors, num_channels, false);
    stream_pointers<Complex>("symbols", symbols, self.streams, num_vectors, num_channels, true);
    const bool with_llrs = llrs.size() > 0;
    if (with_llrs)
        stream_pointers<float>("llrs", llrs, self.llr_streams, num_vectors, num_channels * bits, true);
    // channels are next to each other
    const auto view = [&](const auto &ports, int width) {
        using T = std::remove_pointer_t<typename std::decay_t<decltype(ports)>::value_type>;
        return kaq::PortView<T>{.ports = ports,
                                .num_channels = num_channels,
                                .num_vectors = num_vectors,
                                .channel_stride = width,
                                .vector_stride = static_cast<std::ptrdiff_t>(num_channels) * width,
                                .width = width};
    };
    py::gil_scoped_release release;
    return plan.detect(
        view(self.antennas, 1),
        {.symbols = view(self.streams, 1), .llrs = with_llrs ? view(self.llr_streams, bits) : kaq::PortView<float>{}});
}

} // namespace

void bind_plan(py::module_ &module) {
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
}
