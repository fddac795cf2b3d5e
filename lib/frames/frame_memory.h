// SPDX-License-Identifier: GPL-3.0-or-later
// Wiener interpolation that remembers: a frame's channel from its own training symbols and those of frames before.
#pragma once

#include <complex>
#include <mutex>
#include <optional>
#include <span>

#include "frames/channel_interpolator.h"
#include "frames/frame_track.h"

namespace kaq {

// Follows the channel along a FrameTrack. Frames come in the order of their arrival.
//
// A frame that does not fit to those before is estimated by itself, and what follows builds on it. So is one whose
// arrival is not known. For several threads: frames of two come in some order.
class FrameMemory : public ChannelInterpolator {
public:
    // frames: that an estimate is made of at most, at least 1, which is each by itself.
    FrameMemory(TrackedFormat format, int frames, FitProfile fit);

    void interpolate(const ObservedFrame &frame, const std::optional<FrameArrival> &arrival,
                     std::span<const std::complex<float>> slope, ArrayView<std::complex<float>, 4> h,
                     std::span<double> error) override;

    std::optional<double> forecast(const FrameArrival &arrival, double snr, ArrayView<std::complex<float>, 4> h,
                                   std::span<double> error, ForecastErrors &errors) override;

    // What is known at the last frame; nothing without a track. It does not wait for a frame.
    std::optional<TrackState> track() const;

    // Frames that did not fit to those before.
    long lost() const;

    const TrackedFormat &format() const { return track_.format(); }

private:
    // Places the frame in the track, or in a new one; whether it does not fit to those before.
    bool place(const ObservedFrame &frame, const std::optional<FrameArrival> &arrival);

    bool remembers_;
    std::mutex in_use_;
    FrameTrack track_;
    bool is_tracking_ = false;

    mutable std::mutex described_; // guards the rest
    TrackState state_;
    bool has_state_ = false;
    long lost_ = 0;
};

} // namespace kaq
