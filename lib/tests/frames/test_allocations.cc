// SPDX-License-Identifier: GPL-3.0-or-later
// Once it is constructed, a search allocates nothing: whatever arrives, in pieces of whatever size. Nor does a track,
// nor a search for interference.
#include <boost/test/unit_test.hpp>

#include "frames/carrier_interference.h"
#include "tests/allocations.h"
#include "tests/frames/sent_frames.h"
#include "tests/frames/tracked_frames.h"

using namespace kaq_test;

namespace {

// Its memory is there before.
class Counter : public kaq::FrameSink {
public:
    explicit Counter(const kaq::FrameSearch &search)
        : windows_(search.layout().num_symbols * search.num_rx() * search.layout().fft_size) {}

    std::span<Complex> windows() override { return windows_; }
    void take(const kaq::FoundFrame &) override { ++count; }

    int count = 0;

private:
    std::vector<Complex> windows_;
};

} // namespace

BOOST_AUTO_TEST_CASE(searches_from_1x1_to_4x4_allocate_nothing_after_construction) {
    for (const int fft_size : {64, 256})
        for (const int size : {1, 2, 4}) {
            Generator random(size);
            const Sent sent(fft_size, size, random);
            const int length = sent.layout.frame_length(), total = 40'000;
            Received received(size, total, 0.01, random);
            // back to back, one in another, and half of them behind nothing but noise
            for (const int start : {-50, 0, length, 2 * length + 300, 5 * length / 2, total - length})
                received.add(sent, start, flat_channel(size, size, random));
            for (int a = 0; a < size; ++a) // a tone that begins somewhere
                for (int n = total / 2; n < total; ++n)
                    received.antenna(a)[n] += Complex(std::polar(3.0, n * 0.7));
            for (const int piece : {1, 7, 4096, 8192, 8193, total}) {
                kaq::FrameSearch search = sent.search(size);
                Counter counter(search);
                // samples of each piece side by side, before anything is counted
                std::vector<std::vector<Complex>> pieces;
                for (int first = 0; first < total; first += piece) {
                    pieces.emplace_back();
                    for (int a = 0; a < size; ++a)
                        for (const Complex each : received.antenna(a).subspan(first, std::min(piece, total - first)))
                            pieces.back().push_back(each);
                }
                const int allocations = allocations_of([&] {
                    for (int round = 0; round < 2; ++round) {
                        for (const std::vector<Complex> &samples : pieces)
                            push(search, {samples.data(), size, samples.size() / size}, counter);
                        search.interrupt();
                    }
                });
                BOOST_TEST(allocations == 0, "FFT of " << fft_size << ", " << size << " antennas, pieces of " << piece
                                                       << ": " << allocations);
                BOOST_TEST(counter.count >= 10);
            }
        }
}

BOOST_AUTO_TEST_CASE(a_search_through_nothing_but_preambles_allocates_nothing) {
    // as many places to be examined, and starts to be found, as there can be
    Generator random(1);
    const Sent sent(64, 2, random);
    const int known_length = sent.layout.known_length();
    Received received(2, 60'000, 1e-4, random);
    for (int first = 0; first < received.length; first += known_length)
        for (int a = 0; a < 2; ++a)
            for (int n = 0; n < std::min(known_length, received.length - first); ++n)
                received.antenna(a)[first + n] += sent.streams[a][n];
    kaq::FrameSearch search = sent.search(2);
    Counter counter(search);
    BOOST_TEST(allocations_of([&] { push(search, received.view(), counter); }) == 0);
    BOOST_TEST(counter.count > 100);
}

BOOST_AUTO_TEST_CASE(frames_of_a_track_allocate_nothing_between_two_fits_of_its_profile) {
    Generator random(1);
    TrackedFrames frames(random);
    frames.format.dopplers = {0}; // for a new one, filters are made
    kaq::FrameMemory memory(frames.format, 8, frames.fit());
    std::vector<kaq::ObservedFrame> received;
    for (int i = 0; i < 80; ++i)
        received.push_back(frames.receive(random));
    std::vector<std::complex<float>> h(TrackedFrames::num_symbols * frames.channel.size());
    std::vector<double> error(TrackedFrames::num_symbols);
    int counted = 0;
    for (int i = 0; i < 80; ++i) {
        const int before = *frames.fits,
                  allocations = allocations_of([&] {
                      memory.interpolate(received[i], kaq::FrameArrival{500.0 * i, 0}, {},
                                         {h.data(), TrackedFrames::num_symbols, TrackedFrames::num_active,
                                          TrackedFrames::num_rx, TrackedFrames::num_tx},
                                         error);
                  });
        if (i < 40 || *frames.fits > before)
            continue;
        BOOST_TEST(allocations == 0, "frame " << i << ": " << allocations);
        ++counted;
    }
    BOOST_TEST(counted > 30);
}

BOOST_AUTO_TEST_CASE(a_search_for_interference_allocates_nothing_from_the_second_frame_on) {
    Generator random(1);
    const TrackedFrames frames(random);
    const kaq::TrainingMap &map = frames.format.training;
    const kaq::CarrierSearch search(map);
    kaq::CarrierState state;
    kaq::CarrierScratch scratch;
    constexpr int num_rx = 2;
    for (int i = 0; i < 6; ++i) {
        std::vector<std::complex<double>> ls;
        std::vector<double> power(num_rx);
        for (const int carrier : map.indices)
            for (double &of_antenna : power) {
                const double jammer = i > 1 && carrier == 3 ? 30 : 0;
                ls.push_back(1.0 + jammer + 0.01 * normal<double>(random));
                of_antenna += std::norm(ls.back()) / double(map.indices.size());
            }
        double delay = 0;
        bool found = false;
        const int allocations = allocations_of([&] {
            found = search.find(map, {ls.data(), map.symbols.size(), map.num_tx, map.num_places, num_rx}, power, delay,
                                state, scratch);
        });
        BOOST_TEST(found == (i > 1));
        BOOST_TEST((i == 0 || allocations == 0), "frame " << i << ": " << allocations);
    }
}
