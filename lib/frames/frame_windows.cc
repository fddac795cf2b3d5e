// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_windows.h"

#include <cstddef>

namespace kaq {
namespace {

// Calls visit(place in the channel, place in the real parts' grids, antenna) for every symbol, carrier and pair. The
// pairs lie side by side in the channel, and the symbols in the grids: inside, a cache line of either is used up.
template <typename Visit>
void visit_all(const WindowShape &shape, Visit visit) {
    const std::size_t pairs = static_cast<std::size_t>(shape.num_rx) * shape.num_tx, row = shape.num_active * pairs;
    for (int carrier = 0; carrier < shape.num_active; ++carrier) {
        const std::size_t window = carrier / shape.width, inside = carrier % shape.width;
        for (std::size_t pair = 0; pair < pairs; ++pair) {
            std::size_t from = carrier * pairs + pair;
            std::size_t to = ((window * pairs + pair) * shape.width + inside) * shape.num_symbols;
            const int antenna = static_cast<int>(pair) / shape.num_tx;
            for (int symbol = 0; symbol < shape.num_symbols; ++symbol, from += row, ++to)
                visit(from, to, antenna);
        }
    }
}

std::size_t size(const WindowShape &shape) {
    return static_cast<std::size_t>(shape.num_symbols) * shape.num_active * shape.num_rx * shape.num_tx;
}

} // namespace

void cut_windows(const WindowShape &shape, const std::complex<float> *channel, const float *scale, float *grids) {
    float *imaginary = grids + size(shape);
    visit_all(shape, [=](std::size_t from, std::size_t to, int antenna) {
        grids[to] = channel[from].real() * scale[antenna];
        imaginary[to] = channel[from].imag() * scale[antenna];
    });
}

bool join_windows(const WindowShape &shape, const float *grids, const float *scale, std::complex<float> *channel) {
    const float *imaginary = grids + size(shape);
    float zero = 0; // NaN, once something is not finite
    visit_all(shape, [&](std::size_t to, std::size_t from, int antenna) {
        const float real = grids[from] / scale[antenna], imag = imaginary[from] / scale[antenna];
        zero += 0 * real + 0 * imag;
        channel[to] = {real, imag};
    });
    return zero == 0;
}

} // namespace kaq
