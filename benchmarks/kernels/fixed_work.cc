// SPDX-License-Identifier: GPL-3.0-or-later
// A fixed piece of work, to count its instructions:
//   fixed_work count STAGE NETWORK NUM_RX NUM_TX NUM_CHANNELS NUM_VECTORS
//     single-steps it once and prints what it executed;
//   fixed_work run REPEATS STAGE NETWORK NUM_RX NUM_TX NUM_CHANNELS NUM_VECTORS
//     runs it REPEATS times, for callgrind.
// STAGE: ours-prepare, ours-detect, ours-llrs, fp32-prepare, fp32-detect, lmmse-prepare, lmmse-detect. NETWORK: admm
// (five layers) or pgd (eight). GR_KAQ_INSTRUCTION_SET chooses our kernel.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#if defined(__linux__) && defined(__x86_64__)
#include <csignal>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "baselines.h"
#include "detection/instruction_sets.h"
#include "detection/plan.h"

namespace {

using Complex = std::complex<float>;

// Values as trained ones are at 20 dB; the time does not depend on them.
kaq::Network make_network(bool admm) {
    kaq::Network network;
    network.type = admm ? kaq::NetworkType::admm : kaq::NetworkType::pgd;
    network.bits_per_dimension = 2;
    network.half_distance = 0.31622777f;
    const auto constant = [](double value) { return kaq::Law{0, value, value, value}; };
    for (int k = 0; k < (admm ? 5 : 8); ++k) {
        kaq::Layer layer;
        layer.step = constant(0.05);
        layer.prox = admm || k < 7 ? kaq::Prox::ramp : kaq::Prox::none;
        if (layer.prox == kaq::Prox::ramp)
            layer.variance = constant(6);
        if (admm) {
            layer.dual_step = constant(8);
            layer.relaxation = constant(1.3);
        } else {
            layer.gradient_step = constant(0.8);
        }
        network.layers.push_back(layer);
    }
    network.output_variance = constant(2);
    network.regularization = constant(6);
    network.snr_low_db = 0;
    network.snr_high_db = 40;
    return network;
}

struct Work {
    int num_rx, num_tx, num_channels, num_vectors;
    kaq::Network network;
    std::vector<Complex> h, y, symbols;
    std::vector<float> llrs;
    std::vector<const Complex *> antennas;
    std::vector<Complex *> streams;
    std::vector<float *> llr_streams;

    Work(bool admm, int rx, int tx, int channels, int vectors)
        : num_rx(rx), num_tx(tx), num_channels(channels), num_vectors(vectors), network(make_network(admm)),
          h(static_cast<std::size_t>(channels) * rx * tx), y(static_cast<std::size_t>(channels) * vectors * rx),
          symbols(static_cast<std::size_t>(channels) * vectors * tx), llrs(4 * symbols.size()) {
        std::mt19937 random(1);
        std::normal_distribution<float> normal(0, 0.70710678f);
        for (auto *values : {&h, &y})
            for (Complex &value : *values)
                value = {normal(random), normal(random)};
        const std::size_t block = static_cast<std::size_t>(channels) * vectors;
        for (int r = 0; r < rx; ++r)
            antennas.push_back(y.data() + r * block);
        for (int j = 0; j < tx; ++j) {
            streams.push_back(symbols.data() + j * block);
            llr_streams.push_back(llrs.data() + 4 * j * block);
        }
    }

