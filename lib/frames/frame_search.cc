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

// Of the power around a preamble: where more is left, nothing was taken out but what a channel makes stand out.
constexpr double left_alone = 0.8;

// Of an antenna's power at a preamble: what is left is no frame, but what tones leave behind that are not quite steady.
constexpr double drowned = 1e-4;

// Of the M of the frame that a place lies in: below is most of what its data bring about. A frame that is 4 dB weaker
// is above.
constexpr double in_frame = 0.03;

constexpr int max_piece = 8192; // samples that are worked on at once: they fit into the cache, and bound all memory

const FrameLayout &checked(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known) {
    check(layout);
    expect(num_rx >= 1, "num_rx is ", num_rx, "; at least 1 expected");
    expect(known.extent(0) >= 1 && known.extent(0) <= max_frame_streams, "1 to ", max_frame_streams,
           " streams expected; ", known.extent(0), " given");
    expect(known.extent(1) == static_cast<std::size_t>(layout.known_length()), layout.known_length(),
           " known samples of each stream expected; ", known.extent(1), " given");
    return layout;
}

// Two lengths of the preamble, it and what is compared with it behind, from the last start around.
int lookahead(const FrameLayout &layout) { return 2 * layout.preamble_length() + layout.symbol_length(); }

// And before it.
int lookback(const FrameLayout &layout) { return layout.preamble_length() + layout.symbol_length(); }

// Samples of which SpectralExcision takes the spectrum at once.
int block_length(const FrameLayout &layout) { return layout.preamble_length(); }

// What forget() leaves of what is searched in: what is not decided about, and what is looked at before.
int kept_clean(const FrameLayout &layout) { return lookback(layout) + lookahead(layout); }

// And of the samples: all of a frame, or as much and what has to come first.
int kept_samples(const FrameLayout &layout) {
    return std::max(layout.frame_length(), kept_clean(layout) + block_length(layout) + 2 * SpectralExcision::reach);
}

// Starts are half a preamble apart. A frame waits no longer than its length and one piece.
std::size_t most_waiting(const FrameLayout &layout) {
    return (layout.frame_length() + max_piece + layout.symbol_length()) / (layout.preamble_length() / 2) + 2;
}

// Of the differences from one period to the next, in the middle of the preamble.
int difference_length(const FrameLayout &layout) {
    return (layout.num_periods - 2 * (layout.num_periods / 5) - 1) * layout.period;
}

} // namespace

FrameSearch::FrameSearch(const FrameLayout &layout, int num_rx, ArrayView<const std::complex<float>, 2> known)
    : layout_(checked(layout, num_rx, known)), lookahead_(lookahead(layout)),
      samples_(num_rx, lookback(layout), kept_samples(layout), max_piece), excision_(num_rx, block_length(layout)),
      clean_(num_rx, lookback(layout), kept_clean(layout), max_piece + block_length(layout)),
      metric_(layout, num_rx, max_piece + block_length(layout)), whitening_(num_rx, 3 * layout.preamble_length()),
      known_(layout, num_rx, known), last_start_(-layout.frame_length()), views_(num_rx), parts_(num_rx),
      differences_(2 * std::size_t(num_rx) * difference_length(layout)), silence_(3 * layout.preamble_length()),
      dead_(num_rx), saturated_(num_rx), power_(num_rx) {
    waiting_.reserve(most_waiting(layout));
    for (std::vector<float> *part : {&rotation_re_, &rotation_im_, &turn_re_, &turn_im_})
        part->resize(layout.fft_size);
}

