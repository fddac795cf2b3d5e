// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/fading_correlation.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace kaq {
namespace {

constexpr double faded = 5; // radians of the fastest path
constexpr double largest_turn = 30;
constexpr std::size_t per_radian = 64, num_points = 30 * per_radian + 2;

struct Point {
    double value, slope; // of a step
};

std::array<Point, num_points> make_points() {
    std::array<Point, num_points> points{};
    for (std::size_t i = 0; i < num_points; ++i) {
        const double turn = double(i) / per_radian, fall = std::exp(-(turn / faded) * (turn / faded));
        points[i].value = ::j0(turn) * fall;
        points[i].slope = -(::j1(turn) + 2 * turn / (faded * faded) * ::j0(turn)) * fall / per_radian;
    }
    return points;
}

const std::array<Point, num_points> points = make_points();

} // namespace

double fading_correlation(double turn) {
    const double size = std::abs(turn);
    if (!(size < largest_turn))
        return 0; // to a double's precision
    const double place = size * per_radian;
    const auto i = static_cast<std::size_t>(place);
    const double x = place - double(i), difference = points[i + 1].value - points[i].value;
    // the cubic through both points with their slopes
    const double second = 3 * difference - 2 * points[i].slope - points[i + 1].slope,
                 third = points[i].slope + points[i + 1].slope - 2 * difference;
    return points[i].value + x * (points[i].slope + x * (second + x * third));
}

} // namespace kaq
