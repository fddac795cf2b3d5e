// SPDX-License-Identifier: GPL-3.0-or-later
// Buffers aligned to a cache line, which is also the widest vector register.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace kaq {

template <typename T>
struct AlignedAllocator {
    using value_type = T;
    static constexpr std::align_val_t alignment{64};

    AlignedAllocator() = default;
    template <typename U>
    AlignedAllocator(const AlignedAllocator<U> &) {}

    T *allocate(std::size_t count) { return static_cast<T *>(::operator new(count * sizeof(T), alignment)); }
    void deallocate(T *pointer, std::size_t) { ::operator delete(pointer, alignment); }
    bool operator==(const AlignedAllocator &) const { return true; }
};

inline bool is_aligned(const void *pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 64 == 0; }

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

} // namespace kaq
