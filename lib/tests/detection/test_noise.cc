// SPDX-License-Identifier: GPL-3.0-or-later
// What follows from the noise for each channel.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "detection/noise.h"

namespace {

constexpr kaq::SnrRange range{0, 30};

// Of channels of 4 x 2 with these powers.
std::vector<kaq::ChannelLevels> levels_of(const kaq::Noise &noise, const std::vector<double> &powers) {
    std::vector<kaq::ChannelLevels> levels;
    for (const double power : powers)
        levels.push_back({power, 0, 0, 0});
    kaq::find_levels(noise, 4, 2, range, levels);
    return levels;
}

double root_of_db(double snr_db) { return std::pow(10.0, -snr_db / 20); }

} // namespace

BOOST_AUTO_TEST_CASE(one_value_is_for_all_channels_together) {
    const double noise_var = 0.5, snr_db = 10;
    // powers of 2 and 8: a mean of 5
    for (const kaq::Noise &noise : {kaq::Noise::of_variance({&noise_var, 1}), kaq::Noise::of_snr_db({&snr_db, 1})}) {
        const auto levels = levels_of(noise, {2, 8});
        BOOST_TEST(levels[0].gain == 1.0f); // entries of power 1
        BOOST_TEST(levels[1].gain == 0.5f); // of power 4
        BOOST_TEST(levels[0].noise_var == 0.5, boost::test_tools::tolerance(1e-12));
        BOOST_TEST(levels[1].noise_var == 0.5 / 4, boost::test_tools::tolerance(1e-12));
        for (const auto &level : levels)
            BOOST_TEST(level.inverse_root_snr == root_of_db(10), boost::test_tools::tolerance(1e-12));
    }
}

BOOST_AUTO_TEST_CASE(each_channel_may_have_its_own) {
    const std::vector<double> noise_var{0.2, 0.008}, snr_db{10, 30};
    for (const kaq::Noise &noise : {kaq::Noise::of_variance(noise_var), kaq::Noise::of_snr_db(snr_db)}) {
        const auto levels = levels_of(noise, {2, 8});
        BOOST_TEST(levels[0].noise_var == 0.2, boost::test_tools::tolerance(1e-12));
        BOOST_TEST(levels[1].noise_var == 0.008 / 4, boost::test_tools::tolerance(1e-12));
        BOOST_TEST(levels[0].inverse_root_snr == root_of_db(10), boost::test_tools::tolerance(1e-12));
        BOOST_TEST(levels[1].inverse_root_snr == root_of_db(30), boost::test_tools::tolerance(1e-12));
    }
}

BOOST_AUTO_TEST_CASE(laws_are_evaluated_inside_of_the_range) {
    for (const double snr_db : {-40.0, 0.0, 30.0, 90.0}) {
        const auto levels = levels_of(kaq::Noise::of_snr_db({&snr_db, 1}), {2});
        BOOST_TEST(levels[0].inverse_root_snr == root_of_db(snr_db < 15 ? 0 : 30), boost::test_tools::tolerance(1e-12));
        // but the noise is what it is
        BOOST_TEST(levels[0].noise_var == 2 * std::pow(10.0, -snr_db / 10), boost::test_tools::tolerance(1e-12));
    }
}

BOOST_AUTO_TEST_CASE(a_channel_of_no_power_is_known_to_be_unknown) {
    const double noise_var = 0.1;
    const auto levels = levels_of(kaq::Noise::of_variance({&noise_var, 1}), {0, 2});
    BOOST_TEST(levels[0].gain == 0.0f);
    BOOST_TEST(levels[0].noise_var == 0.0);
    BOOST_TEST(levels[1].gain == 1.0f);
}

BOOST_AUTO_TEST_CASE(gains_are_normal_numbers_and_noise_has_a_limit) {
    const double noise_var = 1e300;
    for (const double power : {1e-47, 1e-29, 1e-10, 1e10, 1e70, 1e300}) {
        const auto levels = levels_of(kaq::Noise::of_variance({&noise_var, 1}), {power});
        BOOST_TEST(std::isnormal(levels[0].gain));
        BOOST_TEST(levels[0].noise_var <= 1e10);
    }
    for (const double power : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
        BOOST_CHECK_THROW(levels_of(kaq::Noise::of_variance({&noise_var, 1}), {2, power}), std::invalid_argument);
}
