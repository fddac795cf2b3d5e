// SPDX-License-Identifier: GPL-3.0-or-later
// The K layers of both networks in single precision, laid out as the integer kernel lays them out: rows in the lanes of
// a register, several vectors interleaved. Included by files that are compiled for one instruction set.
//
// A tile is Groups registers of rows times Vectors vectors; its sums stay in registers over all columns, and
// the element-wise part of the next layer follows while they are there.
#pragma once

#include "network_base.h"

namespace speed {
namespace {

// One channel. Rows are padded to `stride`.
struct FloatChannel {
    bool admm;
    int rows; // 2 num_tx
    int stride;
    int num_layers;
    float outermost;            // largest decision threshold
    const float *matrix;        // [rows][stride], symmetric: P (ADMM-Net), c G (PGD-Net)
    const float *slope;         // [K][stride]
    const float *gain;          // [K][stride], min(dual_step P_ii, 2)
    const float *relaxation;    // [K]
    const float *gradient_step; // [K]
    const float *threshold;     // [K]
    const kaq::Layer *layers;   // [K]
};

// sum += matrix v; v is [Vectors][v_step]. With few sums, each is split into parts that hide the multiply-add's
// latency.
template <int Groups, int Vectors>
inline __attribute__((always_inline)) void product(const float *matrix, int stride, int rows, const float *v,
                                                   int v_step, Vec (&sum)[Vectors][Groups]) {
    constexpr int sums = Groups * Vectors, parts = sums >= 8 ? 1 : sums >= 4 ? 2 : sums >= 2 ? 4 : 8;
    Vec part[parts][Vectors][Groups];
    for (int p = 0; p < parts; ++p)
        for (int i = 0; i < Vectors; ++i)
            for (int g = 0; g < Groups; ++g)
                part[p][i][g] = p ? all(0) : sum[i][g];
    int j = 0;
    for (; j + parts <= rows; j += parts)
        for (int p = 0; p < parts; ++p) {
            Vec column[Groups];
            for (int g = 0; g < Groups; ++g)
                column[g] = load(matrix + (j + p) * stride + g * width);
            for (int i = 0; i < Vectors; ++i) {
                const Vec entry = all(v[i * v_step + j + p]);
                for (int g = 0; g < Groups; ++g)
                    part[p][i][g] += column[g] * entry;
            }
        }
    for (; j < rows; ++j)
        for (int i = 0; i < Vectors; ++i)
            for (int g = 0; g < Groups; ++g)
                part[0][i][g] += load(matrix + j * stride + g * width) * all(v[i * v_step + j]);
    for (int step = parts / 2; step >= 1; step /= 2)
        for (int p = 0; p < step; ++p)
            for (int i = 0; i < Vectors; ++i)
                for (int g = 0; g < Groups; ++g)
                    part[p][i][g] += part[p + step][i][g];
    for (int i = 0; i < Vectors; ++i)
        for (int g = 0; g < Groups; ++g)
            sum[i][g] = part[0][i][g];
}

// From x to what the matrix is applied to next, for the rows of one register. z = u + v is not kept.
struct AdmmRows {
    Vec slope, gain, relaxation, outermost;

    AdmmRows(const FloatChannel &channel, int k, int row)
        : slope(load(channel.slope + k * channel.stride + row)), gain(load(channel.gain + k * channel.stride + row)),
          relaxation(all(channel.relaxation[k])), outermost(all(channel.outermost)) {}

