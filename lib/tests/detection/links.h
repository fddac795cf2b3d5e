// SPDX-License-Identifier: GPL-3.0-or-later
// What several tests need: networks, channels with vectors received over them, and the integers of a plan in plain
// order.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "detection/instruction_sets.h"
#include "detection/linear_plan.h"
#include "detection/list_plan.h"
#include "detection/plan.h"

namespace kaq {
extern const Kernel avxvnni_evex_kernel; // see evex_vnni.h
}

namespace kaq_test {

// Kernels to test: those that run here, and the AVX-VNNI one in another encoding where that is all that runs.
inline std::vector<const kaq::Kernel *> kernels() {
    std::vector<const kaq::Kernel *> kernels = kaq::available_kernels();
#ifdef KAQ_EVEX_VNNI
    static const kaq::Kernel evex = [] {
        kaq::Kernel kernel = kaq::avxvnni_evex_kernel;
        kernel.name = "avxvnni-evex";
        return kernel;
    }();
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma"))
        kernels.push_back(&evex);
#endif
    return kernels;
}

// The same for list detectors and linear ones, which only run here as they were built.
inline std::vector<const kaq::Kernel *> list_kernels() { return kaq::available_kernels(); }
inline std::vector<const kaq::Kernel *> linear_kernels() { return kaq::available_kernels(); }

// Whether a kernel fuses products and sums, and so has the bits of all that do; for networks and linear detectors.
inline bool has_fused_products(const kaq::Kernel &kernel) { return std::string(kernel.name) != "portable"; }

using Complex = std::complex<float>;

// Half the distance between the PAM levels of a constellation with E|x|^2 = 1.
inline float half_distance(int bits_per_dimension) {
    return std::sqrt(1.5f / static_cast<float>((1 << 2 * bits_per_dimension) - 1));
}

inline kaq::Law constant(double value) { return {0, value, value, value}; }

// A network that detects what hardly needs it.
inline kaq::Network network(kaq::NetworkType type, int bits_per_dimension, int num_layers) {
    kaq::Network net;
    net.type = type;
    net.bits_per_dimension = bits_per_dimension;
    net.half_distance = half_distance(bits_per_dimension);
    kaq::Layer layer;
    layer.step = constant(0.02);
    layer.variance = layer.dual_step = layer.relaxation = constant(1);
    layer.gradient_step = constant(0.3);
    layer.threshold = constant(0.02);
    layer.prox = kaq::Prox::ramp;
    net.layers.assign(num_layers, layer);
    net.output_variance = net.regularization = constant(1);
    net.snr_low_db = 0;
    net.snr_high_db = 30;
    return net;
}

// A list detector with entries of two bytes where the noise asks for them, and a curve of its own for each bit.
inline kaq::ListNetwork list_network(int bits_per_dimension, int survivors, int num_layers) {
    kaq::ListNetwork net;
    net.bits_per_dimension = bits_per_dimension;
    net.half_distance = half_distance(bits_per_dimension);
    net.survivors = survivors;
    net.step_alpha = 0.0625f;
    net.step_gamma = 1.0f / 127;
    net.layers.assign(num_layers, {0.75f, 1e-3f});
    net.knots = {1, 4, 16};
    for (const int max_num_tx : {2, kaq::max_list_streams}) {
        kaq::ListNetwork::Fusion weights{max_num_tx, {}, {}, {}, {}};
        for (int bit = 0; bit < bits_per_dimension; ++bit) {
            const float own = 0.03125f * static_cast<float>(bit), of_size = 1 / static_cast<float>(max_num_tx);
            weights.list_narrow.push_back({0.5f + own, 0.25f, 0.125f});
            weights.list_wide.push_back({0.75f - own, 0.125f, of_size});
            weights.propagation_narrow.push_back({0.25f, 0.5f - own, 0.0625f});
            weights.propagation_wide.push_back({0.125f, of_size, 0.25f});
        }
        net.fusion.push_back(weights);
    }
    return net;
}

inline kaq::LinearNetwork linear_network(kaq::LinearNetwork::Type type, int bits_per_dimension) {
    return {type, bits_per_dimension, half_distance(bits_per_dimension)};
}

// What the exception says that call() throws.
template <typename Call>
std::string message_of(Call call) {
    try {
        call();
    } catch (const std::invalid_argument &error) {
        return error.what();
    }
    return "nothing was thrown";
}

struct Output {
    std::vector<Complex> symbols; // [channels][vectors][num_tx]
    std::vector<float> llrs;      // [channels][vectors][num_tx][bits]
    std::size_t num_invalid = 0;

