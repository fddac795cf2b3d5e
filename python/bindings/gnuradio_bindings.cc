// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq._gnuradio: what blocks in Python would do slowly, or cannot do. PMT vectors and the buffers of ports as NumPy
// arrays, without a copy, PMT dicts and the tags of a port in one call; threads and message ports without their price
// in memory. Needs the distribution's pybind11, whose GNU Radio bindings know pmt_t.

#include <gnuradio/block.h>
#include <gnuradio/block_detail.h>
#include <gnuradio/buffer.h>
#include <gnuradio/buffer_reader.h>
#include <gnuradio/hier_block2.h>
#include <gnuradio/tags.h>
#include <pmt/pmt.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <complex>
#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "arrays.h"

namespace py = pybind11;

namespace {

// The array does not own its memory: it keeps the vector alive.
py::array_t<std::complex<float>> array_over(const pmt::pmt_t &vector, const std::vector<py::ssize_t> &shape) {
    std::size_t length = 0;
    const std::complex<float> *elements = pmt::c32vector_elements(vector, length);
    const py::capsule owner(new pmt::pmt_t(vector), [](void *held) { delete static_cast<pmt::pmt_t *>(held); });
    return py::array_t<std::complex<float>>(shape, elements, owner);
}

// The same, read-only, as others may hold the vector too.
py::array c32vector_to_numpy(const pmt::pmt_t &vector, const std::vector<py::ssize_t> &shape) {
    py::array_t<std::complex<float>> array = array_over(vector, shape);
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return std::move(array);
}

// All elements in C order; copied, as a PMT owns its memory.
pmt::pmt_t
numpy_to_c32vector(const py::array_t<std::complex<float>, py::array::c_style | py::array::forcecast> &array) {
    return pmt::init_c32vector(static_cast<std::size_t>(array.size()), array.data());
}

// What a PMT says, if that is a number, a c32vector, or a tuple of up to `max_length` integers; otherwise the PMT
// itself. Null pointers, which crash the functions of pmt, become None.
py::object plain(const pmt::pmt_t &value) {
    constexpr std::size_t max_length = 4;
    if (!value)
        return py::none();
    if (pmt::is_integer(value))
        return py::int_(pmt::to_long(value));
    if (pmt::is_uint64(value))
        return py::int_(pmt::to_uint64(value));
    if (pmt::is_real(value))
        return py::float_(pmt::to_double(value));
    if (pmt::is_c32vector(value))
        return c32vector_to_numpy(value, {static_cast<py::ssize_t>(pmt::length(value))});
    if (pmt::is_tuple(value) && pmt::length(value) <= max_length) {
        py::tuple integers(pmt::length(value));
        for (std::size_t i = 0; i < integers.size(); ++i) {
            const pmt::pmt_t element = pmt::tuple_ref(value, i);
            if (!element || !pmt::is_integer(element))
                return py::cast(value);
            integers[i] = py::int_(pmt::to_long(element));
        }
        return std::move(integers);
    }
    return py::cast(value);
}

// Calls `use` with each key and value of a PMT dict, until it returns false, or there were so many that the dict may
// have no end.
template <typename Use>
void for_entries(pmt::pmt_t dict, const Use &use) {
    constexpr int max_entries = 4096;
    for (int i = 0; i < max_entries && dict && pmt::is_pair(dict); ++i, dict = pmt::cdr(dict)) {
        const pmt::pmt_t entry = pmt::car(dict);
        if (!entry || !pmt::is_pair(entry))
            throw std::invalid_argument("an entry of the dict is no pair");
        if (!use(pmt::car(entry), pmt::cdr(entry)))
            return;
    }
}

// The entries of a PMT dict with these names, as `plain` makes them; of equal keys the first counts, as for
// pmt::dict_ref. Other keys may be anything.
py::dict plain_entries(const pmt::pmt_t &dict, const std::vector<std::string> &names) {
    py::dict entries;
    for_entries(dict, [&](const pmt::pmt_t &key, const pmt::pmt_t &value) {
        if (!key || !pmt::is_symbol(key))
            return true;
        const auto name = std::find(names.begin(), names.end(), pmt::symbol_to_string(key));
        if (name != names.end() && !entries.contains(*name))
            entries[py::str(*name)] = plain(value);
        return entries.size() < names.size();
    });
    return entries;
}

// A dict of the entries that have a symbol for a key and a value that is no null pointer: whoever reads it does not
// crash at the others. Of equal keys the first counts.
pmt::pmt_t safe_dict(const pmt::pmt_t &dict) {
    std::vector<std::pair<pmt::pmt_t, pmt::pmt_t>> entries;
    std::unordered_set<pmt::pmt_t> keys; // equal symbols are the same object
    for_entries(dict, [&](const pmt::pmt_t &key, const pmt::pmt_t &value) {
        if (key && pmt::is_symbol(key) && value && keys.insert(key).second)
            entries.emplace_back(key, value);
        return true;
    });
    pmt::pmt_t safe = pmt::make_dict();
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) // the first is the newest
        safe = pmt::acons(entry->first, entry->second, safe);
    return safe;
}

