// SPDX-License-Identifier: GPL-3.0-or-later
// What the Python tests cannot see: memory at the edges of the buffers. The same program runs under the sanitizers.
// That every kernel gives the bits of the reference is tested in tests/test_native.py.
#define BOOST_TEST_MODULE kernels
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <complex>
#include <cstdlib>
#include <random>
#include <vector>

#include "channels.h"
#include "instruction_sets.h"

namespace {

using Complex = std::complex<float>;

kaq::Network network(kaq::NetworkType type, int bits, int num_layers) {
    kaq::Network out;
    out.type = type;
    out.bits_per_dimension = bits;
    out.half_distance = 1.0f / std::sqrt(2.0f * (std::pow(4.0f, static_cast<float>(bits)) - 1) / 3);
    out.prox.assign(num_layers, kaq::Prox::ramp);
    return out;
}

struct Link {
    std::vector<Complex> h, y, symbols;
    std::vector<float> llrs;
    std::size_t invalid = 0;

    // y = H x with x = (1 + i) half_distance on every stream and no noise, in buffers of exactly the size needed
    Link(const kaq::Network &net, const kaq::Kernel &kernel, int channels, int vectors, int num_rx, int num_tx,
         bool poison = false) {
        std::mt19937 random(1);
        std::normal_distribution<float> normal;
        h.resize(static_cast<std::size_t>(channels) * num_rx * num_tx);
        for (Complex &entry : h)
            entry = {normal(random), normal(random)};
        y.resize(static_cast<std::size_t>(channels) * vectors * num_rx);
        const Complex x{net.half_distance, net.half_distance};
        for (int c = 0; c < channels; ++c)
            for (int v = 0; v < vectors; ++v)
                for (int r = 0; r < num_rx; ++r)
                    for (int j = 0; j < num_tx; ++j)
                        y[(c * vectors + v) * num_rx + r] += h[(c * num_rx + r) * num_tx + j] * x;
        if (poison)
            y[0] = {NAN, 0};
        symbols.resize(static_cast<std::size_t>(channels) * vectors * num_tx);
        const int bits = 2 * net.bits_per_dimension;
        llrs.resize(symbols.size() * bits);

        const std::vector<double> step(net.num_layers(), 0.02), variance(net.num_layers(), 1.0),
            one(net.num_layers(), 1.0), small(net.num_layers(), 0.3);
        const kaq::LayerValues values{step.data(),  variance.data(), one.data(), one.data(),
                                      small.data(), step.data(),     1.0,        1.0};
        const double noise_var = 1e-3;
        kaq::Channels prepared(net, kernel, channels, num_rx, num_tx);
        prepared.prepare(h.data(), &noise_var, 0, &values, 0);
        std::vector<const Complex *> antennas;
        std::vector<Complex *> streams;
        std::vector<float *> llr_streams;
        for (int r = 0; r < num_rx; ++r)
            antennas.push_back(y.data() + r);
        for (int j = 0; j < num_tx; ++j) {
            streams.push_back(symbols.data() + j);
            llr_streams.push_back(llrs.data() + j * bits);
        }
        invalid = prepared.detect(
            {antennas.data(), vectors * num_rx, num_rx},
            {streams.data(), vectors * num_tx, num_tx, llr_streams.data(), vectors * num_tx * bits, num_tx * bits},
            vectors);
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(detects_without_noise_at_every_size) {
    for (const kaq::Kernel *kernel : kaq::available_kernels())
        for (const int bits : {1, 2, 3, 4})
            for (const int num_tx : {1, 2, 5, 16, 17, 33, 64}) {
                const auto net = network(kaq::NetworkType::admm, bits, 3);
                const Link link(net, *kernel, num_tx > 16 ? 3 : 18, num_tx > 16 ? 5 : 35, 2 * num_tx, num_tx);
                BOOST_TEST(link.invalid == 0u);
                float worst = 0;
                for (const Complex &symbol : link.symbols)
                    worst = std::max(worst, std::abs(symbol - Complex{net.half_distance, net.half_distance}));
                BOOST_TEST(worst < 0.5f * net.half_distance, kernel->name << " " << bits << " " << num_tx);
            }
}

BOOST_AUTO_TEST_CASE(candidates_keep_what_is_right) {
    for (const kaq::Kernel *kernel : kaq::available_kernels())
        for (const int num_tx : {1, 2, 5, 17, 64}) {
            auto net = network(kaq::NetworkType::admm, 2, 3);
            net.candidates = 7;
            net.stream_steps = true;
            net.matrix_clip = 0.8f;
            const Link link(net, *kernel, 3, 5, 2 * num_tx, num_tx);
            for (const Complex &symbol : link.symbols)
                BOOST_TEST(std::abs(symbol - Complex{net.half_distance, net.half_distance}) < 0.5f * net.half_distance);
        }
}

BOOST_AUTO_TEST_CASE(runs_every_layer_type) {
    for (const kaq::Kernel *kernel : kaq::available_kernels())
        for (const kaq::Prox prox : {kaq::Prox::none, kaq::Prox::soft_threshold, kaq::Prox::ramp}) {
            auto net = network(kaq::NetworkType::pgd, 2, 4);
            net.prox.assign(4, prox);
            const Link link(net, *kernel, 2, 7, 12, 5);
            for (const float llr : link.llrs)
                BOOST_TEST(std::isfinite(llr));
        }
}

BOOST_AUTO_TEST_CASE(a_vector_with_nan_is_zero_and_counted) {
    for (const kaq::Kernel *kernel : kaq::available_kernels()) {
        const Link link(network(kaq::NetworkType::admm, 2, 3), *kernel, 2, 6, 4, 4, true);
        BOOST_TEST(link.invalid == 1u);
        for (int j = 0; j < 4; ++j)
            BOOST_TEST(link.symbols[j] == Complex{});
        BOOST_TEST(link.symbols[4] != Complex{});
    }
}

BOOST_AUTO_TEST_CASE(refuses_what_it_has_no_room_for) {
    const auto net = network(kaq::NetworkType::admm, 1, 1);
    const auto &kernel = *kaq::available_kernels().front();
    BOOST_CHECK_THROW(kaq::Channels(net, kernel, 1, 65, 65), std::invalid_argument);
    BOOST_CHECK_THROW(kaq::Channels(net, kernel, 0, 1, 1), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(the_environment_names_the_kernel) {
    for (const kaq::Kernel *kernel : kaq::available_kernels()) {
        setenv("GR_KAQ_INSTRUCTION_SET", kernel->name, 1);
        BOOST_TEST(&kaq::select_kernel() == kernel);
    }
    setenv("GR_KAQ_INSTRUCTION_SET", "z80", 1);
    BOOST_CHECK_THROW(kaq::select_kernel(), std::invalid_argument);
    unsetenv("GR_KAQ_INSTRUCTION_SET");
    BOOST_TEST(&kaq::select_kernel() == kaq::available_kernels().front());
}