    bool operator==(const Output &) const = default;
};

// -0 is not 0 here.
template <typename T>
bool same_bits(const std::vector<T> &a, const std::vector<T> &b) {
    return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(T)));
}

inline bool same_bits(const Output &a, const Output &b) {
    return a.num_invalid == b.num_invalid && same_bits(a.symbols, b.symbols) && same_bits(a.llrs, b.llrs);
}

// Random channels and what is received over them, contiguous, in buffers of exactly the size needed.
class Link {
public:
    static constexpr double noise_var = 1e-3;

    template <typename AnyNetwork>
    Link(const AnyNetwork &net, int channels, int vectors, int num_rx, int num_tx, unsigned seed = 1)
        : channels(channels), vectors(vectors), num_rx(num_rx), num_tx(num_tx), bits(2 * net.bits_per_dimension),
          h(static_cast<std::size_t>(channels) * num_rx * num_tx),
          y(static_cast<std::size_t>(channels) * vectors * num_rx),
          x(static_cast<std::size_t>(channels) * vectors * num_tx) {
        // the same bits on every machine
        std::mt19937 random(seed);
        const auto uniform = [&] { return static_cast<float>(static_cast<int>(random() >> 8) - (1 << 23)) * 0x1p-23f; };
        const auto level = [&] {
            const int num_levels = 1 << net.bits_per_dimension;
            return net.half_distance * static_cast<float>(2 * static_cast<int>(random() % num_levels) - num_levels + 1);
        };
        for (Complex &entry : h)
            entry.real(uniform()), entry.imag(uniform());
        for (Complex &symbol : x)
            symbol.real(level()), symbol.imag(level());
        for (int c = 0; c < channels; ++c)
            for (int v = 0; v < vectors; ++v)
                for (int r = 0; r < num_rx; ++r)
                    for (int j = 0; j < num_tx; ++j)
                        y[(c * vectors + v) * num_rx + r] +=
                            h[(c * num_rx + r) * num_tx + j] * x[(c * vectors + v) * num_tx + j];
    }

    Output output() const { return {std::vector<Complex>(x.size()), std::vector<float>(x.size() * bits), 0}; }

    void prepare(kaq::Plan &plan) const { plan.prepare(h, kaq::Noise::of_variance({&noise_var, 1}), vectors); }
    void prepare(kaq::ListPlan &plan) const { plan.prepare(h, kaq::Noise::of_variance({&noise_var, 1})); }
    void prepare(kaq::LinearPlan &plan) const { plan.prepare(h, kaq::Noise::of_variance({&noise_var, 1}), vectors); }

    // The first `count` vectors of each channel; to allocate nothing is up to the plan.
    template <typename AnyPlan>
    void detect(AnyPlan &plan, Output &out, int count) const {
        const Complex *antennas[128];
        Complex *streams[64];
        float *llr_streams[64];
        for (int r = 0; r < num_rx; ++r)
            antennas[r] = vectors ? y.data() + r : nullptr;
        for (int j = 0; j < num_tx; ++j) {
            streams[j] = vectors ? out.symbols.data() + j : nullptr;
            llr_streams[j] = vectors ? out.llrs.data() + j * bits : nullptr;
        }
        const std::ptrdiff_t per_channel = static_cast<std::ptrdiff_t>(vectors) * num_tx;
        const std::size_t num_antennas = num_rx, num_streams = num_tx;
        out.num_invalid = plan.detect({.ports = {antennas, num_antennas},
                                       .num_channels = channels,
                                       .num_vectors = count,
                                       .channel_stride = static_cast<std::ptrdiff_t>(vectors) * num_rx,
                                       .vector_stride = num_rx},
                                      {.symbols = {.ports = {streams, num_streams},
                                                   .num_channels = channels,
                                                   .num_vectors = count,
                                                   .channel_stride = per_channel,
                                                   .vector_stride = num_tx},
                                       .llrs = {.ports = {llr_streams, num_streams},
                                                .num_channels = channels,
                                                .num_vectors = count,
                                                .channel_stride = per_channel * bits,
                                                .vector_stride = num_tx * bits,
                                                .width = bits}});
    }

