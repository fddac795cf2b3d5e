// SPDX-License-Identifier: GPL-3.0-or-later
// The baselines of one instruction set, behind the interface of baselines.h.
#pragma once

#include <stdexcept>

#include "float_lanes.h"
#include "float_rows.h"
#include "lmmse.h"

namespace speed {
namespace {

// A tile of Layout::rows, and its function.
struct TileOf {
    int groups, vectors;
    RunLayers run;
};

constexpr int lane_vectors[] = {1, 2, 4, 8}; // vectors at a time that Layout::channels offers

template <const auto &Tiles>
std::unique_ptr<LayeredBaseline> make_network(const kaq::Network &network, Form form, Tile tile, int num_channels,
                                              int num_rx, int num_tx) {
    if ((network.type == kaq::NetworkType::pgd) != (form == Form::matched))
        throw std::invalid_argument("a PGD-Net starts from the matched filter, and only that");
    if (network.stream_steps)
        throw std::invalid_argument("no steps of streams here");
    if (tile.layout == Layout::channels && tile.vectors >= 1 && tile.vectors <= vectors_at_once)
        return std::make_unique<FloatLanes>(network, form, tile.vectors, num_channels, num_rx, num_tx);
    const int registers = (2 * num_tx + width - 1) / width;
    if (tile.layout == Layout::rows)
        for (const TileOf &of : Tiles)
            if (of.groups == tile.groups && of.vectors == tile.vectors && registers % tile.groups == 0)
                return std::make_unique<FloatRows>(network, form, of.run, num_channels, num_rx, num_tx);
    throw std::invalid_argument("no such tile for this number of rows");
}

template <const auto &Tiles>
BaselineKernel baseline_kernel(const char *name) {
    BaselineKernel kernel{name, width, {}, make_lmmse, make_network<Tiles>};
    for (const int vectors : lane_vectors)
        kernel.tiles.push_back({Layout::channels, 0, vectors});
    for (const TileOf &of : Tiles)
        kernel.tiles.push_back({Layout::rows, of.groups, of.vectors});
    return kernel;
}

} // namespace
} // namespace speed
