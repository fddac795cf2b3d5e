// SPDX-License-Identifier: GPL-3.0-or-later
// From the samples of a batch to symbols and LLRs, one vector in each lane. Compiled for the instruction set of each
// kernel.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "detection/fixed_point.h"
#include "detection/float_layers.h"
#include "detection/integer_layers.h"
#include "detection/kernel.h"
#include "detection/lane_places.h"
#include "detection/pam_bits.h"
#include "detection/unfolded_batch.h"
#include "support/assert.h"

namespace kaq {
namespace {

constexpr float largest_state = 1e9f; // of estimates that layers in single precision take

// M^H x for streams first.. of `Vectors` vectors. Real and imaginary parts of M have sums of their own.
template <int Streams, int Vectors>
[[gnu::always_inline]] inline void conjugate_block(const Matrix &m, int num_inputs, int first, const ComplexLanes *x,
                                                   ComplexLanes *out) {
    ComplexLanes by_re[Streams][Vectors] = {}, by_im[Streams][Vectors] = {};
    for (int k = 0; k < num_inputs; ++k)
        for (int s = 0; s < Streams; ++s) {
            const Lanes re = m.real(k, first + s), im = m.imag(k, first + s);
            for (int v = 0; v < Vectors; ++v) {
                ComplexLanes input = x[k * Vectors + v];
                keep(input.re), keep(input.im);
                by_re[s][v].re = plus_product(by_re[s][v].re, re, input.re);
                by_re[s][v].im = plus_product(by_re[s][v].im, re, input.im);
                by_im[s][v].re = plus_product(by_im[s][v].re, im, input.re);
                by_im[s][v].im = plus_product(by_im[s][v].im, im, input.im);
            }
        }
    for (int s = 0; s < Streams; ++s)
        for (int v = 0; v < Vectors; ++v)
            out[(first + s) * Vectors + v] = {by_re[s][v].re + by_im[s][v].im, by_re[s][v].im - by_im[s][v].re};
}

// Inputs and outputs [..][vector].
template <int Vectors>
inline void conjugate_product(const Matrix &m, int num_inputs, const ComplexLanes *x, ComplexLanes *out) {
    constexpr int at_once = std::max(1, native_lanes / 4 / Vectors); // as many sums as there are registers for
    int i = 0;
    for (; i + at_once <= m.columns; i += at_once)
        conjugate_block<at_once, Vectors>(m, num_inputs, i, x, out);
    for (; i < m.columns; ++i)
        conjugate_block<1, Vectors>(m, num_inputs, i, x, out);
}

// LLRs of the bits of PAM symbols t, over 2^10: ((t - 512 level)^2 - t^2) / 2^10 is level (256 level - t). Values are
// integers, or floats.
template <int Bits, typename Values>
[[gnu::always_inline]] inline void pam_llrs(const Values &t, Values (&llr)[Bits]) {
    using Number = std::remove_cvref_t<decltype(t[0])>;
    constexpr int num_levels = 1 << Bits;
    Values distance[num_levels];
#pragma GCC unroll 16
    for (int index = 0; index < num_levels; ++index) {
        const int level = 2 * index - (num_levels - 1);
        distance[index] = static_cast<Number>(level) * (static_cast<Number>(state_half_distance / 2 * level) - t);
    }
    bit_differences<Bits>(distance, llr);
}

template <int Bits>
[[gnu::always_inline]] inline void integer_llrs(const LanesInt &t, LanesInt (&llr)[Bits]) {
    pam_llrs<Bits>(t, llr);
    for (LanesInt &of : llr)
        of = of >> 1;
}

// call(std::integral_constant<int, bits_per_dimension>)
template <typename Call>
inline auto with_bits(const Network &network, Call call) {
    switch (network.bits_per_dimension) {
    case 1:
        return call(std::integral_constant<int, 1>());
    case 2:
        return call(std::integral_constant<int, 2>());
    case 3:
        return call(std::integral_constant<int, 3>());
    default:
        return call(std::integral_constant<int, 4>());
    }
}

// Some steps of the lanes through the vectors of a batch.
template <InstructionSet Isa, int Vectors>
class Steps {
    using Integers = IntegerLayers<Isa, Vectors>;
    using Floats = FloatLayers<Vectors>;

public:
    static std::size_t scratch_floats(const Network &network, const UnfoldedLayout &layout) {
        const std::size_t inputs = std::max(layout.num_rx, layout.n), streams = layout.streams;
        const std::size_t layers = network.precision == Precision::int8
                                       ? streams * Vectors + Integers::scratch_registers(layout)
                                       : Floats::scratch_registers(layout);
        return (2 * (inputs + streams) * Vectors + layers) * native_lanes;
    }

