// SPDX-License-Identifier: GPL-3.0-or-later
// What the integer kernel is compared with, in single precision: LMMSE, and the same networks.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <vector>

#include "detection/plan.h"

namespace speed {

// How the linear estimate is made. `filter`: (G + rho I)^-1 H^H, one matrix made per estimate, is the cheapest per
// vector. `triangles`: H^H, then both inverted Cholesky factors, is the cheapest per estimate. `matched`: H^H alone.
enum class Form { filter, triangles, matched };

// A detector of C channels; buffers as for kaq::Plan.
class Baseline {
public:
    virtual ~Baseline() = default;

    // h: [num_channels][num_rx][num_tx]
    virtual void prepare(const std::complex<float> *h, float noise_var) = 0;
    // Without LLRs.
    virtual void detect(const kaq::ReceivedView &received, const kaq::DetectedView &detected) = 0;
};

// A detector whose layers can be run alone, on what its own filter gave.
class LayeredBaseline : public Baseline {
public:
    // The linear estimates of all vectors, kept for `layers`.
    virtual void filter(const kaq::ReceivedView &received) = 0;
    // The K layers.
    virtual void layers() = 0;
};

// How the layers use the lanes of a register. `rows`: rows of one vector, as the integer kernel has it; a tile is
// `groups` registers of rows times `vectors` vectors. `channels`: one channel per lane, `vectors` vectors at a time;
// `groups` is 0.
enum class Layout { rows, channels };
struct Tile {
    Layout layout;
    int groups, vectors;
};

// The kernels of one instruction set.
struct BaselineKernel {
    const char *name;
    int width; // floats in a register
    std::vector<Tile> tiles;
    std::unique_ptr<Baseline> (*lmmse)(Form, int num_channels, int num_rx, int num_tx);
    // Throws std::invalid_argument where the tile does not fit the number of rows.
    std::unique_ptr<LayeredBaseline> (*network)(const kaq::Network &, Form, Tile, int num_channels, int num_rx,
                                                int num_tx);
};

// Those that this processor runs, the widest registers first.
const std::vector<BaselineKernel> &baseline_kernels();

BaselineKernel baseline_kernel_avx512();
BaselineKernel baseline_kernel_avx2();
BaselineKernel baseline_kernel_neon();

} // namespace speed
