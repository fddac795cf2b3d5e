// SPDX-License-Identifier: GPL-3.0-or-later
// A channel followed from frame to frame.
//
//     z[n, s, k] = g[k](t[n, s]) + e,   E g(t) conj g(u) = r_stream(t - u),   e ~ CN(0, noise[k]),   h = frequency g
//
// z are the modes (DelayModes) of frame n at its training symbol s, in the phase and timing of the track:
//
// 1. The carrier offset comes from an OscillatorTrack. What a frame itself says of it is too rough: at 5 dB it is 200
// Hz
//    off, one turn in 5 ms.
// 2. What the frames before predict is compared with what came. That says phase and timing of the frame as a whole.
// 3. If a stream or an antenna is not as predicted, the frames before are forgotten. If offset or noise are not, so are
//    the statistics: the track is lost.
// 4. The power delay profile and the Doppler of each stream (DopplerTrack) are those of all frames so far.
// 5. A Wiener filter over time for each mode and stream takes the frames together.
#pragma once

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "frames/alignment.h"
#include "frames/carrier_phases.h"
#include "frames/channel_interpolator.h"
#include "frames/delay_modes.h"
#include "frames/doppler_track.h"
#include "frames/frame_observer.h"
#include "frames/oscillator_track.h"
#include "frames/time_filters.h"
#include "support/views.h"

namespace kaq {

// Of frames that are tracked.
struct TrackedFormat {
    TrainingMap training;
    std::vector<int> carriers; // [num_active], counted from the middle of the spectrum
    int fft_size, symbol_length;
    double lead; // from a frame's start to the middle of symbol 0, in symbols
    int num_sets;
    std::vector<int> sets;        // [symbol][stream]: which set of carriers it trains on
    std::vector<double> dopplers; // that are told apart, in cycles per symbol
};

// What is known of the channel from frame to frame.
struct TrackState {
    int frames = 0;               // that the newest estimate is made of
    double carrier_offset = 0;    // in cycles per sample, as the radio received it
    double delay = 0;             // of the channel against the newest frame's start, in samples
    std::vector<double> dopplers; // of each stream's strongest part, in cycles per symbol
    std::vector<double> lines;    // what share of that part does not fade, because of a line of sight
};

// Begins with one frame: `begin`, then `estimate`; for each later one `place`, then `estimate`. It keeps its memory
// from one frame to the next.
class FrameTrack {
public:
    // frames: that an estimate is made of at most, at least 1.
    FrameTrack(TrackedFormat format, int frames, FitProfile fit);

    // Forgets everything. An antenna of this frame receives something.
    void begin(const ObservedFrame &frame, const FrameArrival &arrival);

    // Whether this frame comes so late that all others are forgotten.
    bool is_old(const FrameArrival &arrival) const;

    // A later frame, of as many antennas; false: it does not fit to those before, and the track is of no use any more.
    bool place(const ObservedFrame &frame, const FrameArrival &arrival);

    // Whether an antenna or a stream of the frame that was placed last was not as predicted, so that the frames before
    // it are forgotten; what is known of the statistics stays.
    bool surprised() const { return surprised_; }

    // The channel of the frame that was placed last, as ChannelInterpolator has it.
    void estimate(const ObservedFrame &frame, std::span<const std::complex<float>> slope,
                  ArrayView<std::complex<float>, 4> h, std::span<double> error);

    // Whether this frame comes after the others, and soon enough for them to say anything.
    bool is_next(const FrameArrival &arrival) const;

    // The channel of such a frame, as ChannelInterpolator::forecast has it. The track stays as it is.
    double forecast(const FrameArrival &arrival, double snr, ArrayView<std::complex<float>, 4> h,
                    std::span<double> error, ForecastErrors &errors);

    const TrackedFormat &format() const { return format_; }
    int num_rx() const { return static_cast<int>(noise_var_.size()); }
    void describe(TrackState &state) const;

private:
    using Complex = std::complex<float>;

    // A frame in the phase and timing of a track, and how it came:
    //
    //     observed training = training exp(1j (phase + 2 pi offset symbol - 2 pi delay carrier))
    struct Placed {
        double sample;                 // of its start
        std::vector<Complex> training; // [symbol][stream][place][num_rx]
        std::vector<Complex> modes;    // [symbol][stream][mode][num_rx]
        double phase;                  // in radians
        double offset;                 // in cycles per symbol
        double delay;                  // in cycles per carrier
    };

    // A frame against what was predicted of it.
    struct Comparison {
        Alignment alignment;
        double power; // of the prediction, in units of what was expected to differ
        double match; // how much of it came: 1, or nearly; next to nothing where both have nothing in common
    };

    double time_of(double sample) const { return sample / format_.symbol_length; }
    std::span<Placed> past() { return {frames_.data(), num_past_}; }
    Placed &newest() { return frames_[num_past_]; }
    // In tenths of a symbol, from the newest frame on.
    int since(const Placed &frame) const;
    void forget(std::size_t count); // the first frames
    bool take_noise_if_usual(std::span<const double> noise_var);
    void take_noise(std::span<const double> noise_var);
    void take_training(const ObservedFrame &frame);
    void predict();
    Comparison compare();
    bool is_surprising();
    void find_modes(Placed &frame) const;
    void learn_profile(const ObservedFrame &frame);
    void learn_doppler();
    // From the past frames, and the newest if `all`, the modes at these symbols of the newest: filtered_
    // [stream][mode][wanted][num_rx], and their error variances errors_ [stream][mode][wanted].
    void filter(std::span<const int> wanted, bool all);
    // The channel at all symbols of the newest frame, from past frames, and the newest if `all`: in its phase and
    // offset, and with this delay, in cycles per carrier; slope and error as ChannelInterpolator has them.
    void put(double delay, bool all, double snr, std::span<const std::complex<float>> slope,
             ArrayView<std::complex<float>, 4> h, std::span<double> error);

    TrackedFormat format_;
    std::size_t max_past_;
    FitProfile fit_;

    std::vector<double> noise_var_, weights_; // [num_rx]
    int count_ = 0, used_ = 0;                // frames since the beginning; those in the last estimate
    double delay_ = 0;
    bool surprised_ = false;
    OscillatorTrack oscillators_;
    DopplerTrack doppler_;
    TimeFilters filters_;
    DelayProfile profile_;
    std::vector<std::complex<double>> covariance_; // [set][place][place]
    std::vector<Placed> frames_;                   // the past ones, the oldest first; the newest; and unused ones
    std::size_t num_past_ = 0;

    // memory of a call
    std::vector<Complex> predicted_, seen_, gathered_, filtered_, scaled_, conjugate_, products_, waves_, of_symbol_;
    std::vector<std::complex<double>> aligned_;
    std::vector<double> errors_, mean_noise_, of_antennas_, of_streams_;
    std::vector<int> known_, wanted_, symbols_, set_counts_;
    std::vector<DopplerTrack::Pair> pairs_;
    CarrierPhases phases_;
};

} // namespace kaq
