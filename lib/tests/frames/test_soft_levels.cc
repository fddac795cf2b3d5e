// SPDX-License-Identifier: GPL-3.0-or-later
// Levels of LLRs, worked out by hand: 128 + llr * median_level / median, rounded.
#include <boost/test/unit_test.hpp>

#include <limits>
#include <random>
#include <vector>

#include "frames/soft_levels.h"

namespace {

constexpr float no_number = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

std::vector<int> levels_of(const std::vector<float> &llrs, float median_level) {
    std::vector<std::uint8_t> levels(llrs.size());
    BOOST_TEST(kaq::soft_levels(llrs, median_level, levels));
    return {levels.begin(), levels.end()};
}

} // namespace

BOOST_AUTO_TEST_CASE(levels_of_5_llrs) {
    // LLRs 0 and 4 count for the median: (2 + 4) / 2 = 3, so that one is worth 16 levels
    const std::vector<int> expected{160, 112, 128, 176, 64};
    BOOST_TEST(levels_of({2, -1, 0, 3, -4}, 48) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(levels_of_9_llrs_round_to_the_nearest) {
    // LLRs 0, 4 and 8 count for the median: 10, so that one is worth 4.8 levels
    const std::vector<int> expected{176, 133, 123, 130, 80, 255, 0, 255, 248};
    BOOST_TEST(levels_of({10, 1, -1, 0.5f, -10, 100, -100, 26.5f, 25}, 48) == expected,
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(levels_where_the_sampled_llrs_are_0_follow_from_the_others) {
    // of 2, 4, 6: the median is 4
    const std::vector<int> expected{128, 152, 80, 200, 128, 128};
    BOOST_TEST(levels_of({0, 2, -4, 6, 0, 0}, 48) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(nan_says_nothing_and_inf_is_certain) {
    const std::vector<int> expected{176, 80, 128, 128, 80, 255, 0, 255};
    BOOST_TEST(levels_of({1, -1, 0, no_number, -1, inf, -inf, 3e38f}, 48) == expected,
               boost::test_tools::per_element());
    BOOST_TEST(levels_of({inf, -inf, 1}, 48) == (std::vector<int>{176, 80, 128}), boost::test_tools::per_element());
    BOOST_TEST(levels_of({1e-38f, -1e-38f}, 48) == (std::vector<int>{128, 128}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(llrs_that_say_nothing_are_told) {
    std::vector<std::uint8_t> levels(5, 7);
    const std::vector<std::vector<float>> nothing{{}, {no_number}, {0, 0, -0.0f, 0, no_number}};
    for (const std::vector<float> &llrs : nothing)
        BOOST_TEST(!kaq::soft_levels(llrs, 48, {levels.data(), llrs.size()}));
    BOOST_TEST(levels == std::vector<std::uint8_t>(5, 7), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(levels_of_4224_llrs_do_not_depend_on_their_scale) {
    std::mt19937 random(1);
    std::normal_distribution<float> values(0, 3);
    std::vector<float> llrs(4224), scaled;
    for (float &each : llrs)
        each = values(random);
    const std::vector<int> levels = levels_of(llrs, 48);
    for (const float scale : {1 / 1024.0f, 4096.0f}) {
        scaled.clear();
        for (const float each : llrs)
            scaled.push_back(each * scale);
        BOOST_TEST(levels_of(scaled, 48) == levels, boost::test_tools::per_element());
    }
}
