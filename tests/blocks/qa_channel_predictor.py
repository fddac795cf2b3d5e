# SPDX-License-Identifier: GPL-3.0-or-later
"""channel_predictor: forecasts as tags between estimates, and what they are worth to a detector behind it."""

import re

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.channels.users import User, UserDelayLine

CARRIERS, EVERY, COUNT, NOISE = 12, 8, 480, 1e-3
SHAPE = (CARRIERS, 2, 2)
CSI = pmt.intern("mimo_channel")


def link(seed=0):
    """Samples (2, COUNT, CARRIERS) of QPSK symbols on a fading channel, the symbols, and the channel."""
    rng = np.random.default_rng(seed)
    line = UserDelayLine(2, [User(20.0), User(100.0)], seed=seed)
    h = line.frequency_response(np.arange(COUNT) * 1e-4, 31.25e3 * np.arange(CARRIERS))
    x = (rng.choice([-1, 1], (2, COUNT, CARRIERS, 2)) @ [1, 1j]) * np.sqrt(0.5)
    noise = rng.standard_normal((2, 2, COUNT, CARRIERS)) * np.sqrt(NOISE / 2)
    return np.einsum("tfij,jtf->itf", h, x) + noise[0] + 1j * noise[1], x, h


def tag(item, h, **options):
    return gr.tag_utils.python_to_tag((item, CSI, channel_to_pmt(h.astype(np.complex64), **options), pmt.PMT_F))


class Collector(gr.sync_block):
    """Messages of a port."""

    def __init__(self):
        super().__init__("collector", [], [])
        self.messages = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.take)

    def take(self, message):
        self.messages.append(message)


class TagCollector(gr.sync_block):
    """Values of the tags that arrive, by item."""

    def __init__(self):
        super().__init__("tag collector", [(np.complex64, CARRIERS)], [])
        self.values = {}

    def work(self, input_items, output_items):
        count = len(input_items[0])
        self.values.update((each.offset, each.value) for each in self.get_tags_in_window(0, 0, count))
        return count


def detector_of(**options):
    return gr_kaq.detector("lmmse", 2, 2, CARRIERS, constellation="qpsk", **options)


def run(samples, tags, predict, detector=None, **options):
    """Detected symbols (2, COUNT, CARRIERS), the block, its tags, and its messages."""
    tb = gr.top_block()
    detector = detector or detector_of()
    block = gr_kaq.channel_predictor(2, 2, CARRIERS, reach=EVERY - 1, **options)
    seen, collector = TagCollector(), Collector()
    sinks = [blocks.vector_sink_c(CARRIERS) for _ in range(2)]
    for antenna in range(2):
        source = blocks.vector_source_c(samples[antenna].ravel().tolist(), False, CARRIERS, [] if antenna else tags)
        if antenna == 0 and predict:
            tb.connect(source, block, (detector, 0))
            tb.connect(block, seen)
            tb.msg_connect(block, "csi_forecast", collector, "in")
        else:
            tb.connect(source, (detector, antenna))
        tb.connect((detector, antenna), sinks[antenna])
    tb.run()
    found = np.array([sink.data() for sink in sinks]).reshape(2, COUNT, CARRIERS)
    return found, block, seen.values, collector.messages


def estimates(h, **options):
    return [tag(item, h[item], noise_var=NOISE, seq=item, **options) for item in range(0, COUNT, EVERY)]