    Steps(const Network &network, const UnfoldedBatch &batch, const LanePlaces &lanes, int first_step, float *scratch)
        : network_(network), batch_(batch), layout_(batch.layout), lanes_(lanes), first_step_(first_step) {
        const std::size_t inputs = std::max(layout_.num_rx, layout_.n), streams = layout_.streams;
        x_ = reinterpret_cast<ComplexLanes *>(scratch);
        y_ = x_ + inputs * Vectors;
        scratch += 2 * (inputs + streams) * Vectors * native_lanes;
        state_ = reinterpret_cast<std::int16_t *>(scratch);
        layers_ = network.precision == Precision::int8 ? scratch + streams * Vectors * native_lanes : scratch;
    }

    // The estimates in state units, with `finite_` 0, or NaN in the lanes whose samples were not finite.
    void filter(const ReceivedView &received, const StepPlaces<const std::complex<float>> &all_places, bool direct) {
        Places places[Vectors];
        for (int v = 0; v < Vectors; ++v)
            places[v] = all_places.at(first_step_ + v);
        load_vectors<Vectors>(received, places, x_);
        conjugate_product<Vectors>(batch_.filter(), layout_.num_rx, x_, y_);
        if (network_.type == NetworkType::pgd) {
            const Lanes scale = batch_(layout_.scale);
            for (int i = 0; i < layout_.n * Vectors; ++i)
                y_[i] = {scale * y_[i].re, scale * y_[i].im};
        } else if (!direct) {
            std::swap(x_, y_);
            conjugate_product<Vectors>(batch_.inverse(), layout_.n, x_, y_);
        }
        for (int v = 0; v < Vectors; ++v) {
            finite_[v] = Lanes{};
            for (int i = 0; i < layout_.n; ++i) {
                const ComplexLanes &of = y_[i * Vectors + v];
                finite_[v] += of.re - of.re;
                finite_[v] += of.im - of.im;
            }
        }
    }

    // b from the estimates, zero in lanes that were not finite.
    void quantize() {
        for (int i = 0; i < layout_.streams; ++i)
            for (int v = 0; v < Vectors; ++v) {
                const ComplexLanes of = i < layout_.n ? y_[i * Vectors + v] : ComplexLanes{};
                const LanesInt valid = finite_[v] == 0.0f;
                Isa::store(state(i, v), Isa::pack(to_state(of.re, valid), to_state(of.im, valid)));
            }
    }

    // t from b.
    void run_integer_layers() { Integers(network_, batch_, layers_).run(state_, state_); }

    // The same in single precision, where the estimates are b.
    void zero_invalid() {
        for (int v = 0; v < Vectors; ++v)
            for (int i = 0; i < layout_.n; ++i) {
                ComplexLanes &of = y_[i * Vectors + v];
                const LanesInt valid = finite_[v] == 0.0f;
                of = {valid ? clip(of.re, -largest_state, largest_state) : Lanes{},
                      valid ? clip(of.im, -largest_state, largest_state) : Lanes{}};
            }
    }
    void run_float_layers() { Floats(network_, batch_, layers_).run(y_, x_); }

    template <int Bits>
    std::size_t detect(const ReceivedView &received, const DetectedView &to, const DetectionPlaces &places,
                       bool direct) {
        filter(received, places.received, direct);
        if (network_.precision == Precision::int8) {
            quantize();
            run_integer_layers();
            output<Bits>(to, places, [&](int i, int v) {
                const typename Isa::I16 t = Isa::load(state(i, v));
                return std::pair((LanesInt)Isa::real(t), (LanesInt)Isa::imaginary(t));
            });
        } else {
            zero_invalid();
            run_float_layers();
            output<Bits>(to, places,
                         [&](int i, int v) { return std::pair(x_[i * Vectors + v].re, x_[i * Vectors + v].im); });
        }
        std::size_t invalid = 0;
        for (int v = 0; v < Vectors; ++v)
            for (int l = 0; l < lanes_.count(first_step_ + v); ++l)
                invalid += !(finite_[v][l] == 0);
        return invalid;
    }

