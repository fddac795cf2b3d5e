// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "frames/antenna_view.h"
#include "frames/sample_history.h"

namespace kaq {

// Takes interference on a part of the sample rate, such as a tone, out of the samples that frames are searched in: the
// spectrum of each block, smoothed to a sixteenth of the sample rate, is cut down where it stands out of its median.
// Preamble and data are flat on that scale. So is noise: then samples stay what they are. Nothing is allocated after
// the constructor.
//
// The classical counterpart in spread spectrum: Milstein, "Interference rejection techniques in spread spectrum
// communications", Proc. IEEE 76(6), 1988.
class SpectralExcision {
public:
    static constexpr int num_lags = 16;           // of the autocorrelation, 0 with them
    static constexpr int reach = num_lags - 1;    // samples before and behind one that have a say in it
    static constexpr int num_bins = 2 * num_lags; // of the spectrum

    // block: samples, a multiple of 16, at least; the greater, the smoother is the spectrum.
    SpectralExcision(int num_rx, int block)
        : num_rx_(num_rx), block_(block), centred_re_(block + reach), centred_im_(block + reach), re_(block),
          im_(block) {}

    // How many samples `to` may lack afterwards.
    int delay() const { return block_ + reach - 1; }

    // To `to` go the blocks that `from` has and `to` lacks.
    void update(const SampleHistory &from, SampleHistory &to);

private:
    bool stands_out(const AntennaView &samples);
    void make_taps();

    int num_rx_, block_;
    std::array<float, num_bins> spectrum_, sorted_;
    std::array<float, 2 * reach + 1> taps_re_, taps_im_; // of the filter, the earliest sample's first
    std::vector<float> centred_re_, centred_im_;         // a block of an antenna and what follows, without its mean
    std::vector<float> re_, im_;                         // a block of an antenna, filtered
};

} // namespace kaq
