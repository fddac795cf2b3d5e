// SPDX-License-Identifier: GPL-3.0-or-later
// Products of complex matrices against sums written out, and the filters that are kept.
#include <boost/test/unit_test.hpp>

#include <limits>

#include "frames/filter_cache.h"
#include "support/complex_matrix.h"
#include "support/processors.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

KAQ_EACH_PROCESSOR void into(const std::complex<float> *a, const std::complex<float> *b, std::complex<float> *to,
                             std::size_t rows, std::size_t inner, std::size_t width) {
    kaq::multiply(a, b, to, rows, inner, width);
}
KAQ_EACH_PROCESSOR void into(const std::complex<double> *a, const std::complex<double> *b, std::complex<double> *to,
                             std::size_t rows, std::size_t inner, std::size_t width) {
    kaq::multiply(a, b, to, rows, inner, width);
}

template <typename T>
void compare(int rows, int inner, int width, Generator &random) {
    const auto a = normals<T>(rows * inner, random), b = normals<T>(inner * width, random);
    std::vector<std::complex<T>> product(rows * width + 1, 7);
    into(a.data(), b.data(), product.data(), rows, inner, width);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < width; ++c) {
            std::complex<T> sum = 0;
            for (int k = 0; k < inner; ++k)
                sum += a[r * inner + k] * b[k * width + c];
            BOOST_REQUIRE_SMALL(std::abs(product[r * width + c] - sum),
                                100 * inner * std::numeric_limits<T>::epsilon());
        }
    BOOST_TEST(product.back() == std::complex<T>(7));
}

} // namespace

BOOST_AUTO_TEST_CASE(products_of_1_to_9_rows_and_0_to_33_columns) {
    Generator random(1);
    for (const int rows : {1, 2, 4, 9})
        for (const int inner : {1, 3, 13})
            for (const int width : {0, 1, 2, 3, 4, 5, 7, 8, 11, 16, 33}) {
                compare<float>(rows, inner, width, random);
                compare<double>(rows, inner, width, random);
            }
}

BOOST_AUTO_TEST_CASE(filters_are_made_once_and_the_oldest_go) {
    int made = 0;
    kaq::FilterCache<int, 2> cache(
        [&](const kaq::FilterCache<int, 2>::Key &key) {
            ++made;
            return std::make_shared<const int>(10 * key[0] + key[1]);
        },
        2);
    const std::shared_ptr<const int> first = cache.get({1, 2});
    BOOST_TEST(*first == 12);
    BOOST_TEST(cache.get({1, 2}).get() == first.get());
    BOOST_TEST(made == 1);
    BOOST_TEST(*cache.get({2, 1}) == 21);
    BOOST_TEST(*cache.get({3, 3}) == 33);
    BOOST_TEST(made == 3);
    BOOST_TEST(*cache.get({2, 1}) == 21);
    BOOST_TEST(made == 3);
    BOOST_TEST(*cache.get({1, 2}) == 12); // made anew
    BOOST_TEST(made == 4);
    BOOST_TEST(*first == 12); // who has one keeps it
}
