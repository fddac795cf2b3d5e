// SPDX-License-Identifier: GPL-3.0-or-later
// Threads that wait for work, so that a call does not start any.
#pragma once

#ifndef _WIN32
#include <unistd.h>
#endif

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace kaq {

class ThreadPool {
public:
    // The calling thread is one of them: 1 starts none.
    explicit ThreadPool(int num_threads) : size_(num_threads) {
        try {
            for (int index = 1; index < num_threads; ++index)
                shared_->threads.emplace_back([shared = shared_.get(), index] { shared->wait_for_work(index); });
        } catch (...) { // the system has no more threads
            shared_->end();
            throw;
        }
    }

    ~ThreadPool() {
        // After fork() there is nobody to join, and destroying what the threads wait on would wait for them.
        if (is_copy())
            static_cast<void>(shared_.release());
        else
            shared_->end();
    }

    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    int size() const { return size_; }

    // work(index) for each index below size(), each on a thread of its own; returns when all have returned. Not to be
    // called by two threads at once. `work` must not throw. In a process that fork() has made, which has none of the
    // threads, the calling one does it all.
    template <typename Work>
    void run(const Work &work) {
        if (size_ == 1)
            return work(0);
        if (is_copy()) {
            for (int index = 0; index < size_; ++index)
                work(index);
            return;
        }
        shared_->begin(&work, [](const void *of, int index) { (*static_cast<const Work *>(of))(index); });
        work(0);
        shared_->wait_for_all();
    }

private:
    // What the threads see.
    struct Shared {
        void begin(const void *of, void (*how)(const void *, int)) {
            {
                const std::lock_guard lock(mutex);
                work = of;
                call = how;
                num_running = static_cast<int>(threads.size());
                ++round;
            }
            start.notify_all();
        }

        void wait_for_all() {
            std::unique_lock lock(mutex);
            done.wait(lock, [this] { return num_running == 0; });
        }

        void end() {
            {
                const std::lock_guard lock(mutex);
                ending = true;
            }
            start.notify_all();
            for (std::thread &thread : threads)
                thread.join();
        }

        void wait_for_work(int index) {
            std::unique_lock lock(mutex);
            for (unsigned seen = 0;;) {
                start.wait(lock, [&] { return ending || round != seen; });
                if (ending)
                    return;
                seen = round;
                lock.unlock();
                call(work, index);
                lock.lock();
                if (--num_running == 0)
                    done.notify_one();
            }
        }

        std::mutex mutex;
        std::condition_variable start, done;
        const void *work = nullptr;
        void (*call)(const void *, int) = nullptr;
        unsigned round = 0;
        int num_running = 0;
        bool ending = false;
        std::vector<std::thread> threads;
    };

    // Whether fork() has copied this into a process that has none of the threads.
    bool is_copy() const { return process_id() != process_; }

    static long process_id() {
#ifdef _WIN32
        return 0; // there is no fork()
#else
        return getpid();
#endif
    }

    int size_;
    long process_ = process_id();
    std::unique_ptr<Shared> shared_ = std::make_unique<Shared>();
};

} // namespace kaq