    // visit(place of a lane's vector in plain rows, lane, number of the vector)
    template <typename Visit>
    void each_vector(const PlainRows &rows, Visit visit) const {
        const std::ptrdiff_t of_vector = 2 * layout_.n;
        std::int16_t *const port = rows.data;
        const PortView<std::int16_t> view{.ports = {&port, 1},
                                          .num_channels = rows.num_channels,
                                          .num_vectors = rows.num_vectors,
                                          .channel_stride = rows.num_vectors * of_vector,
                                          .vector_stride = of_vector};
        for (int v = 0; v < Vectors; ++v) {
            const Places places = lanes_.at(view, first_step_ + v);
            for (int l = 0; l < places.count; ++l)
                visit(rows.data + places.of[l], l, v);
        }
    }
    void read_state(const PlainRows &from) {
        std::fill_n(state_, layout_.streams * Vectors * 2 * native_lanes, std::int16_t{0});
        each_vector(from, [&](const std::int16_t *vector, int l, int v) {
            for (int i = 0; i < layout_.n; ++i)
                for (int part = 0; part < 2; ++part)
                    state(i, v)[place(part, l)] = vector[part * layout_.n + i];
        });
    }
    void write_state(const PlainRows &to) {
        each_vector(to, [&](std::int16_t *vector, int l, int v) {
            for (int i = 0; i < layout_.n; ++i)
                for (int part = 0; part < 2; ++part)
                    vector[part * layout_.n + i] = state(i, v)[place(part, l)];
        });
    }
    bool is_finite(int l, int v) const { return finite_[v][l] == 0; }

    // Where a register of int16 has a part of lane l.
    static int place(int part, int l) { return l / 4 * 8 + part * 4 + l % 4; }

private:
    std::int16_t *state(int i, int v) { return state_ + (i * Vectors + v) * 2 * native_lanes; }

    static typename Isa::I32 to_state(const Lanes &value, const LanesInt &valid) {
        return (typename Isa::I32)(round_to_int(clip(value, -32768, 32767)) & valid);
    }

    static Lanes scaled(const LanesInt &x, const Lanes &scale) { return __builtin_convertvector(x, Lanes) * scale; }
    // Layers in single precision may grow beyond it, if those of no trained detector do: what is not finite says
    // nothing.
    static Lanes scaled(const Lanes &x, const Lanes &scale) { return finite_or_zero(x * scale); }

    // t(i, v) is stream i's pair of integers, or of floats.
    template <int Bits, typename State>
    void output(const DetectedView &to, const DetectionPlaces &places, State t) {
        const int n = layout_.n;
        const float unit = network_.half_distance / static_cast<float>(state_half_distance);
        Lanes room[2 * Bits * max_streams];
        for (int v = 0; v < Vectors; ++v) {
            const LanesInt valid = finite_[v] == 0.0f;
            const Lanes scale = valid ? all(unit) : Lanes{};
            store_streams<2>(n, to.symbols, places.symbols.at(first_step_ + v), room, [&](int i, Lanes *values) {
                const auto [re, im] = t(i, v);
                values[0] = scaled(re, scale);
                values[1] = scaled(im, scale);
            });
            if (to.llrs.ports.empty())
                continue;
            store_streams<2 * Bits>(n, to.llrs, places.llrs.at(first_step_ + v), room, [&](int i, Lanes *values) {
                const auto [re, im] = t(i, v);
                llrs_of<Bits>(re, batch_(layout_.llr_scale, 2 * i), valid, values);
                llrs_of<Bits>(im, batch_(layout_.llr_scale, 2 * i + 1), valid, values + 1);
            });
        }
    }

    // Every second one of `to`.
    template <int Bits>
    static void llrs_of(const LanesInt &t, const Lanes &scale, const LanesInt &valid, Lanes *to) {
        LanesInt llrs[Bits];
        integer_llrs<Bits>(t, llrs);
        for (int bit = 0; bit < Bits; ++bit) {
            const Lanes llr = scaled(llrs[bit], scale);
            to[2 * bit] = valid ? llr : Lanes{};
        }
    }
    template <int Bits>
    static void llrs_of(const Lanes &t, const Lanes &scale, const LanesInt &valid, Lanes *to) {
        Lanes llrs[Bits];
        pam_llrs<Bits>(t, llrs);
        for (int bit = 0; bit < Bits; ++bit) {
            const Lanes llr = scaled(0.5f * llrs[bit], scale);
            to[2 * bit] = valid ? llr : Lanes{};
        }
    }

