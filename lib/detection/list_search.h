// SPDX-License-Identifier: GPL-3.0-or-later
// K-best search over the levels of the real-valued model, one vector in each lane; list_search.py specifies every
// operation. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <bit>

#include "detection/list_preparation.h"

namespace kaq {
namespace {

constexpr float no_path = 1e30f; // the metric where there is no path
constexpr int max_list_levels = 2 * max_list_streams;
constexpr int max_list_words = max_list_levels / 4;

inline void compare_exchange(Lanes &a, Lanes &b) {
    const Lanes low = minimum(a, b);
    b = maximum(a, b);
    a = low;
}

// Batcher's odd-even merge of places first, first + Stride, ... of `Count` places (Batcher, AFIPS 1968).
template <int First, int Count, int Stride>
[[gnu::always_inline]] inline void merge(Lanes *v) {
    if constexpr (2 * Stride < Count) {
        merge<First, Count, 2 * Stride>(v);
        merge<First + Stride, Count, 2 * Stride>(v);
#pragma GCC unroll 16
        for (int i = First + Stride; i + Stride < First + Count; i += 2 * Stride)
            compare_exchange(v[i], v[i + Stride]);
    } else {
        compare_exchange(v[First], v[First + Stride]);
    }
}

// Ascending.
template <int Count, int First = 0>
[[gnu::always_inline]] inline void sort(Lanes *v) {
    if constexpr (Count > 1) {
        sort<Count / 2, First>(v);
        sort<Count / 2, First + Count / 2>(v);
        merge<First, Count, 1>(v);
    }
}

// Of the `Count` metrics, the K smallest go to the first places.
template <int K, int Count>
[[gnu::always_inline]] inline void keep_best(Lanes *metrics) {
    if constexpr (Count > K) {
        static_assert(Count % K == 0);
        sort<K>(metrics);
#pragma GCC unroll 8
        for (int first = K; first < Count; first += K) {
            sort<K>(metrics + first);
            if (first > K)
                sort<K>(metrics);
#pragma GCC unroll 16
            for (int i = 0; i < K; ++i)
                metrics[i] = minimum(metrics[i], metrics[first + K - 1 - i]);
        }
    }
}

// What the regularization took from a level, 4 a^2 u (L - 1 - u) but for a constant. Registers with room for all levels
// are tables.
template <int Bits>
struct LevelPrior {
    static constexpr int num_levels = 1 << Bits;
    Lanes values; // by level, or 4 a^2

    explicit LevelPrior(float half_distance) {
        const float prior4 = 4.0f * (half_distance * half_distance);
        for (int u = 0; u < native_lanes; ++u)
            values[u] =
                is_table ? prior4 * static_cast<float>((u % num_levels) * (num_levels - 1 - u % num_levels)) : prior4;
    }

#if defined(__AVX512F__)
    static constexpr bool is_table = true;
    Lanes of(const Lanes &, const LanesInt &first, int child) const {
        return _mm512_permutexvar_ps((__m512i)(first + child), values);
    }
#else
    static constexpr bool is_table = false;
    Lanes of(const Lanes &first, const LanesInt &, int child) const {
        const Lanes u = first + static_cast<float>(child);
        return values * (u * (static_cast<float>(num_levels - 1) - u));
    }
#endif
};

template <int K, int Bits>
struct Search {
    static constexpr int num_levels = 1 << Bits;
    static constexpr int parent_bits = std::bit_width(static_cast<unsigned>(K)) - 1;
    static constexpr int low_bits = (1 << (Bits + parent_bits)) - 1;

    const ListBatch &b;
    const Lanes *rotated_re, *rotated_im; // L^-1 H'^H y', by place
    const LevelPrior<Bits> prior;
    Lanes metric[K];
    LanesInt path[max_list_words][K]; // four levels' indices in a word

    // Every one of the P paths is expanded to its nearest `Children` levels, and the K best are kept.
    template <int P, int Children>
    [[gnu::always_inline]] inline void expand(int level) {
        const ListLayout &layout = b.layout;
        const int p = layout.n - 1 - level / 2, words = (level + 3) / 4;
        const Lanes r2 = 2.0f * b(layout.diagonal, p), gain = b(layout.index_gain, p);
        const Lanes base = (level % 2 ? rotated_im : rotated_re)[p] + b(layout.offset, level);
        const Lanes centre = b(layout.index_offset, p) - static_cast<float>(Children / 2 - 1);
        const Lanes minus_unit2 = -2.0f * b(layout.unit, p);
        const std::size_t low = layout.low_entries + level * layout.num_words;
        const std::size_t high = layout.high_entries + level * layout.num_words;
        const bool wide = b.integer(layout.is_wide, level)[0];
        Lanes keys[P * Children];
#pragma GCC unroll 16
        for (int i = 0; i < P; ++i) {
            LanesInt total{};
            for (int g = 0; g < words; ++g)
                total = add_byte_products(total, path[g][i], b.integer(low, g));
            if (wide) {
                LanesInt of_high{};
                for (int g = 0; g < words; ++g)
                    of_high = add_byte_products(of_high, path[g][i], b.integer(high, g));
                total += of_high << 8;
            }
            const Lanes residual = plus_product(base, minus_unit2, to_float(total));
            LanesInt index{};
            if constexpr (Children < num_levels) {
                const Lanes place = plus_product(centre, residual, gain);
                index = truncated(clip(place, 0, num_levels - Children));
            }
            const Lanes first = to_float(index);
            Lanes distance = residual;
            if constexpr (Children < num_levels)
                distance = minus_product(distance, r2, first);
#pragma GCC unroll 16
            for (int child = 0; child < Children; ++child) {
                Lanes of_child = plus_product(metric[i], distance, distance);
                if constexpr (num_levels > 2) // the outer levels of QPSK are all there are
                    of_child = of_child + prior.of(first, index, child);
                keys[child * P + i] = float_of_bits((bits_of(of_child) & ~low_bits) | (index + (child + (i << Bits))));
                distance = distance - r2;
            }
        }
        keep_best<K, P * Children>(keys);
        constexpr int kept = std::min(K, P * Children);
#pragma GCC unroll 16
        for (int i = 0; i < kept; ++i)
            metric[i] = keys[i];
        follow<P, kept>(level);
    }