// Reads channel estimates that are as they are sent. It leaves all others to csi_pmt.parse_channel, which takes more
// forms, and says what is wrong.
class EstimateReader {
public:
    // What csi.py says of an estimate.
    EstimateReader(const std::array<long, 3> &shape, const std::pair<float, float> &amplitude_range,
                   double max_noise_var, const std::pair<double, double> &snr_range_db)
        : shape_(shape), amplitude_range_(amplitude_range), noise_var_range_(0, max_noise_var),
          snr_range_(snr_range_db) {}

    // A tuple: h of the shape, noise_var, snr, seq, the last three None where they are not there; or the PMT.
    py::object read(const pmt::pmt_t &value) const {
        pmt::pmt_t h, shape, noise_var, snr, seq, noise_cov;
        const std::pair<const pmt::pmt_t *, pmt::pmt_t *> names[] = {
            {&h_, &h},     {&shape_name_, &shape}, {&noise_var_, &noise_var},
            {&snr_, &snr}, {&seq_, &seq},          {&noise_cov_, &noise_cov}};
        try {
            for_entries(value, [&](const pmt::pmt_t &key, const pmt::pmt_t &of) {
                for (const auto &[name, to] : names)
                    if (key == *name && !*to) // equal symbols are the same object; of equal keys the first counts
                        *to = of ? of : pmt::PMT_NIL;
                return true;
            });
        } catch (const std::invalid_argument &) {
            return py::cast(value);
        }
        if (noise_cov || !is_channel(h, shape) || !is_within(noise_var, noise_var_range_) ||
            !is_within(snr, snr_range_) || (seq && !pmt::is_uint64(seq)))
            return py::cast(value);
        const auto number = [](const pmt::pmt_t &of) {
            return of ? py::object(py::float_(pmt::to_double(of))) : py::none();
        };
        return py::make_tuple(c32vector_to_numpy(h, {shape_[0], shape_[1], shape_[2]}), number(noise_var), number(snr),
                              seq ? py::object(py::int_(pmt::to_uint64(seq))) : py::none());
    }

private:
    bool is_channel(const pmt::pmt_t &h, const pmt::pmt_t &shape) const {
        if (!h || !shape || !pmt::is_c32vector(h) || !pmt::is_tuple(shape) || pmt::length(shape) != shape_.size())
            return false;
        for (std::size_t i = 0; i < shape_.size(); ++i) {
            const pmt::pmt_t length = pmt::tuple_ref(shape, i);
            if (!length || !pmt::is_integer(length) || pmt::to_long(length) != shape_[i])
                return false;
        }
        std::size_t length = 0;
        const std::complex<float> *elements = pmt::c32vector_elements(h, length);
        const float *parts = reinterpret_cast<const float *>(elements);
        if (length != static_cast<std::size_t>(shape_[0] * shape_[1] * shape_[2]))
            return false;
        float largest = 0;
        bool finite = true;
        for (std::size_t i = 0; i < 2 * length; ++i) {
            const float part = std::abs(parts[i]);
            largest = std::max(largest, part);
            finite &= part <= amplitude_range_.second; // NaN is not
        }
        return finite && (largest == 0 || largest >= amplitude_range_.first);
    }

    static bool is_within(const pmt::pmt_t &number, const std::pair<double, double> &range) {
        if (!number)
            return true;
        if (!pmt::is_real(number))
            return false;
        const double value = pmt::to_double(number);
        return value >= range.first && value <= range.second;
    }

    const pmt::pmt_t h_ = pmt::intern("h"), shape_name_ = pmt::intern("shape"), noise_var_ = pmt::intern("noise_var"),
                     snr_ = pmt::intern("snr"), seq_ = pmt::intern("seq"), noise_cov_ = pmt::intern("noise_cov");
    const std::array<long, 3> shape_;
    const std::pair<float, float> amplitude_range_; // of the largest part; or all are zero
    const std::pair<double, double> noise_var_range_, snr_range_;
};

