// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_windows.h"

#include <cstddef>

namespace kaq {
namespace {

struct Shape {
    std::size_t num_symbols, num_active, num_rx, num_tx, width;
};

// What channel and grids agree on.
Shape shape_of(ArrayView<const std::complex<float>, 4> channel, ArrayView<const float, 6> grids,
               [[maybe_unused]] std::span<const float> scale) {
    const auto &[num_symbols, num_active, num_rx, num_tx] = channel.extents();
    const std::size_t width = grids.extent(4);
    KAQ_ASSERT(grids.extents() == std::array{std::size_t(2), num_active / width, num_rx, num_tx, width, num_symbols});
    KAQ_ASSERT(num_active % width == 0);
    KAQ_ASSERT(scale.size() == num_rx);
    return {num_symbols, num_active, num_rx, num_tx, width};
}

// Calls visit(place in the channel, place in the real parts' grids, antenna) for every symbol, carrier and pair. The
// pairs lie side by side in the channel, and the symbols in the grids: inside, a cache line of either is used up.
template <typename Visit>
void visit_all(const Shape &shape, Visit visit) {
    const std::size_t pairs = shape.num_rx * shape.num_tx, row = shape.num_active * pairs;
    for (std::size_t carrier = 0; carrier < shape.num_active; ++carrier) {
        const std::size_t window = carrier / shape.width, inside = carrier % shape.width;
        for (std::size_t pair = 0; pair < pairs; ++pair) {
            std::size_t from = carrier * pairs + pair;
            std::size_t to = ((window * pairs + pair) * shape.width + inside) * shape.num_symbols;
            const std::size_t antenna = pair / shape.num_tx;
            for (std::size_t symbol = 0; symbol < shape.num_symbols; ++symbol, from += row, ++to)
                visit(from, to, antenna);
        }
    }
}

} // namespace

void cut_windows(ArrayView<const std::complex<float>, 4> channel, std::span<const float> scale,
                 ArrayView<float, 6> grids) {
    const Shape shape = shape_of(channel, grids, scale);
    const std::complex<float> *from = channel.data();
    float *real = grids.data(), *imaginary = real + channel.size();
    visit_all(shape, [=](std::size_t in_channel, std::size_t in_grids, std::size_t antenna) {
        real[in_grids] = from[in_channel].real() * scale[antenna];
        imaginary[in_grids] = from[in_channel].imag() * scale[antenna];
    });
}

bool join_windows(ArrayView<const float, 6> grids, std::span<const float> scale,
                  ArrayView<std::complex<float>, 4> channel) {
    const Shape shape = shape_of(channel, grids, scale);
    const float *real = grids.data(), *imaginary = real + channel.size();
    std::complex<float> *to = channel.data();
    float zero = 0; // NaN, once something is not finite
    visit_all(shape, [&](std::size_t in_channel, std::size_t in_grids, std::size_t antenna) {
        const float re = real[in_grids] / scale[antenna], im = imaginary[in_grids] / scale[antenna];
        zero += 0 * re + 0 * im;
        to[in_channel] = {re, im};
    });
    return zero == 0;
}

} // namespace kaq
