// SPDX-License-Identifier: GPL-3.0-or-later
// Filters that are made when they are first needed.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace kaq {

// Filters for Numbers integers each. For several threads.
template <typename Filter, std::size_t Numbers>
class FilterCache {
public:
    using Key = std::array<int, Numbers>;
    using Make = std::function<std::shared_ptr<const Filter>(const Key &)>;

    // capacity: filters that are kept; beyond it the one goes that was made first.
    FilterCache(Make make, std::size_t capacity) : make_(std::move(make)), capacity_(capacity) {}

    // Throws what `make` throws. `make` may be called twice for one key, by two threads at once.
    std::shared_ptr<const Filter> get(const Key &key) {
        {
            const std::lock_guard lock(mutex_);
            if (const auto found = filters_.find(key); found != filters_.end())
                return found->second;
        }
        std::shared_ptr<const Filter> made = make_(key); // unlocked: it may wait for another thread that wants a filter
        const std::lock_guard lock(mutex_);
        if (filters_.insert_or_assign(key, made).second)
            order_.push_back(key);
        if (order_.size() > capacity_) {
            filters_.erase(order_.front());
            order_.pop_front();
        }
        return made;
    }

private:
    Make make_;
    std::size_t capacity_;
    std::mutex mutex_;
    std::map<Key, std::shared_ptr<const Filter>> filters_;
    std::deque<Key> order_;
};

} // namespace kaq
