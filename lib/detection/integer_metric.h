// SPDX-License-Identifier: GPL-3.0-or-later
// The metric of decisions over an instruction set (instruction_set.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "detection/fixed_point.h"
#include "detection/integer_product.h"
#include "detection/kernel.h"
#include "detection/kernel_arguments.h"

namespace kaq {
namespace {

template <InstructionSet Isa, int Registers, int Segment>
struct MetricOfDecisions : IntegerProduct<Isa, Registers, Segment> {
    using Base = IntegerProduct<Isa, Registers, Segment>;
    using Base::block;
    using Base::clamp;
    using Base::lanes;
    using Base::stride;
    using Base::vectors_in_registers;
    using typename Base::I16;
    using typename Base::I32;
    using typename Base::Layout;
    template <int Vectors>
    using Activations = typename Base::template Activations<Vectors>;

    template <int Vectors>
    static void metric_of(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
                          const std::int16_t *matched, int matched_step, std::int32_t *metric) {
        const int outermost = network.num_levels() - 1;
        I16 level[Vectors * Registers];
        for (int v = 0; v < Vectors * vectors_in_registers; ++v)
            metric[v] = 0;
        for (int v = 0; v < Vectors; ++v)
            for (int r = 0; r < Registers; ++r) {
                const I16 odd =
                    Isa::bit_or(Isa::template shift_right<9>(Isa::load(t + v * stride + r * lanes)), Isa::set(1));
                level[v * Registers + r] = clamp(odd, -outermost, outermost);
            }
        Activations<Vectors> activations;
        for (int i = 0; i < Vectors * Registers; i += 2)
            activations.fill(i, level[i], level[std::min(i + 1, Vectors * Registers - 1)], 127);
        const std::int32_t *rescale =
            reinterpret_cast<const std::int32_t *>(channel.packed.data()) + Layout::rescale(stride);
#pragma GCC unroll 1
        for (int first = 0; first < Registers; first += block) {
            I32 sum[Vectors][2 * block];
            Base::template multiply<Vectors>(channel.packed.data(), 1, size.rows(), first, activations, sum);
            for (int v = 0; v < Vectors; ++v)
                for (int r = first; r < first + block && r < Registers; ++r) {
                    const I16 &levels = level[v * Registers + r];
                    const I16 gradient =
                        Isa::gradient(levels, Isa::load(channel.diagonal.data() + r * lanes),
                                      Isa::load(matched + v * matched_step + r * lanes), sum[v][2 * (r - first)],
                                      sum[v][2 * (r - first) + 1], Isa::load32(rescale + r * lanes),
                                      Isa::load32(rescale + r * lanes + lanes / 2));
                    if constexpr (Segment == 0)
                        metric[v] += Isa::sum_of_products(levels, gradient);
                    else {
                        alignas(64) std::int16_t factors[2][lanes];
                        Isa::store(factors[0], levels);
                        Isa::store(factors[1], gradient);
                        for (int i = 0; i < lanes; ++i)
                            metric[v * vectors_in_registers + (r * lanes + i) / Segment] +=
                                std::int32_t{factors[0][i]} * factors[1][i];
                    }
                }
        }
    }

    static void metric(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
                       const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
        if constexpr (Segment != 0) {
            for (int v = 0; v < num_vectors; v += vectors_in_registers) {
                alignas(64) std::int16_t rows[2][stride] = {};
                std::int32_t metrics[vectors_in_registers];
                const int present = std::min(vectors_in_registers, num_vectors - v);
                for (int i = 0; i < present; ++i) {
                    std::memcpy(rows[0] + i * Segment, t + (v + i) * Segment, 2 * Segment);
                    std::memcpy(rows[1] + i * Segment, matched + (v + i) * matched_step, 2 * Segment);
                }
                metric_of<1>(network, size, channel, rows[0], rows[1], 0, metrics);
                std::copy_n(metrics, present, metric + v);
            }
            return;
        }
        constexpr int together = Isa::interleave(Registers, Segment != 0);
        int v = 0;
        for (; v + together <= num_vectors; v += together)
            metric_of<together>(network, size, channel, t + v * stride, matched + v * matched_step, matched_step,
                                metric + v);
        for (; v < num_vectors; ++v)
            metric_of<1>(network, size, channel, t + v * stride, matched + v * matched_step, matched_step, metric + v);
    }
};

template <InstructionSet Isa>
void metric(const Network &network, const Size &size, const IntegerMetric &channel, const ConstRows &t,
            const ConstRows &matched, std::span<std::int32_t> metric) {
    assert_metric<typename Isa::Layout>(size, channel, t, matched, metric);
    const int stride = size.stride(), matched_step = matched.extent(0) == 1 ? 0 : stride;
    with_registers<Isa>(stride, [&](auto of) {
        MetricOfDecisions<Isa, of.registers, of.segment>::metric(network, size, channel, t.data(), matched.data(),
                                                                 matched_step, metric.data(),
                                                                 static_cast<int>(metric.size()));
    });
}

} // namespace
} // namespace kaq