std::size_t FrameSearch::push(std::span<const std::complex<float> *const> antennas, std::size_t count,
                              FrameSink &sink) {
    std::size_t invalid = 0;
    for (std::size_t first = 0; first < count; first += max_piece) {
        invalid += samples_.append(antennas, first, static_cast<int>(std::min<std::size_t>(max_piece, count - first)));
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
    std::size_t lost = 0;
    const auto give_up = [&] { // at once: there is no room for samples that frames without an end wait for
        lost += waiting_.size();
        waiting_.clear();
        forget();
    };
    give_up();
    // what has not been decided about, as if nothing but silence followed
    const std::int64_t next = position(), stop = next + lookahead_ + excision_.delay() + 1;
    while (position() < stop) {
        samples_.append_zeros(static_cast<int>(std::min<std::int64_t>(max_piece, stop - position())));
        search();
        give_up();
    }
    samples_.restart(next);
    clean_.restart(next);
    const int step = metric_.step();
    next_step_ = (position() + step - 1) / step;
    metric_.restart(next_step_);
    last_start_ = position() - layout_.frame_length();
    return lost;
}

// From this sample on, of each antenna; until the next call.
std::span<const AntennaView> FrameSearch::views(const SampleHistory &samples, std::int64_t sample, int count) {
    for (int a = 0; a < num_rx(); ++a)
        views_[a] = samples.view(a, sample, count);
    return views_;
}

// Of each antenna; until the next call.
std::span<const AntennaView> FrameSearch::parts(std::span<const AntennaView> of, int first, int count) {
    for (int a = 0; a < num_rx(); ++a)
        parts_[a] = of[a].part(first, count);
    return parts_;
}

// Look at the places for which enough samples are there.
void FrameSearch::search() {
    excision_.update(samples_, clean_);
    metric_.update(clean_);
    if (clean_.position() < lookahead_)
        return;
    const int step = metric_.step();
    for (const std::int64_t stop = (clean_.position() - lookahead_) / step + 1; next_step_ < stop; ++next_step_)
        if (metric_.is_peak(next_step_))
            examine(next_step_ * step);
}

// Step 3, around a place where M is greatest.
void FrameSearch::examine(std::int64_t place) {
    const double metric = std::min(metric_.at(place / metric_.step()), 1.0);
    if (in_last_frame(place) && metric < in_frame * last_metric_)
        return;
    std::optional<Detection> found = compare(place, metric);
    // The streams' training looks alike half a symbol and less later: all starts around are to be compared.
    if (found && std::abs(found->start - place) > layout_.period)
        found = compare(found->start, metric);
    if (!found || found->start < last_start_ + layout_.preamble_length() / 2) // the same again
        return;
    found->metric = metric;
    found->overlapping = in_last_frame(found->start);
    KAQ_ASSERT(waiting_.size() < waiting_.capacity());
    waiting_.push_back(*found);
    last_start_ = found->start;
    last_metric_ = metric;
}

// Whether a frame that begins here begins within the one that was found last; starts are not exact.
bool FrameSearch::in_last_frame(std::int64_t start) const {
    return start < last_start_ + layout_.frame_length() - layout_.cp_length;
}

// With what streams send, at starts around a place where M is this.
std::optional<FrameSearch::Detection> FrameSearch::compare(std::int64_t place, double metric) {
    const int length = layout_.preamble_length();
    const std::int64_t first = place - length, missing = std::max<std::int64_t>(0, clean_.begin() - first);
    const std::span<const AntennaView> white = whiten(first);
    if (!is_preamble(white, missing > 0))
        return std::nullopt;
    const double offset = carrier_offset_of_white(parts(white, length, length), layout_.period);
    const int earliest = length - known_.num_lags() / 2;
    const std::optional<KnownCorrelation::Start> found =
        known_.find_start(parts(white, earliest, known_.num_samples()), offset,
                          std::max(0, static_cast<int>(missing) - earliest), metric);
    if (!found)
        return std::nullopt;
    const int start = earliest + found->lag;
    const double here = carrier_offset_of_white(parts(white, start, length), layout_.period);
    if (!std::isfinite(here)) // squares of samples that are absurdly large
        return std::nullopt;
    // of what a period cannot tell apart, the one that was found
    const double turns = std::round((found->carrier_offset - here) * layout_.period);
    return Detection{first + start, here + turns / layout_.period, 0, false};
}

// Three lengths of the preamble, which is in the middle, by its noise: what differs from one period to the next. An
// antenna is the cleaned one if that took away some of what is around the preamble. Otherwise it is as it came: what
// stands out in a preamble alone are its own carriers.
std::span<const AntennaView> FrameSearch::whiten(std::int64_t first) {
    const int period = layout_.period, length = layout_.preamble_length(), count = difference_length(layout_),
              inner = length + (length - period - count) / 2; // the place is not exact
    const auto power_around = [&](const AntennaView &of) {
        const AntennaView before = of.part(0, length), after = of.part(2 * length, length);
        return energy(before, mean(before)) + energy(after, mean(after));
    };
    views(clean_, first, 3 * length);
    for (AntennaView &antenna : views_) {
        const AntennaView raw = samples_.view(static_cast<int>(&antenna - views_.data()), first, 3 * length);
        const AntennaView preamble = antenna.part(length, length), raw_preamble = raw.part(length, length);
        if (power_around(antenna) > left_alone * power_around(raw))
            antenna = raw;
        else if (energy(preamble, mean(preamble)) < drowned * energy(raw_preamble, mean(raw_preamble)))
            antenna = {std::span(silence_), std::span(silence_)};
    }
    const double offset = carrier_offset(parts(views_, length, length), period);
    for (int a = 0; a < num_rx(); ++a) {
        const std::span<float> re(differences_.data() + 2 * a * count, count), im(re.data() + count, count);
        period_difference(views_[a].part(inner, count + period), period, offset, re, im);
        parts_[a] = {re, im};
    }
    return whitening_.whiten(views_, parts_, inner);
}

// Whether more is periodic in the middle than a preamble's length before or after. begins: the stream does, so that
// nothing is earlier.
bool FrameSearch::is_preamble(std::span<const AntennaView> antennas, bool begins) const {
    const int length = layout_.preamble_length();
    double before = 0, here = 0, after = 0;
    for (const AntennaView &antenna : antennas) {
        const auto periodic = [&](int first) {
            const AntennaView part = antenna.part(first, length);
            return std::abs(self_correlation(part, mean(part), layout_.period));
        };
        const AntennaView preamble = antenna.part(length, length);
        const double weight = inverse(energy(preamble, mean(preamble)));
        before += weight * periodic(0);
        here += weight * periodic(length);
        after += weight * periodic(2 * length);
    }
    return here > periodic_contrast * after || (!begins && here > periodic_contrast * before);
}

// The frames whose last window is there.
void FrameSearch::complete(FrameSink &sink) {
    while (!waiting_.empty() && waiting_.front().start + last_sample() <= position()) {
        give_out(waiting_.front(), sink);
        waiting_.erase(waiting_.begin());
    }
}

void FrameSearch::give_out(const Detection &detection, FrameSink &sink) {
    find_faults(views(samples_, detection.start, last_sample()), dead_, saturated_, power_);
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
    const std::int64_t searched = next_step_ * metric_.step() - lookback(layout_);
    std::int64_t needed = searched; // what waits has to be there again where a start is a little later than its place
    if (!waiting_.empty())
        needed = std::min(needed, waiting_.front().start);
    clean_.drop_before(searched);
    samples_.drop_before(std::min(needed, clean_.position() - SpectralExcision::reach));
    metric_.drop_before(next_step_);
}

} // namespace kaq
