// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/list_plan.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "detection/exact_norm.h"
#include "detection/instruction_sets.h"
#include "support/assert.h"
#include "support/expect.h"

namespace kaq {
namespace {

constexpr int max_list_threads = 1024;
constexpr int steps_at_once = 16; // vectors of each lane that a thread takes together

// Noise is at least this times the mean power of a stream at all antennas; channel_levels.py.
constexpr double least_noise = 1e-9;

} // namespace

ListPlan::ListPlan(ListNetwork network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads)
    : network_(std::move(network)), kernel_(kernel), list_(list_kernel_of(kernel)),
      num_channels_(num_channels), size_{num_rx, num_tx} {
    network_.check();
    expect(num_channels >= 1, "num_channels is ", num_channels, "; at least 1 expected");
    expect(num_rx >= 1 && num_rx <= max_list_rx, "num_rx is ", num_rx, "; 1 to ", max_list_rx, " expected");
    expect(num_tx >= 1 && num_tx <= max_list_streams, "num_tx is ", num_tx, "; 1 to ", max_list_streams, " expected");
    expect(num_threads >= 1 && num_threads <= max_list_threads, "num_threads is ", num_threads, "; 1 to ",
           max_list_threads, " expected");
    batches_.resize((num_channels + list_.lanes - 1) / list_.lanes);
    for (AlignedVector<float> &batch : batches_)
        batch.resize(list_.batch_floats(size_));
    levels_.resize(num_channels);
    scratch_.resize(num_threads);
    for (AlignedVector<float> &scratch : scratch_)
        scratch.resize(list_.scratch_floats(size_));
    threads_ = std::make_unique<ThreadPool>(num_threads);
}

int ListPlan::channels_of(int batch) const { return std::min(list_.lanes, num_channels_ - first_channel(batch)); }

void ListPlan::prepare(std::span<const std::complex<float>> h, const Noise &noise) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    KAQ_ASSERT(h.size() == num_channels_ * antennas);
    for_each_batch([&](int batch, int) { load(batch, h); });
    constexpr double any_snr_db = 1e3; // no parameter follows the SNR but through the noise
    find_levels(noise, num_rx(), num_tx(), {-any_snr_db, any_snr_db}, levels_);
    for_each_batch([&](int batch, int thread) {
        ListLevel lanes[max_lanes];
        for (int l = 0; l < list_.lanes; ++l) {
            const ChannelLevels &of = levels_[channel_of(batch, l)];
            const double gain = of.gain, least = least_noise * (of.power / num_tx() * num_rx() * (gain * gain));
            lanes[l] = {of.gain, static_cast<float>(of.gain > 0 ? std::max(of.noise_var, least) : 1.0)};
        }
        list_.prepare(network_, size_, {lanes, static_cast<std::size_t>(list_.lanes)}, batches_[batch],
                      scratch_[thread]);
    });
}

// work(batch, thread) for every batch, by all threads
template <typename Work>
void ListPlan::for_each_batch(const Work &work) {
    std::atomic<int> next{0};
    threads_->run([&](int thread) {
        for (int batch; (batch = next++) < num_batches();)
            work(batch, thread);
    });
}

void ListPlan::load(int batch, std::span<const std::complex<float>> h) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    const std::complex<float> *lanes[max_lanes];
    float squared_norms[max_lanes];
    const std::size_t num_lanes = list_.lanes;
    for (int l = 0; l < list_.lanes; ++l)
        lanes[l] = h.data() + channel_of(batch, l) * antennas;
    list_.load(size_, {lanes, num_lanes}, batches_[batch], {squared_norms, num_lanes});
    for (int l = 0; l < channels_of(batch); ++l) {
        double norm = squared_norms[l];
        if (!(norm > least_exact && norm < largest_exact))
            norm = exact_squared_norm({lanes[l], antennas});
        levels_[channel_of(batch, l)].power = norm / num_rx();
    }
}

std::size_t ListPlan::detect(const ReceivedView &received, const DetectedView &detected) {
    const int num_vectors = received.num_vectors;
    KAQ_ASSERT(received.num_channels == num_channels_ && detected.symbols.num_channels == num_channels_);
    KAQ_ASSERT(detected.symbols.num_vectors == num_vectors);
    KAQ_ASSERT(detected.llrs.ports.empty() ||
               (detected.llrs.num_channels == num_channels_ && detected.llrs.num_vectors == num_vectors));
    // each batch is cut into parts, of as many vectors as its lanes take in some steps
    const auto vectors_at_once = [&](int batch) { return steps_at_once * (list_.lanes / channels_of(batch)); };
    const auto num_parts = [&](int batch) {
        return (static_cast<std::ptrdiff_t>(num_vectors) + vectors_at_once(batch) - 1) / vectors_at_once(batch);
    };
    const std::ptrdiff_t of_others = num_parts(0),
                         total = of_others * (num_batches() - 1) + num_parts(num_batches() - 1);
    std::atomic<std::size_t> num_invalid{0};
    threads_->run([&](int thread) {
        // each thread has one stretch
        const std::ptrdiff_t begin = total * thread / num_threads(), end = total * (thread + 1) / num_threads();
        std::size_t invalid = 0;
        for (std::ptrdiff_t part = begin; part < end; ++part) {
            const int batch = of_others
                                  ? static_cast<int>(std::min<std::ptrdiff_t>(part / of_others, num_batches() - 1))
                                  : num_batches() - 1;
            const int first = static_cast<int>(part - batch * of_others) * vectors_at_once(batch);
            const LaneVectors vectors{first_channel(batch), channels_of(batch), first,
                                      std::min(vectors_at_once(batch), num_vectors - first)};
            invalid += list_.detect(network_, size_, batches_[batch], vectors, received, detected, scratch_[thread]);
        }
        num_invalid += invalid;
    });
    return num_invalid;
}

} // namespace kaq
