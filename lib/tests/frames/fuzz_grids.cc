// SPDX-License-Identifier: GPL-3.0-or-later
// Grids of any values and maps of any places: what is chosen is one of what there is, what is finite stays so, and
// nothing is read or written outside of the arrays, which are of just the size that is asked for.
#include "tests/frames/fuzz_grids.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "frames/carrier_interference.h"
#include "frames/frame_carriers.h"
#include "frames/frame_estimator.h"
#include "frames/frame_training.h"
#include "frames/frame_windows.h"
#include "frames/noise_covariance.h"
#include "frames/soft_levels.h"

namespace kaq_test {
namespace {

using Complex = std::complex<float>;
using ComplexDouble = std::complex<double>;

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

std::vector<float> values(Random &random, std::size_t count, Values kind) {
    std::vector<float> all(count);
    for (float &each : all)
        each = random_value(random, kind);
    return all;
}

template <typename T>
std::vector<std::complex<T>> complex_values(Random &random, std::size_t count, Values kind) {
    std::vector<std::complex<T>> all(count);
    for (auto &each : all)
        each = {random_value(random, kind), random_value(random, kind)};
    return all;
}

template <typename T>
bool finite(const std::vector<std::complex<T>> &all) {
    return std::ranges::all_of(
        all, [](std::complex<T> each) { return std::isfinite(each.real()) && std::isfinite(each.imag()); });
}

bool finite(const std::vector<double> &all) {
    return std::ranges::all_of(all, [](double each) { return std::isfinite(each); });
}

std::vector<int> places(Random &random, std::size_t count, int below) {
    std::vector<int> all(count);
    for (int &each : all)
        each = random.between(0, below - 1);
    return all;
}

Values any_kind(Choices &choices) { return static_cast<Values>(choices.between(0, 5)); }

void fuzz_training(Choices &choices, Random &random) {
    const int num_rx = choices.between(1, 9);
    kaq::TrainingMap map{};
    map.num_symbols = choices.between(1, 14);
    map.num_active = choices.between(1, 60);
    map.num_tx = choices.between(1, 4);
    map.num_places = choices.between(1, 15);
    map.comb = choices.between(1, 5);
    map.symbols = places(random, choices.between(1, 4), map.num_symbols);
    const std::size_t count = map.symbols.size() * map.num_tx * map.num_places;
    map.indices = places(random, count, map.num_active);
    for (std::size_t i = 0; i < count; ++i)
        map.carriers.push_back(choices.yes() ? map.comb * static_cast<int>(i) : random.between(-5000, 5000));
    map.inverse = complex_values<double>(random, count, choices.seldom() ? any_kind(choices) : Values::ordinary);
    const std::size_t size = static_cast<std::size_t>(map.num_symbols) * num_rx * map.num_active;
    const auto grid = complex_values<float>(random, size, any_kind(choices));
    std::vector<ComplexDouble> ls(count * num_rx);
    std::vector<double> power(num_rx);
    const double delay = kaq::least_squares(map, {grid.data(), map.num_symbols, num_rx, map.num_active},
                                            {ls.data(), map.symbols.size(), map.num_tx, map.num_places, num_rx}, power);
    if (finite(grid) && finite(map.inverse) && !(finite(ls) && finite(power) && std::abs(delay) <= 0.5 / map.comb))
        fail("least squares of finite values are not");
}

void fuzz_choices(Choices &choices, Random &random) {
    const int num_modes = choices.between(1, 20), num_rx = choices.between(1, 5), num_tx = choices.between(1, 4);
    const bool moderate = choices.yes();
    kaq::DelayModels models{};
    models.num_modes = num_modes;
    models.per_share = choices.between(1, 6);
    models.num_models = models.per_share * choices.between(1, 4);
    for (int i = 0; i < models.num_models * num_modes; ++i)
        models.energies.push_back(std::abs(random_value(random, moderate ? Values::ordinary : any_kind(choices))));
    for (int i = 0; i < models.num_models; ++i)
        models.scores.push_back(random_value(random, moderate ? Values::ordinary : any_kind(choices)));
    const std::size_t count = static_cast<std::size_t>(kaq::training_symbols) * num_tx * num_modes * num_rx;
    const auto coefficients = complex_values<double>(random, count, any_kind(choices));
    const double noise = std::pow(10, random.uniform(-6, 3));
    const int delay = kaq::choose_delay(
        models, {.coefficients = {coefficients.data(), kaq::training_symbols * num_tx, num_modes, num_rx},
                 .num_observed = static_cast<double>(random.between(1, 100)),
                 .noise = noise,
                 .independent = random.uniform(0, 100)});
    if (delay < 0 || delay >= models.num_models)
        fail("no such delay");

    const int num_dopplers = choices.between(1, 9);
    kaq::OffsetModels offsets{};
    offsets.num_offsets = choices.between(1, 30);
    const auto draw = [&](std::size_t size) {
        std::vector<double> all(size);
        for (double &each : all)
            each = random_value(random, moderate ? Values::ordinary : Values::any_bits);
        return all;
    };
    offsets.turns = draw(2 * kaq::training_pairs * static_cast<std::size_t>(offsets.num_offsets));
    offsets.scores = draw(offsets.num_offsets);
    const auto diagonals = draw(static_cast<std::size_t>(num_dopplers) * num_modes * kaq::training_symbols),
               pairs = draw(static_cast<std::size_t>(kaq::training_pairs) * num_dopplers * num_modes),
               constant = draw(num_dopplers);
    const kaq::DopplerChoice chosen = kaq::choose_doppler(
        {.diagonals = {diagonals.data(), num_dopplers, num_modes, kaq::training_symbols},
         .pairs = {pairs.data(), kaq::training_pairs, num_dopplers, num_modes},
         .constant = constant},
        offsets, {coefficients.data(), kaq::training_symbols, num_tx, num_modes, num_rx}, random.between(1, 16));
    if (chosen.doppler < 0 || chosen.doppler >= num_dopplers || chosen.offset < 0 ||
        chosen.offset >= offsets.num_offsets)
        fail("no such Doppler or carrier offset");
}

void fuzz_carriers(Choices &choices, Random &random) {
    const int num_rx = choices.between(1, 5);
    kaq::CarrierMap map{};
    map.num_symbols = choices.between(1, 14);
    map.num_active = choices.between(1, 40);
    map.num_tx = choices.between(1, 5);
    map.symbols = places(random, choices.between(1, 11), map.num_symbols);
    map.pilots = places(random, map.symbols.size() * choices.between(1, 6), map.num_active);
    map.data = places(random, map.symbols.size() * choices.between(1, 30), map.num_active);
    map.values = complex_values<float>(random, map.pilots.size() * map.num_tx, Values::ordinary);
    const Values of_grid = any_kind(choices), of_channel = any_kind(choices);
    const bool moderate = of_grid < Values::denormal && of_channel < Values::denormal;
    const std::size_t carriers = static_cast<std::size_t>(map.num_symbols) * map.num_active;
    const auto grid = complex_values<float>(random, carriers * num_rx, of_grid);
    auto h = complex_values<float>(random, carriers * num_rx * map.num_tx, of_channel);
    const auto slope = complex_values<float>(random, map.num_active, Values::ordinary);
    std::vector<double> scale(num_rx), phase(map.num_symbols);
    for (double &each : scale)
        each = random.one_in(4) ? 0 : std::pow(10, random.uniform(-3, 3));
    for (double &each : phase)
        each = random.uniform(-4, 4);
    const kaq::ArrayView<const Complex, 3> received(grid.data(), map.num_symbols, num_rx, map.num_active);
    const kaq::ArrayView<Complex, 4> channel(h.data(), map.num_symbols, map.num_active, num_rx, map.num_tx);
    const double residual = kaq::track_phases(map, received, slope, scale, channel, phase);
    std::vector<double> noise_var(num_rx), error(map.num_symbols), share(map.num_symbols);
    for (double &each : noise_var)
        each = random.one_in(4) ? 0 : std::pow(10, random.uniform(-12, 6));
    for (double &each : error)
        each = random.uniform(0, 1);
    kaq::equal_noise(noise_var, scale);
    if (!finite(scale))
        fail("scales that are not finite");
    kaq::error_shares(map, noise_var, residual, std::pow(10, random.uniform(-2, 6)), error, share);
    std::vector<std::vector<Complex>> data(num_rx, std::vector<Complex>(map.data.size()));
    std::vector<Complex *> antennas;
    for (auto &of_antenna : data)
        antennas.push_back(of_antenna.data());
    std::vector<Complex> of_data(map.data.size() * num_rx * map.num_tx);
    kaq::take_data(map, received, channel, phase, noise_var, share, antennas,
                   {of_data.data(), map.symbols.size(), map.num_data(), num_rx, map.num_tx});
    if (moderate && !(std::isfinite(residual) && finite(phase) && finite(share) && finite(of_data) && finite(h) &&
                      std::ranges::all_of(data, [](const auto &of_antenna) { return finite(of_antenna); })))
        fail("what is taken of moderate carriers is not finite");
}

void fuzz_transforms(Choices &choices, Random &random) {
    const int num_rx = choices.between(1, 5), num_symbols = choices.between(1, 14);
    kaq::TransformMap map{};
    map.fft_size = choices.between(1, 80);
    map.active = places(random, choices.between(1, 60), map.fft_size);
    map.guards = places(random, choices.between(0, 20), map.fft_size);
    map.numbers = map.active;
    map.correction = complex_values<float>(random, map.active.size(), Values::ordinary);
    std::vector<std::vector<Complex>> transforms;
    std::vector<const Complex *> antennas;
    for (int a = 0; a < num_rx; ++a)
        transforms.push_back(
            complex_values<float>(random, static_cast<std::size_t>(num_symbols) * map.fft_size, any_kind(choices)));
    for (const auto &of_antenna : transforms)
        antennas.push_back(of_antenna.data());
    std::vector<Complex> grid(map.active.size() * num_symbols * num_rx);
    kaq::NoiseSum guards;
    std::vector<ComplexDouble> samples;
    kaq::collect_grid(map, num_symbols, antennas, grid, guards, samples);
    if (!finite(grid) || !finite(guards.sum) || guards.count != num_symbols * double(map.guards.size()))
        fail("what is taken of transforms is not finite");
}

void fuzz_interference(Choices &choices, Random &random) {
    const int num_rx = choices.between(1, 6);
    kaq::TrainingMap map{};
    map.num_symbols = 14;
    map.num_active = choices.between(1, 60);
    map.num_tx = choices.between(1, 4);
    map.num_places = choices.between(1, 20);
    map.comb = choices.between(1, 5);
    map.symbols = {0, 7, 13};
    const bool is_any = choices.seldom();
    for (int i = 0; i < 3 * map.num_tx; ++i)
        for (int p = 0; p < map.num_places; ++p) {
            map.indices.push_back(is_any ? random.between(0, map.num_active - 1) : (i + p * map.comb) % map.num_active);
            map.carriers.push_back(is_any ? random.between(-99, 99) : map.indices.back());
        }
    const kaq::CarrierSearch search(map);
    kaq::NoiseTrack track;
    kaq::Whitening whitening;
    for (int frame = choices.between(1, 4); frame > 0; --frame) {
        const Values kind = any_kind(choices);
        auto ls = complex_values<double>(random, map.indices.size() * num_rx, kind);
        std::vector<double> power(num_rx), noise_var(num_rx);
        for (double &each : power)
            each = std::abs(random_value(random, kind));
        for (double &each : noise_var)
            each = random.one_in(4) ? 0 : std::pow(10, random.uniform(-12, 6));
        if (choices.yes()) // somebody else
            for (std::size_t i = random.between(0, 9); i < map.indices.size(); i += map.num_places)
                ls[i * num_rx] *= 1e4;
        double delay = 0;
        search.find(map, {ls.data(), 3, map.num_tx, map.num_places, num_rx}, power, delay, track.carriers,
                    track.search);
        const auto samples = complex_values<double>(random, num_rx * choices.between(1, 99), any_kind(choices));
        kaq::NoiseSum noise;
        noise.clear(num_rx);
        noise.add(samples);
        track.find_whitening(noise, noise_var, std::pow(10, random.uniform(-9, 9)), map, whitening);
        if (!whitening.is_needed)
            continue;
        if (whitening.first < 0 || whitening.first > whitening.last || whitening.last >= map.num_active)
            fail("interference on no carriers");
        std::vector<Complex> grid(map.num_active * num_rx), h(grid.size() * map.num_tx);
        kaq::whiten(whitening, {grid.data(), 1, num_rx, map.num_active},
                    {h.data(), 1, map.num_active, num_rx, map.num_tx});
        if (kind < Values::denormal && finite(samples) && !finite(whitening.carrier))
            fail("what whitens moderate noise is not finite");
    }
}

void fuzz_windows(Choices &choices, Random &random) {
    const int num_symbols = choices.between(1, 14), width = choices.between(1, 20), windows = choices.between(1, 5),
              num_rx = choices.between(1, 5), num_tx = choices.between(1, 4);
    const std::size_t count = static_cast<std::size_t>(num_symbols) * width * windows * num_rx * num_tx;
    const Values kind = any_kind(choices);
    const auto channel = complex_values<float>(random, count, kind);
    const bool is_finite = finite(channel);
    std::vector<float> scale(num_rx), grids(2 * count);
    for (float &each : scale)
        each = std::ldexp(1.0f, is_finite && kind < Values::denormal ? random.between(-20, 20) : 0);
    std::vector<Complex> joined(count);
    kaq::cut_windows({channel.data(), num_symbols, width * windows, num_rx, num_tx}, scale,
                     {grids.data(), 2, windows, num_rx, num_tx, width, num_symbols});
    if (kaq::join_windows({grids.data(), 2, windows, num_rx, num_tx, width, num_symbols}, scale,
                          {joined.data(), num_symbols, width * windows, num_rx, num_tx}) != is_finite)
        fail("what is not finite was not noticed, or the reverse");
    if (is_finite && joined != channel)
        fail("windows do not join to what was cut");
}

void fuzz_levels(Choices &choices, Random &random) {
    const std::size_t count = static_cast<std::size_t>(choices.between(0, 255)) * choices.between(1, 9);
    std::vector<float> llrs = values(random, count, any_kind(choices));
    for (const int share = choices.between(1, 20); float &llr : llrs)
        if (random.one_in(share))
            llr = choices.yes() ? 0.0f : -0.0f;
    std::vector<std::uint8_t> levels(count, 7);
    const bool known = kaq::soft_levels(llrs, static_cast<float>(random.uniform(1, 127)), levels);
    if (known != std::ranges::any_of(llrs, [](float llr) { return std::abs(llr) > 0; }))
        fail("bits are known, and nothing of them is said; or the reverse");
    for (std::size_t i = 0; known && i < count; ++i)
        if (llrs[i] > 0 ? levels[i] < 128 : llrs[i] < 0 ? levels[i] > 128 : levels[i] != 128)
            fail("a level of the other sign");
}

} // namespace

void fuzz_grids(Choices &choices, Random &random) {
    switch (choices.between(0, 6)) {
    case 0:
        return fuzz_training(choices, random);
    case 1:
        return fuzz_choices(choices, random);
    case 2:
        return fuzz_carriers(choices, random);
    case 3:
        return fuzz_transforms(choices, random);
    case 4:
        return fuzz_windows(choices, random);
    case 5:
        return fuzz_interference(choices, random);
    default:
        return fuzz_levels(choices, random);
    }
}

} // namespace kaq_test
