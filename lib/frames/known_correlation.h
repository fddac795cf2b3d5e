// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <complex>
#include <optional>
#include <span>
#include <vector>

#include "frames/antenna_view.h"
#include "frames/frame_layout.h"
#include "support/views.h"

namespace kaq {

// Step 3 of the search: where around a place the samples are what every stream sends, preamble and first training
// symbol. Nothing is allocated after the constructor.
class KnownCorrelation {
public:
    // known: [num_tx][known_length()], what every stream sends, each of unit energy.
    KnownCorrelation(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known);

    struct Start {
        int lag;               // of its first path, among the first num_lags() samples
        double carrier_offset; // in cycles per sample
    };

    // Where a frame begins, if there is one, whose carrier offset is this, or a turn per period more or less, which its
    // preamble cannot tell. The antennas' noise is white (AntennaWhitening). They are num_samples() long, of which the
    // first `missing` are not there. metric: M, see RepetitionMetric.
    std::optional<Start> find_start(std::span<const AntennaView> antennas, double offset, int missing, double metric);

    // Starts that are compared.
    int num_lags() const { return num_lags_; }
    int num_samples() const { return layout_.known_length() + num_lags_ - 1; }

private:
    double scale_of(std::span<const AntennaView> antennas) const;
    void rotate(std::span<const AntennaView> antennas, double scale, double offset, int missing);
    void correlate_preamble();
    void correlate_training();
    double explained(float squares, double energy) const;
    bool preamble_explains(double share) const;
    double explained_by_both() const;
    bool exceeds_noise() const;
    int first_path() const;

    FrameLayout layout_;
    int num_rx_, num_tx_;
    int num_lags_, padded_lags_;                       // padded: to as many as are looked at together
    double threshold_;                                 // of Q
    double preamble_energy_ = 0, training_energy_ = 0; // of what is known, 1 together
    std::vector<float> preamble_taps_, training_taps_; // [sample][re, im][stream]

    std::vector<float> rotation_re_, rotation_im_; // what takes the carrier offset away
    std::vector<float> samples_;                   // without it, [num_rx][re, im]
    std::vector<AntennaView> segments_;            // the same, of each antenna
    std::vector<float> folded_re_, folded_im_;     // the preamble of an antenna, its periods added up
    std::vector<float> by_training_;               // correlations of an antenna, [re, im][stream][lag]
    std::vector<float> preamble_;                  // and with the preamble, of each, [num_rx][re, im][stream][lag]

    // Squares of correlations at each lag, sums over pairs of antenna and stream: with the preamble, with the training
    // symbol, and with both, which is Q.
    std::vector<float> with_preamble_, with_training_, with_both_;
};

} // namespace kaq
