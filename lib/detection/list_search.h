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
    float by_level[max_lanes];
    Lanes values; // by level, or 4 a^2

    explicit LevelPrior(float half_distance) {
        const float prior4 = 4.0f * (half_distance * half_distance);
        for (int u = 0; u < max_lanes; ++u)
            by_level[u] = prior4 * static_cast<float>((u % num_levels) * (num_levels - 1 - u % num_levels));
        for (int u = 0; u < native_lanes; ++u)
            values[u] = is_table ? by_level[u] : prior4;
    }

    Lanes of_level(int u) const { return all(by_level[u]); }

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
    static constexpr int last_level_of_four = K == 16 ? 3 : 1; // whose paths have four children
    static constexpr int low_bits = (1 << (Bits + parent_bits)) - 1;

    const ListBatch &b;
    const ComplexLanes *rotated; // L^-1 H'^H y', by place
    const LevelPrior<Bits> prior;
    Lanes metric[K];
    LanesInt path[max_list_words][K]; // four levels' indices in a word
    Lanes last[2][Bits][2];           // the least metric by bit of the last stream's Gray code, and its value

    Search(const ListBatch &batch, const ComplexLanes *rotated_samples, float half_distance)
        : b(batch), rotated(rotated_samples), prior(half_distance) {}

    // For each of P paths about 2 R_pp u for the level's index u: what is left without the interference of the path.
    template <int P>
    [[gnu::always_inline]] inline void residuals(int level, Lanes *out) const {
        const ListLayout &layout = b.layout;
        const int p = layout.n - 1 - level / 2, words = (level + 3) / 4;
        const std::size_t low = layout.low_entries + level * layout.num_words;
        const std::size_t high = layout.high_entries + level * layout.num_words;
        // low and high bytes apart: in a function for both, 8x8 took 4 % longer (GCC 12)
        LanesInt total[P];
#pragma GCC unroll 16
        for (int i = 0; i < P; ++i)
            total[i] = LanesInt{};
        for (int g = 0; g < words; ++g) {
            const LanesInt row = b.integer(low, g);
#pragma GCC unroll 16
            for (int i = 0; i < P; ++i)
                total[i] = add_byte_products(total[i], path[g][i], row);
        }
        if (b.integer(layout.is_wide, level)[0]) {
            LanesInt of_high[P];
#pragma GCC unroll 16
            for (int i = 0; i < P; ++i)
                of_high[i] = LanesInt{};
            for (int g = 0; g < words; ++g) {
                const LanesInt row = b.integer(high, g);
#pragma GCC unroll 16
                for (int i = 0; i < P; ++i)
                    of_high[i] = add_byte_products(of_high[i], path[g][i], row);
            }
#pragma GCC unroll 16
            for (int i = 0; i < P; ++i)
                total[i] += of_high[i] << 8;
        }
        const Lanes base = (level % 2 ? rotated[p].im : rotated[p].re) + b(layout.offset, level);
        const Lanes minus_unit2 = -2.0f * b(layout.unit, p);
#pragma GCC unroll 16
        for (int i = 0; i < P; ++i)
            out[i] = plus_product(base, minus_unit2, to_float(total[i]));
    }

    // Every one of the P paths is expanded to its nearest `Children` levels, and the K best are kept.
    template <int P, int Children>
    [[gnu::always_inline]] inline void expand(int level) {
        const ListLayout &layout = b.layout;
        const int p = layout.n - 1 - level / 2;
        const Lanes r2 = 2.0f * b(layout.diagonal, p), gain = b(layout.index_gain, p);
        const Lanes centre = b(layout.index_offset, p) - static_cast<float>(Children / 2 - 1);
        Lanes keys[P * Children], of_paths[P];
        residuals<P>(level, of_paths);
#pragma GCC unroll 16
        for (int i = 0; i < P; ++i) {
            const Lanes of_path = of_paths[i];
            LanesInt index{};
            if constexpr (Children < num_levels) {
                const Lanes place = plus_product(centre, of_path, gain);
                index = truncated(clip(place, 0, num_levels - Children));
            }
            const Lanes first = to_float(index);
            Lanes distance = of_path;
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
        const int end = b.layout.num_levels - 2;
        if constexpr (P == K && Level > last_level_of_four) {
            for (int level = Level; level < end; ++level)
                expand<K, 2>(level);
            try_last_stream<K>();
        } else {
            if (Level >= end)
                return try_last_stream<P>();
            constexpr int children = Level == 0                    ? num_levels
                                     : Level <= last_level_of_four ? std::min(num_levels, 4)
                                                                   : 2;
            expand<P, children>(Level);
            run<std::min(K, P * children), Level + 1>();
        }
    }

    // Every one of the P paths with all levels of the last stream.
    template <int P>
    void try_last_stream() {
        const int level = b.layout.num_levels - 2;
        const Lanes r2 = 2.0f * b(b.layout.diagonal, 0);
        Lanes of_paths[2][P];
        residuals<P>(level, of_paths[0]);
        residuals<P>(level + 1, of_paths[1]);
#pragma GCC unroll 2
        for (int q = 0; q < 2; ++q)
            for (int bit = 0; bit < Bits; ++bit)
                last[q][bit][0] = last[q][bit][1] = all(no_path);
#pragma GCC unroll 1
        for (int i = 0; i < P; ++i) {
            Lanes nearest[2], by_bit[2][Bits][2];
#pragma GCC unroll 2
            for (int q = 0; q < 2; ++q) {
                const Lanes of_path = of_paths[q][i];
                bool found[Bits][2] = {};
#pragma GCC unroll 16
                for (int u = 0; u < num_levels; ++u) {
                    const Lanes distance = minus_product(of_path, r2, all(static_cast<float>(u)));
                    const Lanes square = plus_product(prior.of_level(u), distance, distance);
                    nearest[q] = u ? minimum(square, nearest[q]) : square;
#pragma GCC unroll 4
                    for (int bit = 0; bit < Bits; ++bit) {
                        const int value = (u ^ (u >> 1)) >> (Bits - 1 - bit) & 1;
                        Lanes &least = by_bit[q][bit][value];
                        least = found[bit][value] ? minimum(square, least) : square;
                        found[bit][value] = true;
                    }
                }
            }
#pragma GCC unroll 2
            for (int q = 0; q < 2; ++q) {
                const Lanes others = metric[i] + nearest[1 - q];
#pragma GCC unroll 4
                for (int bit = 0; bit < Bits; ++bit)
#pragma GCC unroll 2
                    for (int value = 0; value < 2; ++value)
                        last[q][bit][value] = minimum(others + by_bit[q][bit][value], last[q][bit][value]);
            }
            metric[i] = (metric[i] + nearest[0]) + nearest[1];
        }
        for (int i = P; i < K; ++i) { // fewer than K points in all
            metric[i] = all(no_path);
            for (int g = 0; g < b.layout.num_words; ++g)
                path[g][i] = LanesInt{};
        }
    }

    void run() {
        metric[0] = Lanes{};
        path[0][0] = LanesInt{};
        run<1, 0>();
    }

    // The best path's level indices by level (words of four); the LLRs by level and bit; and the list's spread, which
    // stands for the LLR where all paths agree about a bit.
    Lanes results(LanesInt *best_path, Lanes *llrs) const {
        Lanes best = metric[0], worst = metric[0];
        const int others = b.layout.num_levels - 2, words = (others + 3) / 4;
        for (int g = 0; g < b.layout.num_words; ++g)
            best_path[g] = g < words ? path[g][0] : LanesInt{};
#pragma GCC unroll 16
        for (int i = 1; i < K; ++i) {
            const Choice better = less(metric[i], best);
            best = choose(better, metric[i], best);
            worst = choose(less(metric[i], all(no_path)), maximum(metric[i], worst), worst);
            for (int g = 0; g < words; ++g)
                best_path[g] = choose(better, path[g][i], best_path[g]);
        }
        const Lanes spread = worst - best;
        constexpr std::int32_t inner_bits = 0x01010101 * ((num_levels - 1) >> 1);
        for (int g = 0; g < words; ++g) {
            const LanesInt gray = best_path[g] ^ ((best_path[g] >> 1) & inner_bits);
            LanesInt differs[K];
#pragma GCC unroll 16
            for (int i = 0; i < K; ++i)
                differs[i] = path[g][i] ^ ((path[g][i] >> 1) & inner_bits) ^ gray;
            const int count = std::min(4, others - 4 * g);
            for (int of_word = 0; of_word < count; ++of_word)
#pragma GCC unroll 4
                for (int bit = 0; bit < Bits; ++bit) {
                    const int place = 8 * of_word + Bits - 1 - bit;
                    Lanes other = all(no_path);
#pragma GCC unroll 16
                    for (int i = 0; i < K; ++i)
                        other = minimum_where(has_bit(differs[i], place), metric[i], other);
                    const Lanes distance = choose(less(other, all(no_path)), other - best, spread);
                    // a bit is the complement of the Gray code's
                    llrs[(4 * g + of_word) * Bits + bit] = choose(has_bit(gray, place), -distance, distance);
                }
        }
        for (int q = 0; q < 2; ++q) {
            LanesInt u{}, value{};
#pragma GCC unroll 4
            for (int bit = 0; bit < Bits; ++bit) {
                const Lanes llr = last[q][bit][1] - last[q][bit][0];
                llrs[(others + q) * Bits + bit] = llr;
                value ^= choose(less(last[q][bit][1], last[q][bit][0]), LanesInt{} + 1, LanesInt{});
                u = 2 * u + value; // from the Gray code, the highest bit first
            }
            const int level = others + q;
            best_path[level / 4] |= u << (8 * (level % 4));
        }
        return spread;
    }
};

} // namespace
} // namespace kaq
