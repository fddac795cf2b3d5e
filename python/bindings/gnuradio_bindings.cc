// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._gnuradio: what blocks in Python would do slowly, or cannot do. PMT vectors and the buffers of ports as NumPy
// arrays, without a copy, PMT dicts in one call; threads and message ports without their price in memory. Needs the
// distribution's pybind11, whose GNU Radio bindings know pmt_t.

#include <gnuradio/hier_block2.h>
#include <pmt/pmt.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <complex>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

// The array does not own its memory: it keeps the vector alive, and is read-only, as others may hold the vector too.
py::array c32vector_to_numpy(const pmt::pmt_t &vector) {
    if (!vector || !pmt::is_c32vector(vector))
        throw std::invalid_argument("a c32vector expected");
    std::size_t length = 0;
    const std::complex<float> *elements = pmt::c32vector_elements(vector, length);
    const py::capsule owner(new pmt::pmt_t(vector), [](void *held) { delete static_cast<pmt::pmt_t *>(held); });
    py::array_t<std::complex<float>> array(static_cast<py::ssize_t>(length), elements, owner);
    array.attr("setflags")(false);
    return std::move(array);
}

// All elements in C order; copied, as a PMT owns its memory.
pmt::pmt_t
numpy_to_c32vector(const py::array_t<std::complex<float>, py::array::c_style | py::array::forcecast> &array) {
    return pmt::init_c32vector(static_cast<std::size_t>(array.size()), array.data());
}

// The first `limit` entries of a PMT dict under their symbol keys; of equal keys the first counts, as for
// pmt::dict_ref. Null pointers, which crash the functions of pmt, become None.
py::dict dict_entries(pmt::pmt_t dict, int limit) {
    py::dict entries;
    for (; limit > 0 && dict && pmt::is_pair(dict); --limit, dict = pmt::cdr(dict)) {
        const pmt::pmt_t entry = pmt::car(dict);
        if (!entry || !pmt::is_pair(entry))
            throw std::invalid_argument("an entry of the dict is no pair");
        const pmt::pmt_t key = pmt::car(entry);
        if (!key || !pmt::is_symbol(key))
            continue;
        const py::str name(pmt::symbol_to_string(key));
        if (!entries.contains(name))
            entries[name] = pmt::cdr(entry);
    }
    return entries;
}

// The integers of a PMT tuple of up to `limit`; None if it is anything else.
py::object tuple_to_integers(const pmt::pmt_t &value, std::size_t limit) {
    if (!value || !pmt::is_tuple(value) || pmt::length(value) > limit)
        return py::none();
    const std::size_t length = pmt::length(value);
    py::tuple integers(length);
    for (std::size_t i = 0; i < length; ++i) {
        const pmt::pmt_t element = pmt::tuple_ref(value, i);
        if (!element || !pmt::is_integer(element))
            return py::none();
        integers[i] = py::int_(pmt::to_long(element));
    }
    return std::move(integers);
}

// `count` items of each port, whose capsule holds the address, as an array; the items of type dtypes[i], a vector for
// one with a shape.
py::list port_arrays(const py::sequence &capsules, const py::sequence &dtypes, py::ssize_t count) {
    py::list arrays;
    for (std::size_t i = 0; i < capsules.size(); ++i) {
        const py::capsule capsule = capsules[i];
        const py::dtype dtype = dtypes[i];
        const py::tuple vector = dtype.attr("shape");
        std::vector<py::ssize_t> shape{count};
        for (const py::handle length : vector)
            shape.push_back(length.cast<py::ssize_t>());
        const py::dtype base = vector.empty() ? dtype : py::dtype(dtype.attr("base"));
        // a base, or the items would be copied
        arrays.append(py::array(base, shape, capsule.get_pointer<void>(), capsule));
    }
    return arrays;
}

// Where C++ calls Python from a thread of its own, as GNU Radio does, pybind11 makes a thread state for each call and
// deletes it afterwards, stack and all: two system calls that interrupt all other threads. One more reference keeps it.
bool keep_thread_state() {
    if (PyGILState_GetThisThreadState() != PyThreadState_Get())
        return false;
    PyGILState_Ensure();
    return true;
}

// A hierarchical block keeps what it connects, and with a message port of its own, itself: neither it nor the buffers
// of what it holds would ever be freed. So the connection gets a pointer to the block that does not own it.
void connect_own_message_port(const gr::basic_block_sptr &block, const std::string &port,
                              const gr::basic_block_sptr &part, const std::string &port_of_part, bool is_input) {
    auto *hierarchical = dynamic_cast<gr::hier_block2 *>(block.get());
    if (!hierarchical || !part)
        throw std::invalid_argument("a hierarchical block and a part of it expected");
    const gr::basic_block_sptr borrowed(std::shared_ptr<void>(), block.get());
    const pmt::pmt_t own = pmt::intern(port), other = pmt::intern(port_of_part);
    if (is_input)
        hierarchical->msg_connect(borrowed, own, part, other);
    else
        hierarchical->msg_connect(part, other, borrowed, own);
}

} // namespace

PYBIND11_MODULE(_gnuradio, module) {
    module.doc() = "PMT vectors and port buffers as NumPy arrays, and PMT dicts.";
    py::module_::import("pmt");         // registers pmt_t
    py::module_::import("gnuradio.gr"); // and the blocks
    module.def("tuple_to_integers", &tuple_to_integers,
               "Integers of a PMT tuple of up to `limit`; None if it is none.");
    module.def("keep_thread_state", &keep_thread_state,
               "Keep Python's state of this thread between calls; returns whether it is to be dropped again.");
    module.def(
        "drop_thread_state", [] { PyGILState_Release(PyGILState_LOCKED); },
        "Undo one `keep_thread_state` of this thread that returned True.");
    module.def("port_arrays", &port_arrays, "The items of ports as arrays over GNU Radio's buffers.");
    module.def("connect_own_message_port", &connect_own_message_port,
               "Connect a message port of a hierarchical block with one of a part of it; they can be freed afterwards.",
               py::arg("block"), py::arg("port"), py::arg("part"), py::arg("port_of_part"), py::arg("is_input"));
    module.def("dict_entries", &dict_entries, "Entries of a PMT dict, at most `limit`, by the name of their symbol.");
    module.def("numpy_to_c32vector", &numpy_to_c32vector, "A c32vector of all elements of an array, in C order.");
    module.def("c32vector_to_numpy", &c32vector_to_numpy,
               "A c32vector as a read-only complex64 array, without a copy.");
}