    void advance(Vec x, float *u, float *v_from, float *v_to) const {
        const Vec old_u = load(u), z = old_u + load(v_from);
        const Vec relaxed = z + relaxation * (x - z);
        const Vec next_z = ramp(relaxed + old_u, slope, outermost);
        const Vec next_u = old_u + gain * (relaxed - next_z);
        store(u, next_u);
        store(v_to, next_z - next_u);
    }
};

constexpr int max_stride = 128;

template <int Groups, int Vectors>
struct Admm {
    static void run(const FloatChannel &channel, const float *b, float *t) {
        const int stride = channel.stride, layers = channel.num_layers;
        alignas(64) float u[Vectors * max_stride], v[2][Vectors * max_stride];
        for (int i = 0; i < Vectors; ++i)
            for (int row = 0; row < stride; row += width) {
                // the first layer, with z = u = 0
                const AdmmRows rows(channel, 0, row);
                const Vec relaxed = rows.relaxation * load(b + i * stride + row);
                const Vec z = ramp(relaxed, rows.slope, rows.outermost), first_u = rows.gain * (relaxed - z);
                store(u + i * stride + row, first_u);
                store(v[0] + i * stride + row, z - first_u);
            }
        for (int k = 0; k < layers; ++k)
            for (int row = 0; row < stride; row += Groups * width) {
                Vec x[Vectors][Groups];
                for (int i = 0; i < Vectors; ++i)
                    for (int g = 0; g < Groups; ++g)
                        x[i][g] = load(b + i * stride + row + g * width);
                float *from = v[k % 2], *to = v[1 - k % 2];
                product<Groups, Vectors>(channel.matrix + row, stride, channel.rows, from, stride, x);
                for (int g = 0; g < Groups; ++g) {
                    const int place = row + g * width;
                    if (k + 1 == layers) {
                        for (int i = 0; i < Vectors; ++i)
                            store(t + i * stride + place, x[i][g]);
                        continue;
                    }
                    const AdmmRows rows(channel, k + 1, place);
                    for (int i = 0; i < Vectors; ++i)
                        rows.advance(x[i][g], u + i * stride + place, from + i * stride + place,
                                     to + i * stride + place);
                }
            }
    }
};

template <int Groups, int Vectors>
struct Pgd {
    static void run(const FloatChannel &channel, const float *b, float *t) {
        const int stride = channel.stride, layers = channel.num_layers;
        alignas(64) float x[2][Vectors * max_stride] = {};
        for (int k = 0; k < layers; ++k) {
            const Vec step = all(channel.gradient_step[k]), threshold = all(channel.threshold[k]);
            const Vec outermost = all(channel.outermost), zero = all(0);
            float *from = x[k % 2], *to = k + 1 == layers ? t : x[1 - k % 2];
            for (int row = 0; row < stride; row += Groups * width) {
                Vec gradient[Vectors][Groups]; // c G x - b
                for (int i = 0; i < Vectors; ++i)
                    for (int g = 0; g < Groups; ++g)
                        gradient[i][g] = -load(b + i * stride + row + g * width);
                if (k) // x = 0 at first
                    product<Groups, Vectors>(channel.matrix + row, stride, channel.rows, from, stride, gradient);
                for (int g = 0; g < Groups; ++g) {
                    const int place = row + g * width;
                    const Vec slope = load(channel.slope + k * stride + place);
                    for (int i = 0; i < Vectors; ++i) {
                        Vec r = load(from + i * stride + place) - step * gradient[i][g];
                        if (channel.layers[k].prox == kaq::Prox::ramp)
                            r = ramp(r, slope, outermost);
                        else if (channel.layers[k].prox == kaq::Prox::soft_threshold)
                            r = maximum(r - threshold, zero) + minimum(r + threshold, zero);
                        store(to + i * stride + place, r);
                    }
                }
            }
        }
    }
};

// `num_vectors` vectors, `Vectors` at a time, the rest in halves.
template <template <int, int> class Layers, int Groups, int Vectors>
void blocks(const FloatChannel &channel, const float *b, float *t, int num_vectors) {
    const int stride = channel.stride;
    for (; num_vectors >= Vectors; num_vectors -= Vectors, b += Vectors * stride, t += Vectors * stride)
        Layers<Groups, Vectors>::run(channel, b, t);
    if constexpr (Vectors > 1)
        if (num_vectors)
            blocks<Layers, Groups, Vectors / 2>(channel, b, t, num_vectors);
}

template <int Groups, int Vectors>
void tile(const FloatChannel &channel, const float *b, float *t, int num_vectors) {
    if (channel.admm)
        blocks<Admm, Groups, Vectors>(channel, b, t, num_vectors);
    else
        blocks<Pgd, Groups, Vectors>(channel, b, t, num_vectors);
}

} // namespace
} // namespace speed
