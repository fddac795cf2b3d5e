// SPDX-License-Identifier: GPL-3.0-or-later
// Finds frames in the samples of several antennas; python/gr_kaq/frames/synchronization.py says how, and what the symbols
// mean.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace kaq {

// A preamble of equal periods, then OFDM symbols, the first of which is known. All lengths are multiples of 4.
struct FrameLayout {
    int fft_size;
    int cp_length;
    int timing_advance; // samples by which the windows begin early
    int num_symbols;
    int period; // samples after which the preamble repeats itself; a multiple of 16
    int num_periods;

    int preamble_length() const { return num_periods * period; }
    int symbol_length() const { return cp_length + fft_size; }
    int known_length() const { return preamble_length() + symbol_length(); }
    int frame_length() const { return preamble_length() + num_symbols * symbol_length(); }
};

inline constexpr int max_streams = 4; // of a frame

struct FoundFrame {
    std::int64_t start; // counted from the first sample of the stream; negative if it began before
    double carrier_offset, metric;
    bool overlapping;
    std::vector<std::complex<float>> windows;  // [num_symbols][num_rx][fft_size]
    std::vector<std::uint8_t> dead, saturated; // [num_rx], 0 or 1
};

// Samples of an antenna, real and imaginary parts apart.
struct AntennaView {
    const float *re, *im;
};

// Cycles per sample, from `count` samples of a preamble on each antenna.
double carrier_offset(const std::vector<AntennaView> &antennas, int count, int period);

// The frames of a stream that arrives in pieces.
class FrameSearch {
public:
    // known: [num_tx][known_length()], what every stream sends, each of unit energy.
    FrameSearch(const FrameLayout &layout, int num_rx, int num_tx, const std::complex<float> *known);

    // Take the next samples, antennas[num_rx][count]. Appends the frames whose last window is complete now; returns how
    // many samples were NaN or Inf, which are taken as 0.
    std::size_t push(const std::complex<float> *const *antennas, std::size_t count, std::vector<FoundFrame> &found);

    // Samples are missing before the next: no frame reaches across. Returns how many were found and lack their end.
    std::size_t interrupt();

    // How many samples have been pushed.
    std::int64_t position() const { return begin_ + count_; }
    int num_rx() const { return static_cast<int>(samples_.size()); }
    const FrameLayout &layout() const { return layout_; }

private:
    struct Samples {
        std::vector<float> re, im;
    };
    struct Detection {
        std::int64_t start;
        double carrier_offset, metric;
        bool overlapping;
    };
    // Correlations with what is known at each lag, sums over pairs of antenna and stream of their squares.
    struct Profile {
        std::vector<float> preamble, training, both;
    };

    // From this sample on; zeros before the stream begins.
    AntennaView view(int antenna, std::int64_t sample) const;
    std::vector<AntennaView> views(std::int64_t sample) const;

    std::size_t append(const std::complex<float> *const *antennas, std::size_t first, std::size_t count);
    void measure();
    void search();
    bool is_peak(std::int64_t step) const;
    void examine(std::int64_t place, double metric);
    bool is_preamble(std::int64_t place) const;
    std::optional<std::int64_t> compare(std::int64_t first, double offset);
    void add_correlations(AntennaView segment, Profile &profile);
    int first_path(const Profile &profile) const;
    void complete(std::vector<FoundFrame> &found);
    void find_faults(FoundFrame &frame) const;
    void cut_windows(FoundFrame &frame) const;
    void forget();

    FrameLayout layout_;
    int num_tx_;
    int step_;      // M is looked at every so many samples
    int window_;    // samples of its sums
    int vicinity_;  // steps: of two detections that are closer, the greater counts
    int lookahead_; // samples from a place on that decide about it
    int num_lags_;  // delays compared around a place
    double metric_threshold_, profile_threshold_;
    double preamble_energy_ = 0, training_energy_ = 0; // of what is known, 1 together
    std::vector<float> preamble_taps_, training_taps_; // [sample][re, im][stream], the same four times
    std::vector<float> by_period_, by_training_;       // [re, im][stream][lag]

    std::vector<Samples> samples_; // of each antenna, behind `margin` zeros
    int margin_;
    std::int64_t begin_ = 0; // which sample is the first of those
    std::int64_t count_ = 0;
    std::vector<double> metric_;    // M
    std::int64_t metric_begin_ = 0; // which step is the first of those
    std::int64_t next_step_ = 0;    // the first that has not been searched
    std::deque<Detection> waiting_; // for their last sample
    std::int64_t last_start_;
};

} // namespace kaq
