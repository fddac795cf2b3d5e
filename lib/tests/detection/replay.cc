// SPDX-License-Identifier: GPL-3.0-or-later
// The integer stages on cases from a file, for tests/detection/test_replay.py, which also writes and reads the files:
// so the reference judges processors too that run no Python here.
//   replay                       lists the kernels that were built, and whether this processor runs them
//   replay KERNEL CASES RESULTS
//   replay KERNEL                digests of all that some links give, floating-point stages included: of Plan in int8
//                                and in fp32, of ListPlan, and of LinearPlan
//
// CASES: for each case the int32 network type, bits per dimension, matrix_max, K, C, T, num_tx, midrise; K int32 prox,
// K int32 activation_max; the arrays of `each_array`; int16 b [C][T][n]. RESULTS: for each case int16 t [C][T][n], and
// int32 LLRs [C][T][bits][n]. All little-endian.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "detection/instruction_sets.h"
#include "tests/detection/links.h"

namespace {

using namespace kaq_test;

template <typename T>
void read(std::istream &from, std::vector<T> &values) {
    from.read(reinterpret_cast<char *>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
    if (!from)
        throw std::runtime_error("the file of cases ends in the middle of one");
}

template <typename T>
void write(std::ostream &to, const std::vector<T> &values) {
    to.write(reinterpret_cast<const char *>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
}

template <typename AnyIntegers, typename Visit>
void each_array(AnyIntegers &&of, Visit visit) {
    visit(of.matrix), visit(of.diagonal), visit(of.rescale), visit(of.slope), visit(of.inverse_step);
    visit(of.threshold), visit(of.first_gain), visit(of.second_gain);
}

void run_case(const kaq::Kernel &kernel, std::istream &cases, std::ostream &results) {
    std::vector<std::int32_t> header(8);
    read(cases, header);
    std::vector<std::int32_t> prox(header[3]), activation_max(header[3]);
    read(cases, prox), read(cases, activation_max);
    // its laws are of no use here: the integers are given
    kaq::Network net = network(static_cast<kaq::NetworkType>(header[0]), header[1], header[3]);
    net.matrix_max = header[2];
    net.midrise = header[7] != 0;
    net.stream_steps = net.type == kaq::NetworkType::admm; // there may be
    for (std::size_t k = 0; k < prox.size(); ++k)
        net.layers[k].prox = static_cast<kaq::Prox>(prox[k]), net.layers[k].activation_max = activation_max[k];
    const int channels = header[4], vectors = header[5], num_tx = header[6];

    kaq::Integers integers(net, channels, 2 * num_tx);
    each_array(integers, [&](auto &array) { read(cases, array); });
    std::vector<std::int16_t> b(static_cast<std::size_t>(channels) * vectors * 2 * num_tx);
    read(cases, b);

    kaq::Plan plan(net, kernel, channels, 1, num_tx);
    plan.set_integers(integers);
    const Layers out = run_layers(plan, b);
    write(results, out.t);
    write(results, out.llrs);
}

// FNV-1a
class Digest {
public:
    template <typename T>
    void add(const std::vector<T> &values) {
        const unsigned char *bytes = reinterpret_cast<const unsigned char *>(values.data());
        for (std::size_t i = 0; i < values.size() * sizeof(T); ++i)
            value = (value ^ bytes[i]) * 0x100000001b3;
    }

    std::uint64_t value = 0xcbf29ce484222325;
};

std::uint64_t digest_of_links(const kaq::Kernel &kernel, kaq::Precision precision) {
    Digest digest;
    for (const kaq::NetworkType type : {kaq::NetworkType::admm, kaq::NetworkType::pgd})
        for (const int num_tx : {1, 2, 5, 8, 16, 17, 33, 64})
            for (const int vectors : {1, num_tx + num_tx / 3 + 1})
                for (const bool stream_steps : {false, true}) {
                    kaq::Network net = network(type, 1 + num_tx % 4, 2);
                    net.stream_steps = stream_steps && type == kaq::NetworkType::admm;
                    net.precision = precision;
                    for (kaq::Layer &layer : net.layers)
                        layer.step = {0.05, 0.02, 1e-3, 1}, layer.variance = {3, 1, 1e-3, 1e3};
                    net.regularization = {-1, 3, 0.05, 100};
                    const double snr_db = 17.3;
                    const Link link(net, num_tx > 8 ? 3 : 17, vectors, num_tx + num_tx / 3, num_tx);
                    kaq::Plan plan(net, kernel, link.channels, link.num_rx, num_tx);
                    plan.prepare(link.h, kaq::Noise::of_snr_db({&snr_db, 1}), vectors);
                    const Output out = link.detect(plan);
                    digest.add(out.symbols);
                    digest.add(out.llrs);
                    if (precision == kaq::Precision::int8)
                        each_array(plan.integers(), [&](const auto &array) { digest.add(array); });
                }
    return digest.value;
}

std::uint64_t digest_of_lists(const kaq::Kernel &kernel) {
    Digest digest;
    int i = 0;
    for (const int num_tx : {1, 2, 3, 4, 5, 8, 11, 16})
        for (const int bits : {1, 2, 3, 4})
            for (const int survivors : {8, 16}) {
                ++i;
                const kaq::ListNetwork net = list_network(bits, survivors, 1 + i % 4);
                const double snr_db = 3 * (i % 20); // rows of one byte, and of two
                Link link(net, num_tx > 8 ? 3 : 17, 1 + i % 5, num_tx + i % 4, num_tx, i);
                link.h[0] *= 1e-3f;
                link.y.back() *= 1e20f;
                kaq::ListPlan plan(net, kernel, link.channels, link.num_rx, num_tx);
                plan.prepare(link.h, kaq::Noise::of_snr_db({&snr_db, 1}));
                const Output out = link.detect(plan);
                digest.add(out.symbols);
                digest.add(out.llrs);
            }
    return digest.value;
}

std::uint64_t digest_of_linear(const kaq::Kernel &kernel) {
    using Type = kaq::LinearNetwork::Type;
    Digest digest;
    int i = 0;
    for (const int num_tx : {1, 2, 3, 4, 7, 16})
        for (const Type type : {Type::lmmse, Type::zero_forcing})
            for (const int vectors : {1, 2 * num_tx + 5}) {
                ++i;
                const kaq::LinearNetwork net = linear_network(type, 1 + i % 4);
                const double snr_db = 5 * (i % 16);
                Link link(net, num_tx > 8 ? 3 : 17, vectors, num_tx + i % 4, num_tx, i);
                for (int r = 0; r < link.num_rx; ++r) // one channel that needs more than single precision
                    link.h[r * num_tx] = link.h[r * num_tx + num_tx - 1] * (1.0f + 1e-4f * static_cast<float>(r));
                link.y.back() *= 1e20f;
                kaq::LinearPlan plan(net, kernel, link.channels, link.num_rx, num_tx);
                plan.prepare(link.h, kaq::Noise::of_snr_db({&snr_db, 1}), vectors);
                const Output out = link.detect(plan);
                digest.add(out.symbols);
                digest.add(out.llrs);
            }
    return digest.value;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 2 && argc != 4) {
        const std::vector<const kaq::Kernel *> available = kernels();
        for (const kaq::Kernel *kernel : available)
            std::printf("%s available\n", kernel->name);
        for (const kaq::Kernel *kernel : kaq::known_kernels())
            if (!std::count(available.begin(), available.end(), kernel))
                std::printf("%s unavailable\n", kernel->name);
        return argc == 1 ? 0 : 2;
    }
    try {
        const std::vector<const kaq::Kernel *> available = kernels();
        const auto kernel = std::find_if(available.begin(), available.end(),
                                         [&](const kaq::Kernel *of) { return std::string(argv[1]) == of->name; });
        if (kernel == available.end())
            throw std::invalid_argument(std::string("no kernel ") + argv[1] + " here");
        if (argc == 2) {
            const auto print = [](const char *name, std::uint64_t digest) {
                std::printf("%s %016llx\n", name, static_cast<unsigned long long>(digest));
            };
            print("plan", digest_of_links(**kernel, kaq::Precision::int8));
            print("fp32", digest_of_links(**kernel, kaq::Precision::fp32));
            const std::vector<const kaq::Kernel *> of_lists = list_kernels();
            if (std::count(of_lists.begin(), of_lists.end(), *kernel)) {
                print("list", digest_of_lists(**kernel));
                print("linear", digest_of_linear(**kernel));
            }
            return 0;
        }
        std::ifstream cases(argv[2], std::ios::binary);
        std::ofstream results(argv[3], std::ios::binary);
        while (cases.peek() != std::ifstream::traits_type::eof())
            run_case(**kernel, cases, results);
        if (!results.flush())
            throw std::runtime_error("the results cannot be written");
    } catch (const std::exception &error) {
        std::fprintf(stderr, "replay: %s\n", error.what());
        return 1;
    }
    return 0;
}