def test_a_detector_errs_less_between_estimates():
    samples, x, h = link()
    late = slice(COUNT // 2, None)
    errors = [
        np.mean(np.abs(run(samples, estimates(h), predict)[0][:, late] - x[:, late]) ** 2) for predict in (False, True)
    ]
    assert errors[1] < errors[0] / 4


def test_forecasts_are_counted_and_sent_with_their_errors():
    samples, _, h = link(1)
    _, block, _, messages = run(samples, estimates(h), True)
    stats = block.stats()
    assert stats["estimates"] == COUNT // EVERY and stats["estimates_without_forecast"] == 3
    assert stats["forecasts"] == (COUNT // EVERY - 3) * (EVERY - 1) == len(messages)
    assert stats["internal_errors"] == stats["restarts"] == stats["rejected_csi"] == 0
    last = pmt.to_python(messages[-1])
    assert last["horizon"] == EVERY - 1 and last["seq"] == COUNT - EVERY and last["shape"] == SHAPE
    assert last["noise_var"] == pytest.approx(NOISE + 2 * last["error_var"]) and last["error_var"] > 0


def test_what_is_expected_of_the_errors_is_so():
    errors, expected = np.zeros(EVERY - 1), np.zeros(EVERY - 1)
    for seed in range(4):
        samples, _, h = link(seed)
        parts = np.random.default_rng(seed).standard_normal((2, *h.shape)) * np.sqrt(NOISE / 4)
        _, _, tags, messages = run(samples, estimates(h + parts[0] + 1j * parts[1]), True)
        for message in messages[len(messages) // 2 :]:
            entries = pmt.to_python(message)
            item = entries["seq"] + entries["horizon"]
            away = np.array(pmt.to_python(tags[item])["h"]).reshape(SHAPE) - h[item]
            errors[entries["horizon"] - 1] += np.mean(np.abs(away) ** 2)
            expected[entries["horizon"] - 1] += entries["error_var"]
    np.testing.assert_allclose(10 * np.log10(expected / errors), 0, atol=3)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("gain of all", "the gain of antenna 0, 1 jumped by 12.* dB"),
        ("gain of an antenna", "the gain of antenna 1 jumped by 4.* dB"),
        ("dead antenna", "antenna 0 went"),
        ("stream begins", "stream 1 came"),
        ("stream ends", "stream 1 went"),
        ("channel ends", "a channel from a stream to an antenna came or went"),
    ],
)
def test_what_jumps_comes_or_goes_is_said_and_counted_and_begins_anew(fault, said, capfd):
    """What is forecast of an antenna or a stream that is not there is nothing, and not what it was."""
    samples, _, h = link(6)
    late = slice(COUNT // 2, None)
    if fault == "gain of all":
        h[late] *= 4
    elif fault == "gain of an antenna":
        h[late, :, 1] *= 1.6
    elif fault == "channel ends":
        h[late, :, 1, 0] = 0
    elif fault == "dead antenna":
        h[late, :, 0] = 0
    elif fault == "stream begins":
        h[: COUNT // 2, :, :, 1] = 0
    else:
        h[late, :, :, 1] = 0
    _, block, tags, _ = run(samples, estimates(h), True)
    stats = block.stats()
    assert stats["restarts"] == 1 and stats["estimates_without_forecast"] == 6 and stats["internal_errors"] == 0
    text = capfd.readouterr().out
    assert len(re.findall(f"forecasts begin anew at the estimate of item {COUNT // 2}: {said}", text)) == 1
    alone = set(range(COUNT // 2, COUNT // 2 + 3 * EVERY))  # the estimate is in force, with its own error
    assert alone & set(tags) == set(range(COUNT // 2, COUNT // 2 + 3 * EVERY, EVERY))
    last = np.array(pmt.to_python(tags[COUNT - 1])["h"]).reshape(SHAPE)
    assert np.isfinite(last).all()
    np.testing.assert_array_equal(last.any(axis=0), h[-1].any(axis=0))


def test_lost_estimates_are_forecast_over_by_their_times():
    samples, x, h = link(7)
    tags = [each for number, each in enumerate(estimates(h)) if number % 5 != 3]
    errors = [np.mean(np.abs(run(samples, tags, predict)[0][:, 200:] - x[:, 200:]) ** 2) for predict in (False, True)]
    assert errors[1] < errors[0] / 2


def test_estimates_at_irregular_times_are_forecast_by_these():
    rng = np.random.default_rng(8)
    samples, x, h = link(8)
    items = np.cumsum(rng.integers(EVERY // 2, EVERY + 1, COUNT // EVERY))
    tags = [tag(int(item), h[item], noise_var=NOISE) for item in items]
    errors = [np.mean(np.abs(run(samples, tags, predict)[0][:, 200:] - x[:, 200:]) ** 2) for predict in (False, True)]
    assert errors[1] < errors[0] / 2


def test_an_outage_is_forecast_over_as_far_as_asked_and_the_age_counts_from_there():
    """Between estimates a detector goes by forecasts, whose age is counted; without them it has given up before."""
    samples, _, h = link(9)
    gone = range(COUNT // 2, COUNT // 2 + 6 * EVERY)  # without estimates
    tags = [each for each in estimates(h) if each.offset not in gone]
    detectors = [detector_of(max_csi_age=4) for _ in range(2)]
    for predict, detector in enumerate(detectors):
        run(samples, tags, predict, detector)
    unknown = [detector.items_without_csi() for detector in detectors]
    assert unknown[0] == (COUNT // EVERY - 6) * (EVERY - 1 - 4) + 6 * EVERY
    # forecasts begin with the fourth estimate, and reach as far as the next one should have been
    assert unknown[1] == 3 * (EVERY - 1 - 4) + 6 * EVERY - 4


def test_what_cannot_be_used_is_counted_and_the_rest_goes_on():
    samples, _, h = link(3)
    tags = estimates(h)
    tags[10] = gr.tag_utils.python_to_tag((80, CSI, pmt.from_long(3), pmt.PMT_F))
    tags[20] = tag(160, np.full(SHAPE, np.nan), noise_var=NOISE)
    tags[30] = tag(240, np.zeros(SHAPE), noise_var=NOISE)
    _, block, _, _ = run(samples, tags, True)
    stats = block.stats()
    assert stats["rejected_csi"] == 2 and stats["internal_errors"] == 0
    assert stats["forecasts"] > 40 * (EVERY - 1)


def test_the_covariance_of_the_noise_stays_and_grows():
    samples, _, h = link(5)
    noise_cov = NOISE * np.array([[[2, 1j], [-1j, 3]]], np.complex64)
    tags = [tag(item, h[item], noise_cov=noise_cov, seq=item) for item in range(0, COUNT, EVERY)]
    _, block, _, messages = run(samples, tags, True)
    last = pmt.to_python(messages[-1])
    assert block.internal_errors() == 0 and block.forecasts() > 0
    found = np.array(last["noise_cov"]).reshape(2, 2)
    np.testing.assert_allclose(found, noise_cov[0] + 2 * last["error_var"] * np.eye(2), rtol=1e-3)


def test_without_a_noise_variance_there_is_no_forecast():
    samples, _, h = link(4)
    tags = [tag(item, h[item]) for item in range(0, COUNT, EVERY)]
    _, block, _, messages = run(samples, tags, True)
    assert block.estimates_without_forecast() == COUNT // EVERY and not messages


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"spacing": 0}, "spacing is 0"),
        ({"spacing": 8, "reach": 4}, "reach is 4"),
        ({"history": 3}, "history is 3; 4 to 256"),
        ({"reach": 1 << 20}, "reach is 1048576"),
        ({"csi_key": "snr"}, "two different names"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        gr_kaq.channel_predictor(2, 2, **arguments)
