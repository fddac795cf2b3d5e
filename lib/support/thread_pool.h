// SPDX-License-Identifier: GPL-3.0-or-later
// Threads that wait for work, so that a call does not start any.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace kaq {

class ThreadPool {
public:
    // The calling thread is one of them: 1 starts none.
    explicit ThreadPool(int num_threads) {
        try {
            for (int index = 1; index < num_threads; ++index)
                threads_.emplace_back([this, index] { wait_for_work(index); });
        } catch (...) { // the system has no more threads
            end();
            throw;
        }
    }

    ~ThreadPool() { end(); }

    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    int size() const { return static_cast<int>(threads_.size()) + 1; }

    // work(index) for each index below size(), each on a thread of its own; returns when all have returned. Not to be
    // called by two threads at once. `work` must not throw.
    template <typename Work>
    void run(const Work &work) {
        if (threads_.empty())
            return work(0);
        {
            const std::lock_guard lock(mutex_);
            work_ = &work;
            call_ = [](const void *of, int index) { (*static_cast<const Work *>(of))(index); };
            num_running_ = static_cast<int>(threads_.size());
            ++round_;
        }
        start_.notify_all();
        work(0);
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return num_running_ == 0; });
    }

private:
    void end() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        start_.notify_all();
        for (std::thread &thread : threads_)
            thread.join();
    }

    void wait_for_work(int index) {
        std::unique_lock lock(mutex_);
        for (unsigned seen = 0;;) {
            start_.wait(lock, [&] { return ending_ || round_ != seen; });
            if (ending_)
                return;
            seen = round_;
            lock.unlock();
            call_(work_, index);
            lock.lock();
            if (--num_running_ == 0)
                done_.notify_one();
        }
    }

    std::mutex mutex_;
    std::condition_variable start_, done_;
    const void *work_ = nullptr;
    void (*call_)(const void *, int) = nullptr;
    unsigned round_ = 0;
    int num_running_ = 0;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

} // namespace kaq