    double noise_var() const { return num_tx / 100.0; }
    kaq::ReceivedView received() const { return view(antennas, 1); }
    kaq::DetectedView detected(bool with_llrs) const {
        return {.symbols = view(streams, 1), .llrs = with_llrs ? view(llr_streams, 4) : kaq::PortView<float>{}};
    }

private:
    template <typename T>
    kaq::PortView<T> view(const std::vector<T *> &ports, int width) const {
        return {.ports = ports,
                .num_channels = num_channels,
                .num_vectors = num_vectors,
                .channel_stride = width,
                .vector_stride = static_cast<std::ptrdiff_t>(num_channels) * width,
                .width = width};
    }
};

// What is done in one repetition; everything before it is set up here.
std::function<void()> stage_named(const std::string &name, const std::shared_ptr<Work> &work) {
    const std::string who = name.substr(0, name.find('-')), what = name.substr(name.find('-') + 1);
    if (who == "ours") {
        const auto plan = std::make_shared<kaq::Plan>(work->network, kaq::select_kernel(), work->num_channels,
                                                      work->num_rx, work->num_tx);
        const auto prepare = [=] {
            const double noise_var = work->noise_var();
            plan->prepare(work->h, kaq::Noise::of_variance({&noise_var, 1}), work->num_vectors);
        };
        prepare();
        if (what == "prepare")
            return prepare;
        return [=] { plan->detect(work->received(), work->detected(what == "llrs")); };
    }
    const speed::BaselineKernel &kernel = speed::baseline_kernels().front();
    const bool pgd = work->network.type == kaq::NetworkType::pgd;
    const speed::Form form = work->num_vectors > work->num_rx ? speed::Form::filter : speed::Form::triangles;
    std::shared_ptr<speed::Baseline> baseline;
    if (who == "lmmse")
        baseline = kernel.lmmse(form, work->num_channels, work->num_rx, work->num_tx);
    else if (who == "fp32")
        baseline = kernel.network(work->network, pgd ? speed::Form::matched : form, {speed::Layout::channels, 0, 4},
                                  work->num_channels, work->num_rx, work->num_tx);
    else
        throw std::invalid_argument("no such stage");
    const auto prepare = [=] { baseline->prepare(work->h.data(), static_cast<float>(work->noise_var())); };
    prepare();
    if (what == "prepare")
        return prepare;
    return [=] { baseline->detect(work->received(), work->detected(false)); };
}

#if defined(__linux__) && defined(__x86_64__)

struct Counts {
    long all = 0, wide = 0, half = 0, dot = 0, fused = 0;
};

// What an instruction of VEX or EVEX encoding is; AVX-512 and AVX2 code needs no more than that.
struct Kind {
    bool wide = false, half = false, dot = false, fused = false;
};

Kind decode(const unsigned char *code) {
    Kind kind;
    int map = 0, length = 0;
    unsigned char opcode = 0;
    if (code[0] == 0x62) {
        map = code[1] & 7;
        length = code[3] >> 5 & 3;
        opcode = code[4];
    } else if (code[0] == 0xc4) {
        map = code[1] & 31;
        length = code[2] >> 2 & 1;
        opcode = code[3];
    } else if (code[0] == 0xc5) {
        map = 1;
        length = code[1] >> 2 & 1;
        opcode = code[2];
    } else {
        return kind;
    }
    kind.wide = length == 2;
    kind.half = length == 1;
    // vpdpbusd and vpdpwssd; vpmaddwd
    kind.dot = (map == 2 && opcode >= 0x50 && opcode <= 0x53) || (map == 1 && opcode == 0xf5);
    kind.fused = map == 2 && opcode >= 0x96 && opcode <= 0xbf && (opcode & 0xf) >= 6;
    return kind;
}

// Single-steps a child between its two breakpoints.
int count(const std::function<void()> &work) {
    work(); // loads pages, resolves symbols
    const pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        asm volatile("int3" ::: "memory");
        work();
        asm volatile("int3" ::: "memory");
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
        std::fprintf(stderr, "processes cannot be traced here\n");
        return 1;
    }
    Counts counts;
    std::unordered_map<unsigned long long, Kind> known;
    for (;;) {
        user_regs_struct registers;
        if (ptrace(PTRACE_GETREGS, child, nullptr, &registers) != 0)
            return 1;
        auto [place, fresh] = known.try_emplace(registers.rip);
        if (fresh) {
            const long bytes = ptrace(PTRACE_PEEKTEXT, child, reinterpret_cast<void *>(registers.rip), nullptr);
            unsigned char code[sizeof(bytes)];
            std::memcpy(code, &bytes, sizeof(bytes));
            if (code[0] == 0xcc)
                break;
            place->second = decode(code);
        }
        ++counts.all;
        counts.wide += place->second.wide;
        counts.half += place->second.half;
        counts.dot += place->second.dot;
        counts.fused += place->second.fused;
        if (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0 || waitpid(child, &status, 0) != child ||
            !WIFSTOPPED(status)) {
            std::fprintf(stderr, "the traced process ended early\n");
            return 1;
        }
    }
    ptrace(PTRACE_KILL, child, nullptr, nullptr);
    waitpid(child, &status, 0);
    std::printf("{\"instructions\": %ld, \"bits_512\": %ld, \"bits_256\": %ld, \"integer_dot\": %ld, \"fused\": %ld}\n",
                counts.all, counts.wide, counts.half, counts.dot, counts.fused);
    return 0;
}

#else

int count(const std::function<void()> &) {
    std::fprintf(stderr, "instructions are counted on x86-64 only\n");
    return 1;
}

#endif

} // namespace

int main(int argc, char **argv) {
    const bool counting = argc == 8 && std::strcmp(argv[1], "count") == 0;
    if (!counting && !(argc == 9 && std::strcmp(argv[1], "run") == 0)) {
        std::fprintf(stderr, "see the beginning of the source\n");
        return 2;
    }
    char **arguments = argv + (counting ? 2 : 3);
    try {
        const auto number = [&](int i) { return std::atoi(arguments[i]); };
        const auto work =
            std::make_shared<Work>(std::strcmp(arguments[1], "admm") == 0, number(2), number(3), number(4), number(5));
        const auto stage = stage_named(arguments[0], work);
        if (counting)
            return count(stage);
        for (int i = std::atoi(argv[2]); i > 0; --i)
            stage();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