// What gr::block lets only blocks do.
struct Tags : gr::block {
    // Those at the next `count` items of input 0.
    static std::vector<gr::tag_t> read(gr::block &block, std::uint64_t count) {
        using Read = void (gr::block::*)(std::vector<gr::tag_t> &, unsigned, std::uint64_t, std::uint64_t);
        std::vector<gr::tag_t> tags;
        (block.*static_cast<Read>(&Tags::get_tags_in_window))(tags, 0, 0, count);
        return tags;
    }

    static void add(gr::block &block, unsigned output, const gr::tag_t &tag) {
        using Add = void (gr::block::*)(unsigned, const gr::tag_t &);
        (block.*static_cast<Add>(&Tags::add_item_tag))(output, tag);
    }
};

// Puts the tags at the next `count` items of input 0 on outputs, and gives those with one of `keys`: the item, counted
// from the next one on, the number of the key, and the value; of the first key, as `estimates`, where there is one,
// reads it.
py::list pass_tags(gr::block &block, std::uint64_t count, const std::vector<unsigned> &outputs,
                   const std::vector<pmt::pmt_t> &keys, const EstimateReader *estimates) {
    const std::uint64_t next = block.nitems_read(0);
    py::list found;
    for (gr::tag_t &tag : Tags::read(block, count)) {
        for (std::size_t i = 0; i < keys.size(); ++i)
            if (tag.key && pmt::eq(tag.key, keys[i]))
                found.append(py::make_tuple(tag.offset - next, i,
                                            i == 0 && estimates ? estimates->read(tag.value) : py::cast(tag.value)));
        for (pmt::pmt_t *part : {&tag.key, &tag.value, &tag.srcid})
            if (!*part)
                *part = pmt::PMT_NIL; // a null pointer crashes who reads it
        for (const unsigned output : outputs)
            Tags::add(block, output, tag);
    }
    return found;
}

// Of the tags at the next `count` items of input 0: where those with the key are, counted from the next item on, and
// their values, of which those that are null pointers become nil; and all others, by item.
py::tuple split_tags(gr::block &block, std::uint64_t count, const pmt::pmt_t &key) {
    const std::uint64_t next = block.nitems_read(0);
    py::list items, values, others;
    for (const gr::tag_t &tag : Tags::read(block, count)) {
        if (tag.key && pmt::eq(tag.key, key)) {
            items.append(tag.offset - next);
            values.append(tag.value ? tag.value : pmt::PMT_NIL);
        } else {
            others.append(py::make_tuple(tag.offset - next, tag));
        }
    }
    return py::make_tuple(items, values, others);
}

// Memory for c32vectors of one length. A vector is used again when nobody else has it any more: who made a tag cannot
// know when its last reader lets go of it, but that it has.
class VectorPool {
public:
    explicit VectorPool(std::size_t length) : length_(length) {}

    // So many vectors that nobody else has, and for each an array over its memory. Only who took them may write there,
    // and before others get the vectors.
    py::tuple take(std::size_t count) {
        py::list vectors, arrays;
        for (std::size_t i = 0; i < count; ++i) {
            const pmt::pmt_t vector = next();
            vectors.append(vector);
            arrays.append(array_over(vector, {static_cast<py::ssize_t>(length_)}));
        }
        return py::make_tuple(vectors, arrays);
    }

private:
    // One of those that were taken longest ago, if it is free; or a new one. Somebody may keep one for ever: it is
    // passed over, and with too many of them the pool forgets the oldest.
    pmt::pmt_t next() {
        constexpr int looked_at = 4;
        constexpr std::size_t max_values = 1 << 23; // of all vectors
        for (int i = 0; i < looked_at && !vectors_.empty(); ++i) {
            vectors_.push_back(std::move(vectors_.front()));
            vectors_.pop_front();
            if (vectors_.back().use_count() == 1) {
                std::atomic_thread_fence(std::memory_order_acquire); // after what others have read of it
                return vectors_.back();
            }
        }
        vectors_.push_back(pmt::make_c32vector(length_, 0));
        if (vectors_.size() * length_ > max_values)
            vectors_.pop_front();
        return vectors_.back();
    }

    std::size_t length_;
    std::deque<pmt::pmt_t> vectors_;
};

