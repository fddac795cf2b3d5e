// SPDX-License-Identifier: GPL-3.0-or-later
// The windows of a channel: every value is where the header says, and comes back.
#include <boost/test/unit_test.hpp>

#include <limits>

#include "frames/frame_windows.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

struct Size {
    int symbols, active, rx, tx, width;
};

const std::vector<Size> sizes{
    {14, 52, 3, 2, 52}, {14, 208, 3, 2, 52}, {1, 1, 1, 1, 1}, {3, 12, 1, 4, 4}, {2, 6, 5, 1, 1}};

} // namespace

BOOST_AUTO_TEST_CASE(windows_from_1x1_to_208_carriers_and_back) {
    for (const auto &[symbols, active, rx, tx, width] : sizes) {
        Generator random(active);
        auto channel = normals(symbols * active * rx * tx, random);
        std::vector<float> scale;
        for (int a = 0; a < rx; ++a)
            scale.push_back(std::ldexp(1.0f, a - 1)); // a power of two: dividing by it is exact
        const kaq::ArrayView h(channel.data(), symbols, active, rx, tx);
        std::vector<float> values(2 * channel.size());
        const kaq::ArrayView grids(values.data(), 2, active / width, rx, tx, width, symbols);
        kaq::cut_windows(h, scale, grids);
        for (int s = 0; s < symbols; ++s)
            for (int c = 0; c < active; ++c)
                for (int a = 0; a < rx; ++a)
                    for (int t = 0; t < tx; ++t) {
                        BOOST_REQUIRE_EQUAL(grids(0, c / width, a, t, c % width, s), h(s, c, a, t).real() * scale[a]);
                        BOOST_REQUIRE_EQUAL(grids(1, c / width, a, t, c % width, s), h(s, c, a, t).imag() * scale[a]);
                    }
        std::vector<std::complex<float>> back(channel.size());
        BOOST_TEST(kaq::join_windows(grids, scale, {back.data(), symbols, active, rx, tx}));
        BOOST_TEST((back == channel));
    }
}

BOOST_AUTO_TEST_CASE(a_channel_that_is_not_finite_is_noticed_wherever_it_is) {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    for (const auto &[symbols, active, rx, tx, width] : sizes) {
        const std::size_t count = symbols * active * rx * tx;
        std::vector<std::complex<float>> channel(count);
        const kaq::ArrayView h(channel.data(), symbols, active, rx, tx);
        const std::vector<float> scale(rx, 2);
        for (const std::size_t place : {std::size_t(0), count - 1, count, 2 * count - 1})
            for (const float value : {nan, inf, -inf}) {
                std::vector<float> values(2 * count, 1);
                values[place] = value;
                BOOST_TEST(!kaq::join_windows({values.data(), 2, active / width, rx, tx, width, symbols}, scale, h));
            }
    }
}

BOOST_AUTO_TEST_CASE(a_dead_antenna_of_scale_0_gives_zeros_one_way_and_is_noticed_the_other) {
    std::vector<std::complex<float>> channel{{1, 2}, {3, 4}};
    const std::vector<float> scale{0, 1};
    std::vector<float> values(4);
    kaq::cut_windows({channel.data(), 1, 1, 2, 1}, scale, {values.data(), 2, 1, 2, 1, 1, 1});
    BOOST_TEST(values == (std::vector<float>{0, 3, 0, 4}), boost::test_tools::per_element());
    BOOST_TEST(!kaq::join_windows({values.data(), 2, 1, 2, 1, 1, 1}, scale, {channel.data(), 1, 1, 2, 1}));
}
