// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_memory.h"

#include <algorithm>
#include <utility>

namespace kaq {

FrameMemory::FrameMemory(TrackedFormat format, int frames, FitProfile fit)
    : remembers_(frames > 1), track_(std::move(format), frames, std::move(fit)) {}

bool FrameMemory::place(const ObservedFrame &frame, const std::optional<FrameArrival> &arrival) {
    const bool was_tracking = std::exchange(is_tracking_, false); // so that no track is left if this fails
    if (was_tracking && arrival && !track_.is_old(*arrival)) {
        if (track_.num_rx() == static_cast<int>(frame.noise_var.size()) && track_.place(frame, *arrival))
            return track_.surprised();
        track_.begin(frame, *arrival);
        return true;
    }
    track_.begin(frame, arrival.value_or(FrameArrival{0, 0}));
    return false;
}

void FrameMemory::interpolate(const ObservedFrame &frame, const std::optional<FrameArrival> &arrival,
                              std::span<const std::complex<float>> slope, ArrayView<std::complex<float>, 4> h,
                              std::span<double> error) {
    const std::lock_guard lock(in_use_);
    bool is_lost = false;
    if (std::ranges::any_of(frame.noise_var, [](double noise_var) { return noise_var > 0; })) {
        is_lost = place(frame, arrival);
        track_.estimate(frame, slope, h, error);
        is_tracking_ = remembers_ && arrival;
    } else { // nothing is received
        is_tracking_ = false;
        std::ranges::fill(h.flat(), 0);
        std::ranges::fill(error, 0);
    }
    const std::lock_guard described(described_);
    lost_ += is_lost;
    has_state_ = is_tracking_;
    if (has_state_)
        track_.describe(state_);
}

std::optional<double> FrameMemory::forecast(const FrameArrival &arrival, double snr,
                                            ArrayView<std::complex<float>, 4> h, std::span<double> error,
                                            ForecastErrors &errors) {
    const std::lock_guard lock(in_use_);
    if (!is_tracking_ || !track_.is_next(arrival) || track_.num_rx() != static_cast<int>(h.extent(2)))
        return std::nullopt;
    return track_.forecast(arrival, snr, h, error, errors);
}

std::optional<TrackState> FrameMemory::track() const {
    const std::lock_guard lock(described_);
    return has_state_ ? std::optional(state_) : std::nullopt;
}

long FrameMemory::lost() const {
    const std::lock_guard lock(described_);
    return lost_;
}

} // namespace kaq
