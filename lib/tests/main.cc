// SPDX-License-Identifier: GPL-3.0-or-later
// The main() of every Boost test here: of the library where there is one, otherwise of the headers alone.
#define BOOST_TEST_MODULE kaq
#ifdef BOOST_TEST_DYN_LINK
#include <boost/test/unit_test.hpp>
#else
#include <boost/test/included/unit_test.hpp>
#endif