    template <typename AnyPlan>
    Output detect(AnyPlan &plan) const {
        Output out = output();
        detect(plan, out, vectors);
        return out;
    }

    template <typename AnyPlan>
    Output run(AnyPlan &plan) const {
        prepare(plan);
        return detect(plan);
    }

    int channels, vectors, num_rx, num_tx, bits;
    std::vector<Complex> h; // [channels][num_rx][num_tx]
    std::vector<Complex> y; // [channels][vectors][num_rx]
    std::vector<Complex> x; // [channels][vectors][num_tx]
};

// Of each port [vectors][channels]: channels are next to each other, as streams of GNU Radio have them.
template <typename AnyPlan>
Output detect_streams(const Link &link, AnyPlan &plan, bool with_llrs = true) {
    const int channels = link.channels, vectors = link.vectors, bits = link.bits;
    const std::size_t count = static_cast<std::size_t>(channels) * vectors;
    std::vector<std::vector<Complex>> received(link.num_rx, std::vector<Complex>(count));
    std::vector<std::vector<Complex>> symbols(link.num_tx, std::vector<Complex>(count));
    std::vector<std::vector<float>> llrs(link.num_tx, std::vector<float>(count * bits));
    std::vector<const Complex *> antennas;
    std::vector<Complex *> streams;
    std::vector<float *> llr_streams;
    for (int r = 0; r < link.num_rx; ++r) {
        antennas.push_back(received[r].data());
        for (int c = 0; c < channels; ++c)
            for (int v = 0; v < vectors; ++v)
                received[r][v * channels + c] = link.y[(c * vectors + v) * link.num_rx + r];
    }
    for (int j = 0; j < link.num_tx; ++j)
        streams.push_back(symbols[j].data()), llr_streams.push_back(llrs[j].data());
    const auto view = [&](const auto &ports, int width) {
        using T = std::remove_pointer_t<typename std::decay_t<decltype(ports)>::value_type>;
        return kaq::PortView<T>{.ports = ports,
                                .num_channels = channels,
                                .num_vectors = vectors,
                                .channel_stride = width,
                                .vector_stride = static_cast<std::ptrdiff_t>(channels) * width,
                                .width = width};
    };
    Output out = link.output();
    out.num_invalid =
        plan.detect(view(antennas, 1), {.symbols = view(streams, 1),
                                        .llrs = with_llrs ? view(llr_streams, bits) : kaq::PortView<float>{}});
    for (int c = 0; c < channels; ++c)
        for (int v = 0; v < vectors; ++v)
            for (int j = 0; j < link.num_tx; ++j) {
                const std::size_t to = (static_cast<std::size_t>(c) * vectors + v) * link.num_tx + j;
                out.symbols[to] = symbols[j][v * channels + c];
                std::copy_n(llrs[j].begin() + static_cast<std::ptrdiff_t>(v * channels + c) * bits, bits,
                            out.llrs.begin() + static_cast<std::ptrdiff_t>(to) * bits);
            }
    return out;
}

inline bool all_finite(const Output &out) {
    return std::all_of(out.symbols.begin(), out.symbols.end(),
                       [](Complex x) { return std::isfinite(x.real()) && std::isfinite(x.imag()); }) &&
           std::all_of(out.llrs.begin(), out.llrs.end(), [](float x) { return std::isfinite(x); });
}

struct Layers {
    std::vector<std::int16_t> t;    // [C][T][n]
    std::vector<std::int32_t> llrs; // [C][T][bits per dimension][n]

    bool operator==(const Layers &) const = default;
};

// The integer stages alone, from b [C][T][n].
inline Layers run_layers(kaq::Plan &plan, const std::vector<std::int16_t> &b) {
    const std::size_t n = plan.rows(), bits = plan.network().bits_per_dimension;
    Layers out{std::vector<std::int16_t>(b.size()), std::vector<std::int32_t>(b.size() * bits)};
    plan.layers(b, out.t);
    for (std::size_t i = 0; i < b.size() / n; ++i)
        plan.llrs({out.t.data() + i * n, n}, {out.llrs.data() + i * bits * n, bits * n});
    return out;
}

} // namespace kaq_test
