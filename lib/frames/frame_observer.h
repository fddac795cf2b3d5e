// SPDX-License-Identifier: GPL-3.0-or-later
// What the training symbols of a frame say: least squares, and the statistics of noise and channel.
// python/gr_kaq/estimation/observation.py says how, and makes the models.
#pragma once

#include <complex>
#include <memory>
#include <span>
#include <vector>

#include "frames/filter_cache.h"
#include "frames/frame_training.h"
#include "frames/noise_covariance.h"
#include "support/views.h"

namespace kaq {

// LMMSE estimates of the strongest modes of a channel, and their likelihood over Dopplers.
struct DopplerFilter {
    int num_modes;
    std::vector<std::complex<double>> analysis; // [symbol][stream][mode][place]
    std::vector<double> diagonals;              // [num_dopplers][num_modes][symbol]
    std::vector<double> pairs;                  // [pair of symbols][num_dopplers][num_modes]
    std::vector<double> constant;               // [num_dopplers]
};

// Of a delay model and an SNR in steps of 3 dB.
using DopplerFilters = FilterCache<DopplerFilter, 2>;

struct ObserverModel {
    TrainingMap map;
    int num_noise_modes;
    std::vector<std::complex<double>> noise_modes; // [symbol][stream][mode][place]: what no channel contains
    std::vector<std::complex<double>> delay_modes; // [symbol][stream][place][place]
    DelayModels delays;
    OffsetModels offsets;
    std::vector<double> offset_values; // [num_offsets], in cycles per symbol
};

// A frame's observation, and the memory that it is made in: from the second frame on, nothing is allocated.
struct ObservedFrame {
    double delay;          // that was taken out, in cycles per carrier
    double carrier_offset; // that was taken out, in cycles per symbol
    double snr;
    int delay_model, doppler;                  // which
    std::vector<double> noise_var;             // [num_rx], but for interference on single carriers
    Whitening whitening;                       // SNR, delay model and Doppler are those after it
    std::vector<std::complex<float>> training; // LS estimates [symbol][stream][place][num_rx]

    std::vector<std::complex<double>> ls, scaled, modes;
    std::vector<double> power;
    NoiseSum noise;
};

// The step of a ratio of powers, such as an SNR: filters are made for every 3 dB.
int power_step(double ratio);

class FrameObserver {
public:
    FrameObserver(ObserverModel model, DopplerFilters::Make make_filter);

    // grid: [num_symbols][num_rx][num_active].
    // guards: what so many guard carriers hold.
    // track: what is known of the noise from the frames before, and then from this one too; null: it is white.
    void observe(ArrayView<const std::complex<float>, 3> grid, const NoiseSum &guards, NoiseTrack *track,
                 ObservedFrame &frame);

    const TrainingMap &map() const { return model_.map; }

private:
    void find_noise(const NoiseSum &guards, const CarrierState *carriers, ObservedFrame &frame) const;

    ObserverModel model_;
    CarrierSearch search_;
    DopplerFilters filters_;
};

} // namespace kaq
