// SPDX-License-Identifier: GPL-3.0-or-later
// Finds frames in the samples of several antennas; python/gr_kaq/frames/synchronization.py says how, and what the
// symbols mean.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "frames/antenna_view.h"
#include "frames/antenna_whitening.h"
#include "frames/frame_layout.h"
#include "frames/known_correlation.h"
#include "frames/repetition_metric.h"
#include "frames/sample_history.h"
#include "frames/spectral_excision.h"
#include "support/views.h"

namespace kaq {

struct FoundFrame {
    std::int64_t start;    // counted from the first sample of the stream; negative if it began before
    double carrier_offset; // in cycles per sample
    double metric;         // M, 0 to 1
    bool overlapping;      // begins before the frame in front of it has ended
    ArrayView<const std::complex<float>, 3> windows; // [num_symbols][num_rx][fft_size], where the sink wanted them
    std::span<const std::uint8_t> dead, saturated;   // [num_rx], 0 or 1; the sink may look at them inside take() only
};

// Takes the frames that a search finds. The memory for their windows is the sink's.
class FrameSink {
public:
    virtual ~FrameSink() = default;

    // Where the next frame's windows are to be written: num_symbols * num_rx * fft_size values.
    virtual std::span<std::complex<float>> windows() = 0;

    // They are written.
    virtual void take(const FoundFrame &frame) = 0;
};

// The frames of a stream that arrives in pieces. What is found does not depend on the pieces. Nothing is allocated
// after the constructor.
class FrameSearch {
public:
    // known: [num_tx][known_length()], what every stream sends, each of unit energy.
    // Throws std::invalid_argument if the layout or a number is none that can be searched for.
    FrameSearch(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known);

    // Take the next samples, so many of each antenna. Hands over the frames whose last window is complete now; returns
    // how many samples were NaN or Inf, which are taken as 0. What the sink throws passes through: the samples behind
    // are lost then, as if interrupt() had been called.
    std::size_t push(std::span<const std::complex<float> *const> antennas, std::size_t count, FrameSink &sink);

    // Samples are missing before the next: no frame reaches across. Returns how many were found and lack their end.
    std::size_t interrupt();

    // How many samples have been pushed.
    std::int64_t position() const { return samples_.position(); }
    int num_rx() const { return samples_.num_rx(); }
    const FrameLayout &layout() const { return layout_; }

private:
    struct Detection {
        std::int64_t start;
        double carrier_offset, metric;
        bool overlapping;
    };

    int last_sample() const { return layout_.frame_length() - layout_.timing_advance; } // of a frame's last window
    std::span<const AntennaView> views(const SampleHistory &samples, std::int64_t sample, int count);
    std::span<const AntennaView> parts(std::span<const AntennaView> of, int first, int count);
    void search();
    void examine(std::int64_t place);
    bool in_last_frame(std::int64_t start) const;
    std::optional<Detection> compare(std::int64_t place, double metric);
    std::span<const AntennaView> whiten(std::int64_t first);
    bool is_preamble(std::span<const AntennaView> antennas, bool begins) const;
    void complete(FrameSink &sink);
    void give_out(const Detection &detection, FrameSink &sink);
    void cut_windows(const Detection &detection, ArrayView<std::complex<float>, 3> windows);
    void forget();

    FrameLayout layout_;
    int lookahead_; // samples from a place on that decide about it
    SampleHistory samples_;
    SpectralExcision excision_;
    SampleHistory clean_; // what is searched in: samples without narrow interference
    RepetitionMetric metric_;
    AntennaWhitening whitening_;
    KnownCorrelation known_;
    std::int64_t next_step_ = 0;     // the first step of the metric that has not been searched
    std::vector<Detection> waiting_; // for their last sample, in the order of their starts
    std::int64_t last_start_;        // of the frame found last
    double last_metric_ = 0;         // and its M

    std::vector<AntennaView> views_, parts_; // [num_rx]
    std::vector<float> differences_;         // [num_rx][re, im][sample], from one period to the next
    std::vector<float> silence_;             // what counts of an antenna that is drowned in interference
    std::vector<std::uint8_t> dead_, saturated_;
    std::vector<double> power_;
    std::vector<float> rotation_re_, rotation_im_, turn_re_, turn_im_; // [fft_size]
};

} // namespace kaq
