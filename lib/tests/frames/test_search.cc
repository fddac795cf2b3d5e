// SPDX-License-Identifier: GPL-3.0-or-later
// The search for frames, on shapes of every kind.
#include <boost/test/unit_test.hpp>

#include <limits>

#include "frames/frame_search.h"
#include "tests/frames/random_values.h"

using namespace kaq_test;

namespace {

using Complex = std::complex<float>;

// What `num_tx` streams send: a preamble of equal periods, random samples otherwise.
std::vector<std::vector<Complex>> frame(const kaq::FrameLayout &layout, int num_tx, Generator &random) {
    std::vector<std::vector<Complex>> streams;
    for (int s = 0; s < num_tx; ++s) {
        streams.push_back(normals(layout.frame_length(), random));
        for (int n = layout.period; n < layout.preamble_length(); ++n)
            streams.back()[n] = streams.back()[n - layout.period];
    }
    return streams;
}

std::vector<Complex> known_of(const kaq::FrameLayout &layout, const std::vector<std::vector<Complex>> &streams) {
    std::vector<Complex> known;
    for (const auto &stream : streams) {
        double energy = 0;
        for (int n = 0; n < layout.known_length(); ++n)
            energy += std::norm(stream[n]);
        for (int n = 0; n < layout.known_length(); ++n)
            known.push_back(stream[n] * static_cast<float>(1 / std::sqrt(energy)));
    }
    return known;
}

} // namespace

BOOST_AUTO_TEST_CASE(frames_are_found_however_the_stream_is_cut) {
    for (const int size : {64, 256})
        for (const int num_tx : {1, 2, 3, 4})
            for (const int num_rx : {1, 3}) {
                Generator random(size + num_tx);
                const kaq::FrameLayout layout{size, size / 4, size / 16, 14, size / 4, 10};
                const auto streams = frame(layout, num_tx, random);
                const auto known = known_of(layout, streams);
                const int length = layout.frame_length(), count = 4 * length;
                const std::vector<std::int64_t> starts{0, length + 100, 2 * length + 100};
                std::vector<std::vector<Complex>> antennas;
                for (int a = 0; a < num_rx; ++a) {
                    antennas.push_back(normals(count, random));
                    for (Complex &each : antennas.back())
                        each *= 0.05f;
                    for (const auto &stream : streams) {
                        const Complex gain = normal(random);
                        for (const std::int64_t start : starts)
                            for (int n = 0; n < length; ++n)
                                antennas.back()[start + n] += gain * stream[n];
                    }
                }
                antennas[0][length + 50] = std::numeric_limits<float>::quiet_NaN();
                antennas[0][length + 51] = {0, std::numeric_limits<float>::infinity()};
                antennas[0][length - 200] = 3e38f;
                for (const std::size_t piece : {std::size_t(count), std::size_t(997), std::size_t(61)}) {
                    kaq::FrameSearch search(layout, num_rx, num_tx, known.data());
                    std::vector<kaq::FoundFrame> found;
                    std::size_t invalid = 0;
                    for (std::size_t first = 0; first < antennas[0].size(); first += piece) {
                        std::vector<const Complex *> pointers;
                        for (const auto &antenna : antennas)
                            pointers.push_back(antenna.data() + first);
                        invalid += search.push(pointers.data(), std::min(piece, antennas[0].size() - first), found);
                    }
                    BOOST_TEST(search.position() == count);
                    BOOST_TEST(invalid == 2u);
                    BOOST_REQUIRE_EQUAL(found.size(), starts.size());
                    for (std::size_t i = 0; i < starts.size(); ++i) {
                        BOOST_TEST(found[i].start == starts[i]);
                        BOOST_TEST(found[i].windows.size() == std::size_t(14 * num_rx * size));
                        BOOST_TEST(std::abs(found[i].carrier_offset) < 1e-3 / size * 64);
                    }
                    BOOST_TEST(search.interrupt() == 0u);
                }
            }
}
