// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/batches.h"

#include "support/expect.h"

namespace kaq {
namespace {

constexpr int max_threads = 1024;

} // namespace

Batches::Batches(int num_channels, int lanes, std::size_t batch_floats, std::size_t scratch_floats, int num_threads)
    : num_channels_(num_channels), lanes_(lanes) {
    expect(num_channels >= 1, "num_channels is ", num_channels, "; at least 1 expected");
    expect(num_threads >= 1 && num_threads <= max_threads, "num_threads is ", num_threads, "; 1 to ", max_threads,
           " expected");
    batches_.resize((num_channels + lanes - 1) / lanes);
    for (AlignedVector<float> &batch : batches_)
        batch.resize(batch_floats);
    scratch_.resize(num_threads);
    for (AlignedVector<float> &scratch : scratch_)
        scratch.resize(scratch_floats);
    threads_ = std::make_unique<ThreadPool>(num_threads);
}

void Batches::check([[maybe_unused]] const ReceivedView &received,
                    [[maybe_unused]] const DetectedView &detected) const {
    KAQ_ASSERT(received.num_channels == num_channels_ && detected.symbols.num_channels == num_channels_);
    KAQ_ASSERT(detected.symbols.num_vectors == received.num_vectors);
    KAQ_ASSERT(detected.llrs.ports.empty() ||
               (detected.llrs.num_channels == num_channels_ && detected.llrs.num_vectors == received.num_vectors));
}

} // namespace kaq