    const Network &network_;
    const UnfoldedBatch &batch_;
    const UnfoldedLayout &layout_;
    const LanePlaces &lanes_;
    const int first_step_;
    ComplexLanes *x_, *y_; // inputs and outputs of the filter
    std::int16_t *state_;
    float *layers_;
    Lanes finite_[Vectors];
};

// work(Steps) for all steps, several at once, in parts of about the same number.
template <InstructionSet Isa, typename Work>
inline void for_each_step(const Network &network, const UnfoldedBatch &batch, const LanePlaces &lanes, float *scratch,
                          Work work) {
    constexpr int most = Isa::vectors_at_once;
    for (int step = 0, left; (left = lanes.num_steps() - step) > 0;) {
        const int parts = (left + most - 1) / most, count = (left + parts - 1) / parts;
        const auto run = [&]<int Vectors>(std::integral_constant<int, Vectors>) {
            if constexpr (Vectors <= most) {
                Steps<Isa, Vectors> steps(network, batch, lanes, step, scratch);
                work(steps);
            }
        };
        switch (count) {
        case 1:
            run(std::integral_constant<int, 1>());
            break;
        case 2:
            run(std::integral_constant<int, 2>());
            break;
        case 3:
            run(std::integral_constant<int, 3>());
            break;
        default:
            run(std::integral_constant<int, 4>());
        }
        step += count;
    }
}

template <InstructionSet Isa>
std::size_t detect_scratch(const Network &network, const UnfoldedLayout &layout) {
    return Steps<Isa, Isa::vectors_at_once>::scratch_floats(network, layout);
}

template <InstructionSet Isa>
std::size_t detect_batch(const Form &form, std::span<const float> batch, const LaneVectors &vectors,
                         const ReceivedView &received, const DetectedView &to, std::span<float> scratch) {
    const UnfoldedLayout layout(form.network, form.size, Isa::streams_per_word);
    KAQ_ASSERT(batch.size() == layout.size * native_lanes);
    KAQ_ASSERT(scratch.size() >= detect_scratch<Isa>(form.network, layout));
    const UnfoldedBatch b{layout, const_cast<float *>(batch.data())}; // only read
    const LanePlaces lanes(vectors);
    const DetectionPlaces places(lanes, received, to);
    return with_bits(form.network, [&](auto bits) {
        std::size_t invalid = 0;
        for_each_step<Isa>(form.network, b, lanes, scratch.data(), [&](auto &steps) {
            invalid += steps.template detect<bits>(received, to, places, form.direct);
        });
        return invalid;
    });
}

template <InstructionSet Isa>
void filter_batch(const Form &form, std::span<const float> batch, const LaneVectors &vectors,
                  const ReceivedView &received, const PlainRows &b, std::span<bool> finite, std::span<float> scratch) {
    const UnfoldedLayout layout(form.network, form.size, Isa::streams_per_word);
    const UnfoldedBatch prepared{layout, const_cast<float *>(batch.data())};
    const LanePlaces lanes(vectors);
    const StepPlaces places(lanes, received);
    for_each_step<Isa>(form.network, prepared, lanes, scratch.data(), [&](auto &steps) {
        steps.filter(received, places, form.direct);
        steps.quantize();
        steps.write_state(b);
        steps.each_vector(b, [&](const std::int16_t *vector, int l, int v) {
            finite[(vector - b.data) / form.size.rows()] = steps.is_finite(l, v);
        });
    });
}

template <InstructionSet Isa>
void run_layers(const Form &form, std::span<const float> batch, const LaneVectors &vectors, const PlainRows &b,
                std::span<float> scratch) {
    const UnfoldedLayout layout(form.network, form.size, Isa::streams_per_word);
    const UnfoldedBatch prepared{layout, const_cast<float *>(batch.data())};
    for_each_step<Isa>(form.network, prepared, LanePlaces(vectors), scratch.data(), [&](auto &steps) {
        steps.read_state(b);
        steps.run_integer_layers();
        steps.write_state(b);
    });
}

inline void llrs_of_vector(const Network &network, std::span<const std::int16_t> t, std::span<std::int32_t> llrs) {
    KAQ_ASSERT(llrs.size() == t.size() * network.bits_per_dimension);
    with_bits(network, [&](auto bits) {
        for (std::size_t i = 0; i < t.size(); ++i) {
            LanesInt of_row[bits];
            integer_llrs<bits>(t[i] - LanesInt{}, of_row);
            for (int bit = 0; bit < bits; ++bit)
                llrs[bit * t.size() + i] = of_row[bit][0];
        }
    });
}

} // namespace
} // namespace kaq
