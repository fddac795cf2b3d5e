// SPDX-License-Identifier: GPL-3.0-or-later
// Views that know their extents, over memory that others own. std::span is the one of rank 1.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

#include "support/assert.h"

namespace kaq {

// An array of several dimensions in C order, without gaps: the last index is the fastest.
template <typename T, std::size_t Rank>
class ArrayView {
    static_assert(Rank >= 2, "std::span is the view of one dimension");

public:
    // Extents must not be negative.
    template <std::integral... Extents>
    requires(sizeof...(Extents) == Rank) ArrayView(T *data, Extents... extents)
        : data_(data), extents_{static_cast<std::size_t>(extents)...} {}

    // The same values, not to be written to.
    template <typename Mutable>
    requires(std::is_const_v<T> &&std::is_same_v<Mutable, std::remove_const_t<T>>)
        ArrayView(const ArrayView<Mutable, Rank> &other)
        : data_(other.data()), extents_(other.extents()) {}

    T *data() const { return data_; }
    const std::array<std::size_t, Rank> &extents() const { return extents_; }
    std::size_t extent(std::size_t dimension) const { return extents_[dimension]; }
    std::size_t size() const {
        std::size_t product = 1;
        for (const std::size_t extent : extents_)
            product *= extent;
        return product;
    }

    // All of it, as one row.
    std::span<T> flat() const { return {data_, size()}; }

    template <std::integral... Indices>
    requires(sizeof...(Indices) == Rank) T &operator()(Indices... indices) const {
        return data_[place(static_cast<std::size_t>(indices)...)];
    }

    // The last dimension, at these places of the others.
    template <std::integral... Indices>
    requires(sizeof...(Indices) == Rank - 1) std::span<T> row(Indices... indices)
    const {
        const std::size_t length = extents_[Rank - 1];
        return {data_ + place(static_cast<std::size_t>(indices)...) * length, length};
    }

private:
    // Of as many of the first dimensions as there are indices.
    template <typename... Indices>
    std::size_t place(Indices... indices) const {
        std::size_t dimension = 0, place = 0;
        for (const std::size_t index : {indices...}) {
            KAQ_ASSERT(index < extents_[dimension]);
            place = place * extents_[dimension++] + index;
        }
        return place;
    }

    T *data_;
    std::array<std::size_t, Rank> extents_;
};

template <typename T, std::integral... Extents>
ArrayView(T *, Extents...) -> ArrayView<T, sizeof...(Extents)>;

} // namespace kaq
