// SPDX-License-Identifier: GPL-3.0-or-later
// From the Fourier transforms of a frame to what a detector takes: the whole of channel estimation.
// python/gr_kaq/estimation/estimator.py is the same in single steps.
#pragma once

#include <complex>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "frames/channel_interpolator.h"
#include "frames/frame_carriers.h"
#include "frames/frame_observer.h"
#include "frames/pilot_correction.h"

namespace kaq {

// Where the carriers of a Fourier transform belong.
struct TransformMap {
    int fft_size;
    std::vector<int> active, guards;
    std::vector<int> numbers;                    // of the active ones, counted from the middle of the spectrum
    std::vector<std::complex<float>> correction; // [active], what each is multiplied with
};

// A grid [num_symbols][num_rx][active] and what the guard carriers hold, of transforms: for each antenna
// [num_symbols][fft_size]. NaN, Inf and values beyond 1e10 count as zeros: a detector would not take their channel.
//
// samples: memory, for the guard carriers of a symbol.
void collect_grid(const TransformMap &map, int num_symbols, std::span<const std::complex<float> *const> transforms,
                  std::span<std::complex<float>> grid, NoiseSum &guards, std::vector<std::complex<double>> &samples);

// What is on the air beside the frame and white noise.
struct Interference {
    bool is_there;
    int first, last; // the carriers that hold it are between these, counted from the middle of the spectrum
    double power_db; // over the power of the signal
};

// Of a frame.
struct FrameEstimate {
    double noise_var, snr_db; // of the received carriers; the mean over antennas
    int delay_model, doppler; // which
    double carrier_offset;    // that the synchronizer left, in cycles per symbol
    double delay;             // mean, in cycles per carrier
    DataNoise data;
    Interference interference;
    bool is_forecast; // the channel is; SNR, delay model and Doppler are those of the last frame that was estimated
};

// Estimates frames of one format, one at a time: it keeps its memory from one to the next.
class FrameEstimator {
public:
    // whitens: noise that is not white; otherwise all of it is taken to be.
    FrameEstimator(std::shared_ptr<FrameObserver> observer, std::shared_ptr<ChannelInterpolator> interpolator,
                   TransformMap map, CarrierMap carriers, int num_rx, bool whitens);

    // transforms: for each antenna [num_symbols][fft_size]
    // arrival:    as the interpolator takes it
    // looks:      at the training symbols; otherwise the channel is forecast, where the interpolator can do that
    // received:   for each antenna [symbols with data][num_data]
    // channel:    [symbols with data][num_data][num_rx][num_tx]
    // magnitudes: |h| in dB in the middle of the frame, [num_rx][num_tx][num_active]; empty if nobody wants it
    FrameEstimate estimate(std::span<const std::complex<float> *const> transforms,
                           const std::optional<FrameArrival> &arrival, bool looks,
                           std::span<std::complex<float> *const> received, std::complex<float> *channel,
                           std::span<float> magnitudes);

    int num_rx() const { return num_rx_; }
    const TransformMap &transforms() const { return map_; }
    const CarrierMap &carriers() const { return carriers_; }

private:
    std::shared_ptr<FrameObserver> observer_;
    std::shared_ptr<ChannelInterpolator> interpolator_;
    TransformMap map_;
    CarrierMap carriers_;
    int num_rx_;
    bool whitens_, has_observed_ = false;

    ObservedFrame observed_;
    NoiseTrack track_;
    NoiseSum guards_;
    std::vector<std::complex<double>> guard_samples_;
    std::vector<std::complex<float>> grid_, h_, slope_;
    std::vector<double> noise_var_, scale_, phase_, error_, share_;
    PilotAlignment pilots_;
    PilotCorrection correction_;
    ForecastErrors forecast_errors_;
};

} // namespace kaq
