// SPDX-License-Identifier: GPL-3.0-or-later
// gr_kaq.frames._coding: gr-fec's convolutional code for the payloads of frames. Its own bindings keep the
// interpreter's lock for as long as they decode. gr_kaq.frames.payload is the only user.

#include <gnuradio/fec/cc_decoder.h>
#include <gnuradio/fec/cc_encoder.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frames/soft_levels.h"
#include "shapes.h"

namespace py = pybind11;

namespace {

using kaq::expect;

constexpr int constraint_length = 7, tail_bits = constraint_length - 1, rate = 2;
constexpr int max_bits = 1 << 23; // 2048 carriers, 8 streams and 56 symbols need half as many

// The usual generators 171 and 133 (octal), as gr-fec takes them.
const std::vector<int> polynomials{79, 109};

class Coder {
public:
    // num_bits: of a block, before it is coded.
    // scrambler: what the bytes of a block are XORed with before they are coded. A last byte that is not whole counts
    // from its most significant bit.
    // places: of each coded bit, where its LLR is among those of all streams, one stream after the other.
    Coder(int num_bits, const py::bytes &scrambler, std::vector<int> places, int num_streams, float median_level)
        : num_bits_(num_bits), scrambler_(scrambler), places_(std::move(places)), num_streams_(num_streams),
          median_level_(median_level) {
        expect(num_bits > 0 && num_bits <= max_bits, "1 to ", max_bits, " bits expected; ", num_bits, " given");
        expect(scrambler_.size() == num_bytes(), "a scrambler of as many bytes as a block of ", num_bits,
               " bits expected; ", scrambler_.size(), " given");
        expect(places_.size() >= code_bits(), "places of at least ", code_bits(), " coded bits expected; ",
               places_.size(), " given");
        expect(num_streams > 0 && places_.size() % num_streams == 0, "num_streams has to divide ", places_.size(),
               " coded bits; ", num_streams, " given");
        expect_below(places_, static_cast<int>(places_.size()), "places");
        encoder_ = gr::fec::code::cc_encoder::make(num_bits, constraint_length, rate, polynomials, 0, CC_TERMINATED);
        decoder_ = gr::fec::code::cc_decoder::make(num_bits, constraint_length, rate, polynomials, 0, 0, CC_TERMINATED);
        expect(encoder_->get_output_size() == static_cast<int>(code_bits()) &&
                   decoder_->get_input_size() == static_cast<int>(code_bits()),
               "gr-fec's code has another size than expected");
        known_.resize(code_bits());
        levels_.resize(code_bits());
        bits_.resize(num_bits);
    }

    std::size_t code_bits() const { return static_cast<std::size_t>(rate) * (num_bits_ + tail_bits); }

    // Bits, 0 or 1 each, of a block's bytes: the code's, and zeros.
    Array<std::uint8_t> encode(const py::bytes &block) {
        const std::string_view bytes = block;
        expect(bytes.size() == scrambler_.size(), scrambler_.size(), " bytes expected; ", bytes.size(), " given");
        Array<std::uint8_t> coded(static_cast<py::ssize_t>(places_.size()));
        const std::lock_guard lock(in_use_);
        std::fill_n(coded.mutable_data(), coded.size(), std::uint8_t{});
        for (int i = 0; i < num_bits_; ++i)
            bits_[i] = (static_cast<unsigned char>(bytes[i / 8]) ^ static_cast<unsigned char>(scrambler_[i / 8])) >>
                           (7 - i % 8) &
                       1;
        encoder_->generic_work(bits_.data(), coded.mutable_data());
        return coded;
    }

    // The bytes; None where nothing is known of any. llrs: (blocks, coded bits).
    py::list decode(const Array<float> &llrs) {
        const auto length = static_cast<py::ssize_t>(places_.size());
        expect(llrs.ndim() == 2 && llrs.shape(1) == length, "LLRs of shape (blocks, ", length, ") expected; shape ",
               Shape{llrs}, " given");
        return decode_blocks(
            llrs.shape(0), [&](py::ssize_t block) { std::copy_n(llrs.data(block, 0), known_.size(), known_.data()); });
    }

    // The same from the LLRs of each stream, (blocks, coded bits / num_streams).
    py::list decode_streams(const std::vector<Array<float>> &llrs) {
        const py::ssize_t width = static_cast<py::ssize_t>(places_.size()) / num_streams_;
        expect(llrs.size() == static_cast<std::size_t>(num_streams_), "LLRs of ", num_streams_, " streams expected; ",
               llrs.size(), " given");
        const py::ssize_t count = llrs.front().ndim() == 2 ? llrs.front().shape(0) : 0;
        std::vector<const float *> streams;
        for (const Array<float> &of : llrs) {
            expect(of.ndim() == 2 && of.shape(0) == count && of.shape(1) == width, "LLRs of shape (", count, ", ",
                   width, ") of each stream expected; shape ", Shape{of}, " given");
            streams.push_back(of.data());
        }
        all_.resize(places_.size());
        return decode_blocks(count, [&](py::ssize_t block) {
            for (int s = 0; s < num_streams_; ++s)
                std::copy_n(streams[s] + block * width, width, all_.data() + s * width);
            for (std::size_t i = 0; i < known_.size(); ++i)
                known_[i] = all_[places_[i]];
        });
    }

private:
    std::size_t num_bytes() const { return (static_cast<std::size_t>(num_bits_) + 7) / 8; }

    // `load` puts the LLRs of a block into known_.
    template <typename Load>
    py::list decode_blocks(py::ssize_t count, const Load &load) {
        std::vector<std::optional<std::string>> blocks(count);
        {
            const py::gil_scoped_release release;
            const std::lock_guard lock(in_use_);
            for (py::ssize_t block = 0; block < count; ++block) {
                load(block);
                if (!kaq::soft_levels(known_, median_level_, levels_))
                    continue;
                decoder_->generic_work(levels_.data(), bits_.data());
                std::string bytes = scrambler_;
                for (int i = 0; i < num_bits_; ++i)
                    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (bits_[i] & 1) << (7 - i % 8));
                blocks[block] = std::move(bytes);
            }
        }
        py::list found;
        for (const std::optional<std::string> &bytes : blocks)
            found.append(bytes ? py::object(py::bytes(*bytes)) : py::none());
        return found;
    }

    int num_bits_;
    std::string scrambler_;
    std::vector<int> places_;
    int num_streams_;
    float median_level_;
    gr::fec::generic_encoder::sptr encoder_;
    gr::fec::generic_decoder::sptr decoder_;
    std::mutex in_use_;

    std::vector<float> all_, known_;
    std::vector<std::uint8_t> levels_, bits_;
};

} // namespace

PYBIND11_MODULE(_coding, module) {
    module.doc() = "gr-fec's convolutional code for the payloads of frames.";
    expect_known_numpy();
    py::class_<Coder>(module, "Coder")
        .def(py::init<int, const py::bytes &, std::vector<int>, int, float>(), py::kw_only(), py::arg("num_bits"),
             py::arg("scrambler"), py::arg("places"), py::arg("num_streams"), py::arg("median_level"))
        .def_property_readonly("code_bits", &Coder::code_bits)
        .def("encode", &Coder::encode, py::arg("block"))
        .def("decode", &Coder::decode, py::arg("llrs"))
        .def("decode_streams", &Coder::decode_streams, py::arg("llrs"));
}