    // The paths follow the metrics that were kept, and take the new level's index.
    template <int P, int Kept>
    [[gnu::always_inline]] inline void follow(int level) {
        const int words = (level + 3) / 4;
        for (int g = 0; g < words; ++g) {
            LanesInt old[P];
#pragma GCC unroll 16
            for (int i = 0; i < P; ++i)
                old[i] = path[g][i];
#pragma GCC unroll 16
            for (int i = 0; i < Kept; ++i)
                path[g][i] = chosen<P>(old, bits_of(metric[i]));
        }
        const int shift = 8 * (level % 4), g = level / 4;
#pragma GCC unroll 16
        for (int i = 0; i < Kept; ++i) {
            const LanesInt index = (bits_of(metric[i]) & (num_levels - 1)) << shift;
            path[g][i] = shift ? path[g][i] | index : index;
        }
    }

    // The one of P values that a key's parent bits say.
    template <int P>
    [[gnu::always_inline]] static inline LanesInt chosen(const LanesInt *of, const LanesInt &key) {
        if constexpr (P == 1)
            return of[0];
        else {
            constexpr int half = P / 2, bit = std::bit_width(static_cast<unsigned>(half)) - 1;
            return choose(has_bit(key, Bits + bit), chosen<half>(of + half, key), chosen<half>(of, key));
        }
    }

    // From this level on, with P paths.
    template <int P, int Level>
    [[gnu::always_inline]] inline void run() {
        const int end = b.layout.num_levels;
        if constexpr (P == K && Level >= 2) {
            for (int level = Level; level < end; ++level)
                expand<K, 2>(level);
        } else {
            if (Level >= end) { // fewer than K points in all
                for (int i = P; i < K; ++i) {
                    metric[i] = all(no_path);
                    for (int g = 0; g < b.layout.num_words; ++g)
                        path[g][i] = LanesInt{};
                }
                return;
            }
            constexpr int children = Level == 0 ? num_levels : Level == 1 ? std::min(num_levels, 4) : 2;
            expand<P, children>(Level);
            run<std::min(K, P * children), Level + 1>();
        }
    }

    void run() {
        metric[0] = Lanes{};
        run<1, 0>();
    }

    // The best path's level indices by level (words of four), and the LLRs by level and bit: 0 where all paths agree
    // about a bit.
    void results(LanesInt *best_path, Lanes *llrs) const {
        Lanes best = metric[0];
        const int words = b.layout.num_words;
        for (int g = 0; g < words; ++g)
            best_path[g] = path[g][0];
#pragma GCC unroll 16
        for (int i = 1; i < K; ++i) {
            const Choice better = less(metric[i], best);
            best = choose(better, metric[i], best);
            for (int g = 0; g < words; ++g)
                best_path[g] = choose(better, path[g][i], best_path[g]);
        }
        constexpr std::int32_t inner_bits = 0x01010101 * ((num_levels - 1) >> 1);
        for (int g = 0; g < words; ++g) {
            const LanesInt gray = best_path[g] ^ ((best_path[g] >> 1) & inner_bits);
            LanesInt differs[K];
#pragma GCC unroll 16
            for (int i = 0; i < K; ++i)
                differs[i] = path[g][i] ^ ((path[g][i] >> 1) & inner_bits) ^ gray;
            const int count = std::min(4, b.layout.num_levels - 4 * g);
            for (int of_word = 0; of_word < count; ++of_word)
#pragma GCC unroll 4
                for (int bit = 0; bit < Bits; ++bit) {
                    const int place = 8 * of_word + Bits - 1 - bit;
                    Lanes other = all(no_path);
#pragma GCC unroll 16
                    for (int i = 0; i < K; ++i)
                        other = minimum_where(has_bit(differs[i], place), metric[i], other);
                    const Lanes distance = choose(less(other, all(no_path)), other - best, Lanes{});
                    // a bit is the complement of the Gray code's
                    llrs[(4 * g + of_word) * Bits + bit] = choose(has_bit(gray, place), -distance, distance);
                }
        }
    }
};

} // namespace
} // namespace kaq
