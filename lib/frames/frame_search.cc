// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_search.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "frames/antenna_faults.h"
#include "frames/antenna_sums.h"
#include "frames/carrier_offset.h"
#include "support/expect.h"

namespace kaq {
namespace {

// Of sum_a |C_a| / E_a at the preamble and a length of it before or after, with E_a at the preamble.
constexpr double periodic_contrast = 1.75;

constexpr int max_piece = 8192; // samples that are worked on at once: they fit into the cache, and bound all memory

const FrameLayout &checked(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known) {
    check(layout);
    expect(num_rx >= 1, "num_rx is ", num_rx, "; at least 1 expected");
    expect(known.extent(0) >= 1 && known.extent(0) <= max_streams, "1 to ", max_streams, " streams expected; ",
           known.extent(0), " given");
    expect(known.extent(1) == static_cast<std::size_t>(layout.known_length()), layout.known_length(),
           " known samples of each stream expected; ", known.extent(1), " given");
    return layout;
}

// Two lengths of the preamble: it, and what is compared with it behind.
int lookahead(const FrameLayout &layout) { return 2 * layout.preamble_length(); }

// What is looked at before a stream: a preamble's length before a place, and starts around it.
int zeros_before(const FrameLayout &layout) { return layout.preamble_length() + layout.symbol_length() + 1; }

// What forget() leaves: all of a frame, or what is not decided about and a preamble's length before.
int kept_samples(const FrameLayout &layout) {
    return std::max(layout.frame_length(), lookahead(layout) + layout.preamble_length());
}

// Starts are half a preamble apart. A frame waits no longer than its length and one piece.
std::size_t most_waiting(const FrameLayout &layout) {
    return (layout.frame_length() + max_piece + layout.symbol_length()) / (layout.preamble_length() / 2) + 2;
}

} // namespace

FrameSearch::FrameSearch(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known)
    : layout_(checked(layout, num_rx, known)), lookahead_(lookahead(layout)),
      samples_(num_rx, zeros_before(layout), kept_samples(layout), max_piece), metric_(layout, num_rx, max_piece),
      known_(layout, num_rx, known), last_start_(-layout.frame_length()), views_(num_rx), dead_(num_rx),
      saturated_(num_rx), power_(num_rx) {
    waiting_.reserve(most_waiting(layout));
    for (std::vector<float> *part : {&rotation_re_, &rotation_im_, &turn_re_, &turn_im_})
        part->resize(layout.fft_size);
}

std::size_t FrameSearch::push(std::span<const std::complex<float> *const> antennas, std::size_t count,
                              FrameSink &sink) {
    std::size_t invalid = 0;
    for (std::size_t first = 0; first < count; first += max_piece) {
        invalid += samples_.append(antennas, first, static_cast<int>(std::min<std::size_t>(max_piece, count - first)));
        metric_.update(samples_);
        search();
        try {
            complete(sink);
        } catch (...) { // frames that nobody takes would be kept for ever
            interrupt();
            throw;
        }
        forget();
    }
    return invalid;
}

std::size_t FrameSearch::interrupt() {
    const std::size_t lost = waiting_.size();
    waiting_.clear();
    samples_.restart();
    const int step = metric_.step();
    next_step_ = (position() + step - 1) / step;
    metric_.restart(next_step_);
    last_start_ = position() - layout_.frame_length();
    return lost;
}

// From this sample on, of each antenna; until the next call.
std::span<const AntennaView> FrameSearch::views(std::int64_t sample, int count) {
    for (int a = 0; a < num_rx(); ++a)
        views_[a] = samples_.view(a, sample, count);
    return views_;
}

// Look at the places for which enough samples are there.
void FrameSearch::search() {
    if (position() < lookahead_)
        return;
    const int step = metric_.step();
    for (const std::int64_t stop = (position() - lookahead_) / step + 1; next_step_ < stop; ++next_step_)
        if (metric_.is_peak(next_step_))
            examine(next_step_ * step);
}

// Step 2, around a place where M is greatest.
void FrameSearch::examine(std::int64_t place) {
    if (!is_preamble(place))
        return;
    const int length = layout_.preamble_length();
    double offset = carrier_offset(views(place, length), layout_.period);
    const std::optional<std::int64_t> start = known_.find_start(samples_, place, offset);
    if (!start || *start < last_start_ + length / 2) // the same again
        return;
    // starts are not exact
    const bool overlapping = *start < last_start_ + layout_.frame_length() - layout_.cp_length;
    if (*start != place)
        offset = carrier_offset(views(*start, length), layout_.period);
    KAQ_ASSERT(waiting_.size() < waiting_.capacity());
    waiting_.push_back({*start, offset, std::min(metric_.at(place / metric_.step()), 1.0), overlapping});
    last_start_ = *start;
}

// Whether more is periodic here than a preamble's length before or after.
bool FrameSearch::is_preamble(std::int64_t place) const {
    const int length = layout_.preamble_length();
    double before = 0, here = 0, after = 0;
    for (int a = 0; a < num_rx(); ++a) {
        const AntennaView all = samples_.view(a, place - length, 3 * length);
        const auto periodic = [&](int first) {
            return std::abs(self_correlation(all.part(first, length), layout_.period));
        };
        const AntennaView preamble = all.part(length, length);
        const double weight = inverse(energy(preamble, mean(preamble)));
        before += weight * periodic(0);
        here += weight * periodic(length);
        after += weight * periodic(2 * length);
    }
    const bool begins = place - length < samples_.begin(); // the stream, so that nothing is earlier
    return here > periodic_contrast * (begins ? after : std::min(before, after));
}

// The frames whose last window is there.
void FrameSearch::complete(FrameSink &sink) {
    while (!waiting_.empty() && waiting_.front().start + last_sample() <= position()) {
        give_out(waiting_.front(), sink);
        waiting_.erase(waiting_.begin());
    }
}

void FrameSearch::give_out(const Detection &detection, FrameSink &sink) {
    find_faults(views(detection.start, last_sample()), dead_, saturated_, power_);
    const std::span<std::complex<float>> values = sink.windows();
    const ArrayView windows(values.data(), layout_.num_symbols, num_rx(), layout_.fft_size);
    KAQ_ASSERT(values.size() == windows.size());
    cut_windows(detection, windows);
    sink.take({detection.start, detection.carrier_offset, detection.metric, detection.overlapping, windows, dead_,
               saturated_});
}

// Without cyclic prefixes, the carrier offset taken away.
void FrameSearch::cut_windows(const Detection &detection, ArrayView<std::complex<float>, 3> windows) {
    const int size = layout_.fft_size;
    fill_rotation(detection.carrier_offset, rotation_re_, rotation_im_);
    for (int symbol = 0; symbol < layout_.num_symbols; ++symbol) {
        const int begin =
            layout_.preamble_length() + symbol * layout_.symbol_length() + layout_.cp_length - layout_.timing_advance;
        const std::complex<float> turn(std::polar(1.0, -2 * std::numbers::pi * detection.carrier_offset * begin));
        for (int n = 0; n < size; ++n) {
            turn_re_[n] = turn.real() * rotation_re_[n] - turn.imag() * rotation_im_[n];
            turn_im_[n] = turn.real() * rotation_im_[n] + turn.imag() * rotation_re_[n];
        }
        for (int a = 0; a < num_rx(); ++a) {
            const AntennaView from = samples_.view(a, detection.start + begin, size);
            const float *re = from.re.data(), *im = from.im.data(), *turn_re = turn_re_.data(),
                        *turn_im = turn_im_.data();
            float *to = reinterpret_cast<float *>(windows.row(symbol, a).data());
            for (int n = 0; n < size; ++n) {
                to[2 * n] = re[n] * turn_re[n] - im[n] * turn_im[n];
                to[2 * n + 1] = re[n] * turn_im[n] + im[n] * turn_re[n];
            }
        }
    }
}

// Drop what nothing needs any more.
void FrameSearch::forget() {
    std::int64_t needed = next_step_ * metric_.step() - layout_.preamble_length();
    if (!waiting_.empty())
        needed = std::min(needed, waiting_.front().start);
    samples_.drop_before(needed);
    metric_.drop_before(next_step_);
}

} // namespace kaq
