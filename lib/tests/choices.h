// SPDX-License-Identifier: GPL-3.0-or-later
// What fuzz targets make of their input: choices, and the values that there are.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

namespace kaq_test {

// The input's bytes as choices, so that a fuzzer can change one and keep the others; 0 when they are used up.
class Choices {
public:
    Choices(const std::uint8_t *data, std::size_t size) : data_(data), end_(data + size) {}

    int byte() { return data_ != end_ ? *data_++ : 0; }
    int between(int low, int high) { return low + byte() % (high - low + 1); }
    bool yes() { return byte() % 2; }
    bool seldom() { return byte() % 16 == 15; }

private:
    const std::uint8_t *data_;
    const std::uint8_t *end_;
};

// What there are too many of to choose byte by byte.
class Random {
public:
    explicit Random(unsigned seed) : engine_(seed) {}

    float normal() { return normal_(engine_); }
    double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }
    int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
    bool one_in(int n) { return between(1, n) == 1; }
    float bits() { return std::bit_cast<float>(static_cast<std::uint32_t>(engine_())); }
    std::mt19937 &engine() { return engine_; }

private:
    std::mt19937 engine_;
    std::normal_distribution<float> normal_;
};

enum class Values { ordinary, scaled, denormal, large, any_bits, not_finite };

inline float random_value(Random &random, Values values) {
    switch (values) {
    case Values::ordinary:
        return random.normal();
    case Values::scaled:
        return random.normal() * std::ldexp(1.0f, random.between(-20, 20));
    case Values::denormal:
        return random.normal() * std::numeric_limits<float>::denorm_min() * 1000;
    case Values::large:
        return random.normal() * 1e37f;
    case Values::any_bits: {
        const float any = random.bits();
        return std::isfinite(any) ? any : 0;
    }
    case Values::not_finite:
    default: {
        const float special[] = {NAN, INFINITY, -INFINITY, random.normal()};
        return special[random.between(0, 3)];
    }
    }
}

} // namespace kaq_test
