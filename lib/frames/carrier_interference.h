// SPDX-License-Identifier: GPL-3.0-or-later
// Carriers on which the training symbols hold more than channel and noise.
//
// The channel is smooth over the carriers: what trains there follows from its neighbours, but for the noise. Where it
// does not, somebody else is on the air.
#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <span>
#include <vector>

#include "frames/frame_training.h"
#include "support/views.h"

namespace kaq {

// How a training value follows from others of its symbol and stream.
struct Prediction {
    static constexpr int most = 8;

    int count = 0;
    std::array<int, most> places{};
    std::array<std::complex<double>, most> weights{};
    double gain = 1; // variance of what is not predicted, for noise of unit variance
    double leak = 1; // and for a channel of unit power, over the gain
};

// Which carriers hold interference, and the predictions of all values [symbol][stream][place] from the others.
struct CarrierState {
    std::vector<std::uint8_t> interfered; // [num_active]
    std::vector<Prediction> predictions;

    bool any() const;
};

// The memory that a frame is searched in: from the second one on, nothing is allocated.
struct CarrierScratch {
    // Of an antenna that receives something.
    struct Level {
        const double *energy;
        double inverse; // 1 over what noise leaves of it
        double signal;  // power of the signal over the same
    };

    std::vector<std::complex<double>> residual; // [symbol][stream][place][num_rx], what is not predicted
    std::vector<double> energy;                 // its |.|^2 over the gain, [num_rx][symbol, stream and place]
    std::vector<std::uint32_t> bits;            // of energies whose median is looked for
    std::vector<Level> levels;
    std::vector<double> score;
    std::vector<double> excess; // [num_active], by which a replaced value would be better; a sum
    std::vector<double> noise;  // [num_active], over the median
    bool is_uneven = false;     // no carrier is to be replaced, but `noise` is louder on `loud_first` to `loud_last`
    int loud_first = 0, loud_last = 0;
    std::vector<double> spread; // [num_active], the noise of other values in the residual
    std::vector<double> leaked; // [num_active], from carriers with interference
    std::vector<int> count;
    std::vector<std::uint8_t> changed;
};

class CarrierSearch {
public:
    explicit CarrierSearch(const TrainingMap &map);

    // No carrier holds interference.
    const CarrierState &clean() const { return clean_; }

    // Finds the carriers with interference, and replaces least-squares estimates there by what their neighbours say.
    //
    // ls:    [symbol][stream][place][num_rx], the mean delay taken out
    // power: [num_rx], the mean of |ls|^2
    // delay: that was taken out, in cycles per carrier. It, ls and power become those without the interference
    // state: of the frame before, and then of this one. Interference on more than a third of the carriers is none:
    //        neighbours would be too far away. Then the noise may have two levels (scratch.is_uneven).
    //
    // Returns whether there is any; scratch.residual then says what it is, and scratch.noise what other carriers hold.
    bool find(const TrainingMap &map, ArrayView<std::complex<double>, 4> ls, std::span<double> power, double &delay,
              CarrierState &state, CarrierScratch &scratch) const;

private:
    CarrierState clean_;
    double usual_leak_; // the median of all predictions
};

} // namespace kaq
