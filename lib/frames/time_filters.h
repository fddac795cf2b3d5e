// SPDX-License-Identifier: GPL-3.0-or-later
// Wiener filters over time: values of fading processes at some times from noisy ones at others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "frames/doppler_track.h"
#include "support/aligned.h"

namespace kaq {

// Of processes with variance 1, the strongest last.
struct TimeFilter {
    std::vector<float> weights; // [process][wanted][known]
    std::vector<double> errors; // [process][wanted], error variances
};

// Makes filters, and keeps those that were used last: frames that follow each other regularly need the same again.
//
// Times are in tenths of an OFDM symbol.
class TimeFilters {
public:
    explicit TimeFilters(std::vector<double> dopplers); // in cycles per symbol

    // The noise of the processes from now on.
    void set_noise(std::span<const double> noise);

    // known, wanted: times. The filter is there until the next call.
    const TimeFilter &get(StreamFading fading, std::span<const int> known, std::span<const int> wanted);

private:
    struct Entry {
        StreamFading fading{};
        std::vector<int> known, wanted;
        TimeFilter filter;
        std::uint64_t used = 0; // at which call; 0: never
    };

    void make(Entry &entry);

    std::vector<double> dopplers_, noise_;
    std::vector<Entry> entries_;
    std::uint64_t calls_ = 0;
    std::vector<double> correlations_[2]; // of the strongest and of others, [known and wanted][known]
    AlignedVector<double> rows_, errors_;
};

} // namespace kaq
