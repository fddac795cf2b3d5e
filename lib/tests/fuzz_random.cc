// SPDX-License-Identifier: GPL-3.0-or-later
// The fuzz target without libFuzzer, for compilers and processors that lack it: on random bytes, or on saved inputs.
//   fuzz_random COUNT [SEED]     fuzz_random FILE...     which `crash-random` is, where one failed
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size);

namespace {

std::vector<std::uint8_t> input;

// What it failed on, for the second form above.
void keep_input(int) {
    if (std::FILE *file = std::fopen("crash-random", "wb")) {
        std::fwrite(input.data(), 1, input.size(), file);
        std::fclose(file);
    }
}

} // namespace

int main(int argc, char **argv) {
    const std::string first = argc > 1 ? argv[1] : "100";
    if (first.find_first_not_of("0123456789") != std::string::npos) {
        for (int i = 1; i < argc; ++i) {
            std::ifstream file(argv[i], std::ios::binary);
            if (!file) {
                std::fprintf(stderr, "%s cannot be read\n", argv[i]);
                return 1;
            }
            const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
            LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t *>(bytes.data()), bytes.size());
        }
        return 0;
    }
    std::mt19937 random(argc > 2 ? std::atoi(argv[2]) : 1);
    std::signal(SIGABRT, keep_input);
    for (int i = std::stoi(first); i > 0; --i) {
        input.resize(128);
        for (std::uint8_t &byte : input)
            byte = static_cast<std::uint8_t>(random());
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    return 0;
}
