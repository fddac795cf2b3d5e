// SPDX-License-Identifier: GPL-3.0-or-later
// Frames of a channel that does not change, for what remembers them: two streams, eight carriers, three symbols.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <memory>
#include <numbers>
#include <vector>

#include "frames/frame_memory.h"
#include "tests/frames/random_values.h"

namespace kaq_test {

struct TrackedFrames {
    static constexpr int num_tx = 2, num_rx = 3, num_active = 8, num_places = 4, num_symbols = 3, num_modes = 2;
    static constexpr double sigma = 0.1;

    kaq::TrackedFormat format;
    std::shared_ptr<int> fits = std::make_shared<int>(0); // how many there were
    std::vector<std::complex<float>> channel;             // [active][rx][tx]

    explicit TrackedFrames(Generator &random) {
        kaq::TrainingMap &map = format.training;
        map.num_symbols = num_symbols;
        map.num_active = num_active;
        map.num_tx = num_tx;
        map.num_places = num_places;
        map.comb = 2;
        map.symbols = {0, 1, 2};
        for (int f = 0; f < num_active; ++f)
            format.carriers.push_back(f - num_active / 2);
        for (std::size_t s = 0; s < map.symbols.size(); ++s)
            for (int t = 0; t < num_tx; ++t)
                for (int p = 0; p < num_places; ++p) {
                    map.indices.push_back(2 * p + t);
                    map.carriers.push_back(format.carriers[map.indices.back()]);
                }
        format.fft_size = 16;
        format.symbol_length = 20;
        format.lead = 1;
        format.num_sets = num_tx;
        format.sets = {0, 1, 0, 1, 0, 1};
        format.dopplers = {0, 1e-4, 1e-3, 1e-2};
        channel.resize(num_active * num_rx * num_tx);
        const auto gains = normals(num_modes * num_rx * num_tx, random);
        for (int f = 0; f < num_active; ++f)
            for (std::size_t i = 0; i < std::size_t(num_rx * num_tx); ++i)
                for (int k = 0; k < num_modes; ++k)
                    channel[f * num_rx * num_tx + i] += gains[k * num_rx * num_tx + i] * wave(f, k);
    }

    // Two delays, the later one with four times the power.
    std::complex<float> wave(int active, int mode) const {
        return std::polar<float>(mode ? 1.0f : 0.5f, static_cast<float>(-std::numbers::pi * mode / num_places) *
                                                         float(format.carriers[active]));
    }

    // The two delays are what is there.
    kaq::FitProfile fit() const {
        return [this, counted = fits](std::span<const std::complex<double>>, int, const kaq::DelayProfile *) {
            ++*counted;
            kaq::DelayProfile profile{{1}, {}};
            kaq::DelayModes &modes = profile.modes;
            const double noise = sigma * sigma;
            modes.num_modes = num_modes;
            for (int f = 0; f < num_active; ++f)
                for (int k = 0; k < num_modes; ++k)
                    modes.frequency.push_back(wave(f, k) / float(sigma));
            const auto seen = [&](std::size_t place, int k) {
                return modes.frequency[format.training.indices[place] * num_modes + k];
            };
            modes.seen.resize(format.training.indices.size() * num_modes);
            modes.analysis.resize(modes.seen.size());
            for (std::size_t i = 0; i < format.training.indices.size(); ++i)
                for (int k = 0; k < num_modes; ++k) {
                    modes.seen[i * num_modes + k] = seen(i, k);
                    // the waves are orthogonal
                    const std::size_t set = i / num_places;
                    modes.analysis[(set * num_modes + k) * num_places + i % num_places] =
                        std::conj(seen(i, k)) / std::norm(seen(i, k)) / float(num_places);
                }
            for (int k = 0; k < num_modes; ++k) {
                modes.energies.push_back((k ? 1 : 0.25) / noise);
                modes.noise.push_back(1. / format.training.comb / num_places / modes.energies.back());
            }
            return profile;
        };
    }

    // A frame that is late by this delay, in cycles per carrier.
    kaq::ObservedFrame receive(Generator &random, double delay = 0) const {
        kaq::ObservedFrame frame{};
        frame.snr = num_tx / (sigma * sigma);
        frame.noise_var.assign(num_rx, sigma * sigma);
        for (std::size_t i = 0; i < format.training.indices.size(); ++i) {
            const int f = format.training.indices[i], t = static_cast<int>(i / num_places % num_tx);
            const auto turn = static_cast<float>(-2 * std::numbers::pi * delay * format.carriers[f]);
            for (int a = 0; a < num_rx; ++a)
                frame.training.push_back(channel[(f * num_rx + a) * num_tx + t] * std::polar(1.0f, turn) +
                                         normal(random) * float(sigma / std::sqrt(format.training.comb)));
        }
        return frame;
    }
};

} // namespace kaq_test
