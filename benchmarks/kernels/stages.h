// SPDX-License-Identifier: GPL-3.0-or-later
// The integer detector stage by stage: everything up to a stage is run, so that each sees the caches as it would, and
// the difference to the stage before is what it costs.
#pragma once

#include <complex>
#include <span>
#include <string>
#include <vector>

#include "detection/plan.h"

namespace speed {

// Steps of Kernel::prepare, as this file's copy of it runs them; none for a kernel that there is no copy for.
const std::vector<std::string> &preparation_steps(const kaq::Kernel &kernel, kaq::NetworkType type);

// The first `steps` steps for one batch of channels; arguments as for Kernel::prepare.
void prepare_until(const kaq::Kernel &kernel, int steps, const kaq::Network &network, const kaq::Size &size,
                   std::span<const kaq::Estimate> estimates, std::span<const kaq::ChannelToPrepare> channels,
                   std::span<float> scratch);

enum class DetectionStep { filter = 1, layers, symbols, llrs };

// A network with the buffers of kaq::Plan.
class Stages {
public:
    Stages(const kaq::Network &network, const kaq::Kernel &kernel, int num_channels, int num_rx, int num_tx);

    // `vectors_per_estimate` chooses the filter as kaq::Plan does.
    void set(std::span<const std::complex<float>> h, float noise_var, double inverse_root_snr,
             int vectors_per_estimate);
    // The first `steps` of preparation_steps(); all of Kernel::prepare where `steps` is 0.
    void prepare(int steps);
    // After all of `prepare`: all steps up to `last`.
    void detect(DetectionStep last, const kaq::ReceivedView &received, const kaq::DetectedView &detected);

private:
    kaq::Network network_;
    const kaq::Kernel &kernel_;
    int num_channels_;
    kaq::Size size_;
    kaq::IntegerArrays integers_;
    kaq::AlignedVector<std::complex<float>> first_, inverse_;
    kaq::AlignedVector<float> scale_, scratch_;
    kaq::AlignedVector<std::byte> packed_;
    std::vector<kaq::Estimate> estimates_;
    std::vector<kaq::ChannelToPrepare> to_prepare_;
    std::vector<kaq::PreparedChannel> channels_; // the same ones
};

} // namespace speed
