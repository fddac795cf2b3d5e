// SPDX-License-Identifier: GPL-3.0-or-later
// kaq_exact_ml: IT++'s Schnorr-Euchner sphere decoder over NumPy arrays, for `benchmarks.report`.

#include <itpp/comm/modulator_nd.h>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace py = pybind11;

namespace {

using Reals = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Levels = py::array_t<std::int8_t>;

// One decoder for all vectors of a size and constellation.
class SphereDecoder {
public:
    SphereDecoder(int size, int num_levels)
        : size_(size), scale_(std::sqrt((num_levels * num_levels - 1) / 3.0)), modulator_(size, num_levels),
          channel_(size, size), received_(size) {}

    // The channel r[size][size], for levels that are odd integers.
    void set_channel(const double *r) {
        for (int row = 0; row < size_; ++row)
            for (int column = 0; column < size_; ++column)
                channel_(row, column) = scale_ * r[row * size_ + column];
    }

    // Writes the odd levels x[size] with the least |y - r x|; there is one closer than `radius`.
    void decode(const double *y, double radius, std::int8_t *levels) {
        for (int row = 0; row < size_; ++row)
            received_(row) = y[row];
        if (modulator_.sphere_decoding(received_, channel_, radius, 10 * radius, 2, soft_bits_) != 0)
            throw std::runtime_error("the sphere decoder found no point within ten times the radius");
        // through IT++'s own mapping from bits to amplitudes, which is not ours
        bits_.set_size(soft_bits_.size());
        for (int i = 0; i < soft_bits_.size(); ++i)
            bits_(i) = soft_bits_(i) < 0;
        const itpp::vec amplitudes = modulator_.modulate_bits(bits_);
        for (int i = 0; i < size_; ++i)
            levels[i] = static_cast<std::int8_t>(std::lround(scale_ * amplitudes(i)));
    }

private:
    int size_;
    double scale_; // of an odd level over IT++'s amplitude, which has unit power
    itpp::ND_UPAM modulator_;
    itpp::mat channel_;
    itpp::vec received_;
    itpp::QLLRvec soft_bits_;
    itpp::bvec bits_;
};

Levels sphere_decode(const Reals &r, const Reals &y, const Reals &radius, int num_levels) {
    if (r.ndim() != 3 || r.shape(1) != r.shape(2) || y.ndim() != 3 || y.shape(0) != r.shape(0) ||
        y.shape(2) != r.shape(2) || radius.ndim() != 2 || radius.shape(0) != y.shape(0) ||
        radius.shape(1) != y.shape(1))
        throw std::invalid_argument("r (C, N, N), y (C, T, N) and radius (C, T) expected");
    if (num_levels < 2 || num_levels > 16 || (num_levels & (num_levels - 1)) != 0)
        throw std::invalid_argument("2, 4, 8 or 16 levels expected");
    const py::ssize_t channels = y.shape(0), vectors = y.shape(1), size = y.shape(2);
    Levels levels({channels, vectors, size});
    const double *channel = r.data(), *received = y.data(), *bound = radius.data();
    std::int8_t *out = levels.mutable_data();
    const py::gil_scoped_release released;
    SphereDecoder decoder(static_cast<int>(size), num_levels);
    for (py::ssize_t c = 0; c < channels; ++c, channel += size * size) {
        decoder.set_channel(channel);
        for (py::ssize_t t = 0; t < vectors; ++t, received += size, out += size, ++bound)
            decoder.decode(received, *bound, out);
    }
    return levels;
}

} // namespace

PYBIND11_MODULE(kaq_exact_ml, m) {
    m.doc() = "IT++'s sphere decoder";
    m.def("sphere_decode", &sphere_decode, py::arg("r"), py::arg("y"), py::arg("radius"), py::arg("num_levels"),
          R"(Odd levels x, int8 (C, T, N), with the least |y - r x|.

    r: float64 (C, N, N) with full rank. y: float64 (C, T, N). radius: (C, T), above the distance of some x.
    num_levels: levels per dimension, 2, 4, 8 or 16: x has entries from -(num_levels - 1) to num_levels - 1.)");
}
