// SPDX-License-Identifier: GPL-3.0-or-later
// What the plans of all networks share on their way to Python: channels, samples and results as NumPy arrays. Arrays
// arrive checked, and what is checked again here is what would otherwise touch memory out of bounds.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "detection/instruction_sets.h"
#include "detection/noise.h"
#include "detection/ports.h"
#include "shapes.h"

// y has to be (C, T, num_rx); returns T.
template <typename Of>
int check_received(const Of &plan, const Array<Complex> &y) {
    kaq::expect(y.ndim() == 3 && y.shape(0) == plan.num_channels() && y.shape(2) == plan.num_rx(), "y of shape (",
                plan.num_channels(), ", T, ", plan.num_rx(), ") expected; shape ", Shape{y}, " given");
    constexpr int most = std::numeric_limits<int>::max();
    kaq::expect(y.shape(1) <= most, most, " vectors in one call at most; ", y.shape(1), " given");
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

// Pointers to the data of arrays (T, width) whose rows are contiguous. Returns how many values lie from the beginning
// of one row to that of the next: the same for all, and more than `width` where the rows are parts of wider ones.
template <typename T, typename Pointer>
std::ptrdiff_t stream_pointers(const char *name, const pybind11::sequence &arrays, std::vector<Pointer> &pointers,
                               pybind11::ssize_t num_vectors, pybind11::ssize_t width, bool written) {
    kaq::expect(arrays.size() == pointers.size(), name, ": ", pointers.size(), " streams expected; ", arrays.size(),
                " given");
    constexpr pybind11::ssize_t size = sizeof(T);
    pybind11::ssize_t row = width * size; // in bytes, as NumPy counts
    for (std::size_t i = 0; i < pointers.size(); ++i) {
        const pybind11::object item = arrays[i];
        kaq::expect(pybind11::array_t<T, 0>::check_(item), name, ": stream ", i,
                    " is no array of the right type: complex64, or float32 for LLRs");
        const auto array = pybind11::reinterpret_borrow<pybind11::array>(item);
        kaq::expect(array.ndim() == 2 && array.shape(0) == num_vectors && array.shape(1) == width, name, ": stream ", i,
                    " of shape (", num_vectors, ", ", width, ") expected; shape ", Shape{array}, " given");
        kaq::expect(!written || array.writeable(), name, ": stream ", i, " is read-only");
        kaq::expect(array.flags() & pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_, name, ": stream ", i,
                    " is not aligned for its type");
        // a stride that nothing is read by may be any number
        kaq::expect(num_vectors == 0 || width == 1 || array.strides(1) == size, name, ": stream ", i,
                    " has rows that are not contiguous");
        if (num_vectors > 1) {
            const pybind11::ssize_t stride = array.strides(0);
            kaq::expect(stride >= width * size && stride % size == 0 && (i == 0 || stride == row), name, ": stream ", i,
                        " has rows ", stride, " bytes apart; ", i == 0 ? width * size : row,
                        i == 0 ? " or more expected" : " expected, as in the others");
            row = stride;
        }
        pointers[i] = static_cast<Pointer>(const_cast<void *>(array.data()));
    }
    return row / size;
}

// Some vectors of all streams, and the estimate that is for them; no h: the one that was prepared last.
struct Piece {
    int first, count;
    const Complex *h;
    double noise;
    bool is_snr_db;
    int vectors_per_estimate;
};

// A plan, and pointers to its streams, so that a call does not allocate.
template <typename Of>
struct BoundPlan {
    Of plan;
    std::vector<const Complex *> antennas;
    std::vector<Complex *> streams;
    std::vector<float *> llr_streams;
    std::mutex in_use;
    std::vector<Piece> pieces;

    template <typename Network>
    BoundPlan(const Network &network, const std::string &instruction_set, int num_channels, int num_rx, int num_tx,
              int num_threads)
        : plan(network, instruction_set.empty() ? kaq::select_kernel() : kaq::kernel_named(instruction_set),
               num_channels, num_rx, num_tx, num_threads),
          antennas(num_rx), streams(num_tx), llr_streams(num_tx) {}

    int llrs_of_symbol() const { return 2 * plan.network().bits_per_dimension; }

    // Two threads in one plan would overwrite each other's buffers.
    std::unique_lock<std::mutex> use() {
        std::unique_lock<std::mutex> lock(in_use, std::try_to_lock);
        if (!lock.owns_lock())
            throw std::runtime_error("another thread is using this plan; each thread needs one of its own");
        return lock;
    }

    void check_shape(const pybind11::array &h) const {
        kaq::expect(h.ndim() == 3 && h.shape(0) == plan.num_channels() && h.shape(1) == plan.num_rx() &&
                        h.shape(2) == plan.num_tx(),
                    "h of shape (", plan.num_channels(), ", ", plan.num_rx(), ", ", plan.num_tx(), ") expected; shape ",
                    Shape{h}, " given");
    }

    void prepare(const Array<Complex> &h, const Array<double> &noise, bool is_snr_db, int vectors_per_estimate) {
        check_shape(h);
        kaq::expect(noise.size() == 1 || noise.size() == plan.num_channels(), "one noise variance or SNR, or ",
                    plan.num_channels(), ", expected; ", noise.size(), " given");
        const auto lock = use();
        const std::span<const Complex> channels = values_of(h);
        const kaq::Noise given =
            is_snr_db ? kaq::Noise::of_snr_db(values_of(noise)) : kaq::Noise::of_variance(values_of(noise));
        pybind11::gil_scoped_release release;
        plan.prepare(channels, given, vectors_per_estimate);
    }

    std::size_t detect(const Array<Complex> &y, Array<Complex> &symbols, Array<float> &llrs) {
        const int num_vectors = check_received(plan, y), num_channels = plan.num_channels(), bits = llrs_of_symbol();
        const pybind11::ssize_t num_symbols = y.shape(0) * y.shape(1) * plan.num_tx();
        kaq::expect(symbols.size() == num_symbols, "room for ", num_symbols, " symbols expected; ", symbols.size(),
                    " given");
        kaq::expect(llrs.size() == num_symbols * bits, "room for ", num_symbols * bits, " LLRs expected; ", llrs.size(),
                    " given");
        const auto lock = use();
        for (int i = 0; i < plan.num_rx(); ++i)
            antennas[i] = y.data() + i;
        for (int j = 0; j < plan.num_tx(); ++j) {
            streams[j] = symbols.mutable_data() + j;
            llr_streams[j] = llrs.mutable_data() + j * bits;
        }
        pybind11::gil_scoped_release release;
        return plan.detect(contiguous(antennas, num_channels, num_vectors, 1),
                           {.symbols = contiguous(streams, num_channels, num_vectors, 1),
                            .llrs = contiguous(llr_streams, num_channels, num_vectors, bits)});
    }

    struct Views {
        kaq::ReceivedView from;
        kaq::DetectedView to;
    };

    Views stream_views(const pybind11::sequence &received, const pybind11::sequence &symbols,
                       const pybind11::sequence &llrs) {
        const int num_channels = plan.num_channels(), bits = llrs_of_symbol();
        kaq::expect(received.size() > 0 && pybind11::isinstance<pybind11::array>(received[0]),
                    "received: a list of streams, arrays of shape (T, ", num_channels, "), expected");
        const auto first = pybind11::reinterpret_borrow<pybind11::array>(received[0]);
        kaq::expect(first.ndim() == 2, "received: streams of shape (T, ", num_channels, ") expected; shape ",
                    Shape{first}, " given");
        constexpr int most = std::numeric_limits<int>::max();
        kaq::expect(first.shape(0) <= most, most, " vectors in one call at most; ", first.shape(0), " given");
        const int num_vectors = static_cast<int>(first.shape(0));
        // channels are next to each other
        const auto view = [&](const auto &ports, int width, std::ptrdiff_t vector_stride) {
            using T = std::remove_pointer_t<typename std::decay_t<decltype(ports)>::value_type>;
            return kaq::PortView<T>{.ports = ports,
                                    .num_channels = num_channels,
                                    .num_vectors = num_vectors,
                                    .channel_stride = width,
                                    .vector_stride = vector_stride,
                                    .width = width};
        };
        const auto from = view(
            antennas, 1, stream_pointers<Complex>("received", received, antennas, num_vectors, num_channels, false));
        kaq::DetectedView to{
            view(streams, 1, stream_pointers<Complex>("symbols", symbols, streams, num_vectors, num_channels, true))};
        if (llrs.size() > 0)
            to.llrs = view(llr_streams, bits,
                           stream_pointers<float>("llrs", llrs, llr_streams, num_vectors, num_channels * bits, true));
        return {from, to};
    }

    std::size_t detect_streams(const pybind11::sequence &received, const pybind11::sequence &symbols,
                               const pybind11::sequence &llrs) {
        const auto lock = use();
        const Views views = stream_views(received, symbols, llrs);
        pybind11::gil_scoped_release release;
        return plan.detect(views.from, views.to);
    }

    // Of the fields of gr_kaq.detection.result.Piece.
    Piece piece_of(const pybind11::sequence &fields, int num_vectors) const {
        const auto number = [&](int i) { return fields[i].template cast<int>(); };
        const int first = number(0), last = number(1);
        kaq::expect(first >= 0 && first <= last && last <= num_vectors, "a piece of vectors ", first, " to ", last,
                    " given; ", num_vectors, " are there");
        Piece piece{first, last - first, nullptr, 0, false, number(5)};
        const pybind11::object h = fields[2], snr_db = fields[3], noise_var = fields[4];
        if (fields[6].template cast<bool>())
            return piece;
        kaq::expect(Array<Complex>::check_(h), "h of complex64 in C order expected");
        const auto channels = pybind11::reinterpret_borrow<Array<Complex>>(h); // the caller's piece keeps it
        check_shape(channels);
        piece.h = channels.data();
        piece.is_snr_db = !snr_db.is_none();
        kaq::expect(piece.is_snr_db == noise_var.is_none(), "exactly one of snr_db and noise_var is expected");
        piece.noise = (piece.is_snr_db ? snr_db : noise_var).template cast<double>();
        kaq::expect(std::isfinite(piece.noise) && (piece.is_snr_db || piece.noise >= 0),
                    piece.is_snr_db ? "snr_db has to be finite" : "noise_var has to be finite and not negative");
        return piece;
    }

    // One estimate after the other, so that Python has its price once.
    std::size_t detect_pieces(const pybind11::sequence &of_pieces, const pybind11::sequence &received,
                              const pybind11::sequence &symbols, const pybind11::sequence &llrs) {
        const auto lock = use();
        const Views views = stream_views(received, symbols, llrs);
        pieces.clear();
        for (const auto &piece : of_pieces)
            pieces.push_back(piece_of(pybind11::reinterpret_borrow<pybind11::sequence>(piece), views.from.num_vectors));
        const std::size_t num_entries = static_cast<std::size_t>(plan.num_channels()) * plan.num_rx() * plan.num_tx();
        pybind11::gil_scoped_release release;
        std::size_t num_invalid = 0;
        for (const Piece &piece : pieces) {
            if (piece.h) {
                const std::span<const double> noise(&piece.noise, 1);
                plan.prepare({piece.h, num_entries},
                             piece.is_snr_db ? kaq::Noise::of_snr_db(noise) : kaq::Noise::of_variance(noise),
                             std::max(1, piece.vectors_per_estimate));
            }
            num_invalid +=
                plan.detect(views.from.vectors(piece.first, piece.count), views.to.vectors(piece.first, piece.count));
        }
        return num_invalid;
    }
};
