// SPDX-License-Identifier: GPL-3.0-or-later
// Shapes of NumPy arrays: as the views that lib takes, and as error messages show them.
#pragma once

#include "arrays.h"

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <span>
#include <utility>
#include <vector>

#include "support/expect.h"
#include "support/views.h"

// expect(..., "shape ", Shape{array}, " given") shows it as Python does.
struct Shape {
    const pybind11::array &of;
};

inline std::ostream &operator<<(std::ostream &out, const Shape &shape) {
    out << '(';
    for (pybind11::ssize_t i = 0; i < shape.of.ndim(); ++i)
        out << (i ? ", " : "") << shape.of.shape(i);
    return out << (shape.of.ndim() == 1 ? ",)" : ")");
}

// An array of `Rank` dimensions.
template <std::size_t Rank, typename T>
kaq::ArrayView<const T, Rank> view(const Array<T> &array) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return kaq::ArrayView<const T, Rank>(array.data(), array.shape(I)...);
    }
    (std::make_index_sequence<Rank>());
}
template <std::size_t Rank, typename T>
kaq::ArrayView<T, Rank> mutable_view(Array<T> &array) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return kaq::ArrayView<T, Rank>(array.mutable_data(), array.shape(I)...);
    }
    (std::make_index_sequence<Rank>());
}

// All values of an array.
template <typename T>
std::span<const T> values_of(const Array<T> &array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}
template <typename T>
std::span<T> mutable_values_of(Array<T> &array) {
    return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

template <typename T>
std::vector<T> copy(const Array<T> &array) {
    return {array.data(), array.data() + array.size()};
}

// Each of `indices` has to be one of `count`; `what` says of what.
inline void expect_below(std::span<const int> indices, int count, const char *what) {
    const auto wrong =
        std::find_if(indices.begin(), indices.end(), [count](int index) { return index < 0 || index >= count; });
    kaq::expect(wrong == indices.end(), what, " below ", count, " expected; ", wrong == indices.end() ? 0 : *wrong,
                " given");
}