// Tags on output 0 with these values, the first at this item, the others `spacing` items apart.
void add_tags(gr::block &block, std::uint64_t first, const pmt::pmt_t &key, const std::vector<pmt::pmt_t> &values,
              std::uint64_t spacing) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        gr::tag_t tag;
        tag.offset = first + i * spacing;
        tag.key = key;
        tag.value = values[i];
        tag.srcid = pmt::PMT_F;
        Tags::add(block, 0, tag);
    }
}

// A dict with these entries added; values are PMTs, floats, or integers that are not negative.
pmt::pmt_t extend_dict(pmt::pmt_t dict, const std::vector<pmt::pmt_t> &keys, const py::sequence &values) {
    if (keys.size() != values.size())
        throw std::invalid_argument("as many keys as values expected");
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const py::object value = values[i];
        dict = pmt::dict_add(dict, keys[i],
                             py::isinstance<py::float_>(value) ? pmt::from_double(value.cast<double>())
                             : py::isinstance<py::int_>(value) ? pmt::from_uint64(value.cast<std::uint64_t>())
                                                               : value.cast<pmt::pmt_t>());
    }
    return dict;
}

// A PDU of these bytes.
pmt::pmt_t make_pdu(const py::bytes &data, const pmt::pmt_t &metadata) {
    const std::string_view bytes = data;
    return pmt::cons(metadata, pmt::init_u8vector(bytes.size(), reinterpret_cast<const std::uint8_t *>(bytes.data())));
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

// A block as GNU Radio's functions take it, which keeps the Python object that it calls for as long as a flowgraph
// keeps the block. pybind11 would find the gateway's own Python object again, whose pointer does not do so: hence a
// new one.
py::object owned_block(const py::object &block, gr::basic_block &gateway) {
    const auto release = [](PyObject *object) {
        if (!Py_IsInitialized())
            return; // the interpreter has ended, and its objects with it
        const py::gil_scoped_acquire lock;
        Py_DECREF(object);
    };
    const std::shared_ptr<PyObject> owner(block.inc_ref().ptr(), release);
    const gr::basic_block_sptr owned(owner, &gateway);
    const py::detail::type_info *type = py::detail::get_type_info(typeid(gr::basic_block));
    py::object handle = py::reinterpret_steal<py::object>(py::detail::make_new_instance(type->type));
    auto *instance = reinterpret_cast<py::detail::instance *>(handle.ptr());
    instance->owned = true;
    py::detail::value_and_holder held = *py::detail::values_and_holders(instance).begin();
    held.value_ptr() = &gateway;
    type->init_instance(instance, &owned);
    held.holder<gr::basic_block_sptr>() = owned; // and not the gateway's shared_from_this()
    return handle;
}

// The blocks that streams connect with this one, itself included.
std::vector<gr::block_sptr> connected_blocks(gr::block &first) {
    std::vector<gr::block_sptr> found{std::static_pointer_cast<gr::block>(first.shared_from_this())};
    const auto add = [&found](const gr::block_sptr &block) {
        if (std::find(found.begin(), found.end(), block) == found.end())
            found.push_back(block);
    };
    for (std::size_t next = 0; next < found.size(); ++next) {
        const gr::block_detail_sptr detail = found[next]->detail();
        for (int i = 0; detail && i < detail->ninputs(); ++i)
            add(detail->input(i)->buffer()->link());
        for (int i = 0; detail && i < detail->noutputs(); ++i)
            for (std::size_t reader = 0; reader < detail->output(i)->nreaders(); ++reader)
                add(detail->output(i)->reader(reader)->link());
    }
    return found;
}

// Has all of them end, after what they are at.
void end_flowgraph(gr::block &block) {
    for (const gr::block_sptr &each : connected_blocks(block))
        each->_post(pmt::intern("system"), pmt::cons(pmt::intern("done"), pmt::from_long(1)));
}

using BlockNumbers = std::unordered_set<long>;

// How many items wait on their way to an input: in front of it, and of the blocks before it that are not `ours`.
double waiting_at(const gr::block_detail_sptr &detail, int input, const BlockNumbers &ours) {
    const gr::block_sptr before = detail->input(input)->buffer()->link();
    double most = 0;
    if (!ours.count(before->unique_id()))
        for (int i = 0; i < before->detail()->ninputs(); ++i)
            most = std::max(most, waiting_at(before->detail(), i, ours));
    return detail->input(input)->items_available() + most * before->relative_rate();
}

// Which buffers the block has, as an address, and how many items wait on their way to each input.
std::pair<std::uintptr_t, std::vector<int>> waiting_items(const gr::block &block, const BlockNumbers &ours) {
    std::vector<int> items;
    const gr::block_detail_sptr detail = block.detail();
    for (int i = 0; detail && i < detail->ninputs(); ++i)
        items.push_back(static_cast<int>(waiting_at(detail, i, ours)));
    return {reinterpret_cast<std::uintptr_t>(detail.get()), items};
}

// Which of `ours` read what this one gives out, as it is or behind others.
BlockNumbers reading_blocks(const gr::block &block, const BlockNumbers &ours) {
    BlockNumbers found;
    const gr::block_detail_sptr detail = block.detail();
    for (int i = 0; detail && i < detail->noutputs(); ++i)
        for (std::size_t reader = 0; reader < detail->output(i)->nreaders(); ++reader) {
            const gr::block_sptr behind = detail->output(i)->reader(reader)->link();
            if (ours.count(behind->unique_id()))
                found.insert(behind->unique_id());
            else
                found.merge(reading_blocks(*behind, ours));
        }
    return found;
}

} // namespace

