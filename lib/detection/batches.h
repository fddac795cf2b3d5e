// SPDX-License-Identifier: GPL-3.0-or-later
// The channels of an estimate in batches, one channel in each lane, and the threads that share them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "detection/lane_vectors.h"
#include "detection/ports.h"
#include "support/aligned.h"
#include "support/assert.h"
#include "support/thread_pool.h"

namespace kaq {

class Batches {
public:
    // Each batch has `batch_floats` floats, each thread `scratch_floats`. Throws std::invalid_argument if a number is
    // below 1, or there are too many threads.
    Batches(int num_channels, int lanes, std::size_t batch_floats, std::size_t scratch_floats, int num_threads);

    int num_channels() const { return num_channels_; }
    int lanes() const { return lanes_; }
    int num_threads() const { return threads_->size(); }
    int size() const { return static_cast<int>(batches_.size()); }
    // The first channel of a batch, and how many it has.
    int first_channel(int batch) const { return batch * lanes_; }
    int channels_of(int batch) const { return std::min(lanes_, num_channels_ - first_channel(batch)); }
    // visit(lane, channel): where there are fewer channels than lanes, several lanes have the same.
    template <typename Visit>
    void for_each_lane(int batch, const Visit &visit) const {
        const int first = first_channel(batch), count = channels_of(batch);
        for (int lane = 0, of = 0; lane < lanes_; ++lane) {
            visit(lane, first + of);
            if (++of == count)
                of = 0;
        }
    }

    AlignedVector<float> &operator[](int batch) { return batches_[batch]; }
    const AlignedVector<float> &operator[](int batch) const { return batches_[batch]; }
    AlignedVector<float> &scratch(int thread) { return scratch_[thread]; }

    // work(batch, thread) for every batch, by all threads.
    template <typename Work>
    void prepare(const Work &work) {
        std::atomic<int> next{0};
        threads_->run([&](int thread) {
            for (int batch; (batch = next++) < size();)
                work(batch, thread);
        });
    }

    // The sum of work(batch, vectors, thread), which detects some vectors of a batch, over all of them.
    template <typename Work>
    std::size_t detect(const ReceivedView &received, const DetectedView &detected, const Work &work) {
        check(received, detected);
        const int num_vectors = received.num_vectors;
        // each batch is cut into parts, of as many vectors as its lanes take in some steps
        const auto vectors_at_once = [&](int batch) { return steps_at_once * (lanes_ / channels_of(batch)); };
        const auto num_parts = [&](int batch) {
            return (static_cast<std::ptrdiff_t>(num_vectors) + vectors_at_once(batch) - 1) / vectors_at_once(batch);
        };
        const std::ptrdiff_t of_others = num_parts(0), total = of_others * (size() - 1) + num_parts(size() - 1);
        std::atomic<std::size_t> sum{0};
        threads_->run([&](int thread) {
            // each thread has one stretch
            const std::ptrdiff_t begin = total * thread / num_threads(), end = total * (thread + 1) / num_threads();
            std::size_t of_thread = 0;
            for (std::ptrdiff_t part = begin; part < end; ++part) {
                const int last = size() - 1;
                const int batch = of_others ? static_cast<int>(std::min<std::ptrdiff_t>(part / of_others, last)) : last;
                const int first = static_cast<int>(part - batch * of_others) * vectors_at_once(batch);
                const LaneVectors vectors{first_channel(batch), channels_of(batch), first,
                                          std::min(vectors_at_once(batch), num_vectors - first)};
                of_thread += work(batch, vectors, thread);
            }
            sum += of_thread;
        });
        return sum;
    }

private:
    static constexpr int steps_at_once = 16; // vectors of each lane that a thread takes together

    void check(const ReceivedView &received, const DetectedView &detected) const;

    int num_channels_, lanes_;
    std::vector<AlignedVector<float>> batches_;
    std::vector<AlignedVector<float>> scratch_; // per thread
    std::unique_ptr<ThreadPool> threads_;
};

} // namespace kaq