PYBIND11_MODULE(_gnuradio, module) {
    module.doc() = "PMT vectors and port buffers as NumPy arrays, and PMT dicts.";
    expect_known_numpy();
    py::module_::import("pmt");         // registers pmt_t
    py::module_::import("gnuradio.gr"); // and the blocks
    module.def("plain", &plain, "A PMT number, c32vector or short tuple of integers as such; any other PMT itself.");
    module.def("keep_thread_state", &keep_thread_state,
               "Keep Python's state of this thread between calls; returns whether it is to be dropped again.");
    module.def(
        "drop_thread_state", [] { PyGILState_Release(PyGILState_LOCKED); },
        "Undo one `keep_thread_state` of this thread that returned True.");
    module.def("owned_block", &owned_block, "A block as connect() takes it, which keeps the Python object.");
    module.def("end_flowgraph", &end_flowgraph, "Have all blocks that streams connect with this one end.");
    module.def("waiting_items", &waiting_items,
               "Which buffers the block has, as a number, and how many items wait on their way to each input.",
               py::arg("block"), py::arg("ours"));
    module.def("reading_blocks", &reading_blocks, "Which of `ours` read what the block gives out.", py::arg("block"),
               py::arg("ours"));
    module.def("port_arrays", &port_arrays, "The items of ports as arrays over GNU Radio's buffers.");
    module.def("connect_own_message_port", &connect_own_message_port,
               "Connect a message port of a hierarchical block with one of a part of it; they can be freed afterwards.",
               py::arg("block"), py::arg("port"), py::arg("part"), py::arg("port_of_part"), py::arg("is_input"));
    module.def("plain_entries", &plain_entries, "Entries of a PMT dict with these names, each as `plain` makes it.");
    module.def("safe_dict", &safe_dict, "A dict of those entries that cannot crash who reads them.");
    py::class_<EstimateReader>(module, "EstimateReader", "Reads channel estimates that are as they are sent.")
        .def(py::init<const std::array<long, 3> &, const std::pair<float, float> &, double,
                      const std::pair<double, double> &>(),
             py::arg("shape"), py::arg("amplitude_range"), py::arg("max_noise_var"), py::arg("snr_range_db"));
    module.def(
        "pass_tags", &pass_tags,
        "Put the tags of input 0 on outputs; those with one of the keys: item, number of the key, value as read.");
    module.def("split_tags", &split_tags,
               "Of the next tags of input 0: items and values of those with the key, and all others by item.");
    py::class_<VectorPool>(module, "VectorPool")
        .def(py::init<std::size_t>(), py::arg("length"))
        .def("take", &VectorPool::take, py::arg("count"), "So many c32vectors, and an array over each.");
    module.def("add_tags", &add_tags, "Tags with one key on output 0, so many items apart.", py::arg("block"),
               py::arg("first"), py::arg("key"), py::arg("values"), py::arg("spacing") = 1);
    module.def("extend_dict", &extend_dict, "A dict with PMTs, floats and integers added under these keys.");
    module.def("make_pdu", &make_pdu, "A PDU of bytes and a metadata dict.");
    module.def("numpy_to_c32vector", &numpy_to_c32vector, "A c32vector of all elements of an array, in C order.");
}
