# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe finds again what is known of linear receivers, and refuses what it cannot measure."""

import json
import math

import numpy as np
import pytest

import gr_kaq
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.probes.axes import AXES, Carriers, Delay, Space, Symbols, make_axis, noise_samples
from gr_kaq.probes.probe import Probe, TargetUnreachable
from gr_kaq.probes.probed_link import Link, Receiver

pytest.importorskip("gnuradio", reason="gr-fec decodes the payloads")


@pytest.fixture(scope="module")
def link():
    return Link(FrameFormat(2), 2, snr_db=25.0)


def detector(name="lmmse"):
    return gr_kaq.load_detector(name, constellation="16qam")


def noise_on(axis, band, number=0):
    return axis.noise(axis.link.frame(number), band, np.random.default_rng(number))


@pytest.mark.parametrize("on, symbols", [("all", range(16)), ("preamble", (0, 1)), ("training", (2, 9, 15))])
def test_noise_stays_on_its_carriers(link, on, symbols):
    """All of it: what the receiver's transforms see on other carriers is rounding."""
    axis = Carriers(link, 13, on)
    noise = np.mean([np.abs(noise_on(axis, 3, number)) ** 2 for number in range(30)], axis=0)
    hit = np.zeros((16, 52), bool)
    hit[np.ix_(list(symbols), range(12, 16))] = True
    assert not noise[~hit[:, None].repeat(2, axis=1)].any()
    assert noise.transpose(0, 2, 1)[hit].mean() == pytest.approx(2, rel=0.1)
    samples = noise_samples(link.frame_format, noise_on(axis, 3))
    assert samples.shape == (2, link.frame_format.frame_length)
    expected = link.frame_format.samples_of(on) if on != "all" else np.ones(samples.shape[1], bool)
    np.testing.assert_array_equal(np.abs(samples).max(axis=0) > 0, expected)
    grid = link.frame_format.demodulate(np.pad(samples, ((0, 0), (0, 100))))
    np.testing.assert_allclose(
        grid, noise_on(axis, 3)[2:] * link.frame_format.advance_correction * _advance(link), atol=1e-5
    )


def _advance(link):
    return link.frame_format.advance_correction.conj()


def test_delays_are_where_they_are_said_to_be(link):
    """Least squares of that noise is a channel within the band, of the share's power."""
    axis = Delay(link, 16)
    frame = link.frame_format
    noise = noise_on(axis, 11)[2 + np.array([0, 7, 13])]
    assert not noise_on(axis, 11)[[0, 1, 3, 8, 14]].any()
    places = frame.training_indices[0, 0]
    channel = noise[0][:, places] / frame.known_grid[0, 0, places]
    delays = np.linspace(-16, 16, 321)
    power = np.abs(channel @ np.exp(2j * np.pi * np.outer(frame.active_carriers[places], delays) / 64)) ** 2
    inside = (delays >= 6 - 1.2) & (delays <= 8 + 1.2)
    assert power[:, inside].sum() > 0.9 * power.sum()
    powers = [
        np.mean(np.abs(noise_on(axis, 11, i)[2, :, places] / frame.known_grid[0, 0, places][:, None]) ** 2)
        for i in range(60)
    ]
    assert np.mean(powers) == pytest.approx(1 / 16, rel=0.2)


def test_directions_are_singular_vectors(link):
    axis = Space(link)
    frame = link.frame(0)
    noise = noise_on(axis, 1)
    assert not noise[[0, 1, 2, 9, 15]].any()
    h = frame.channel[0, 5]
    left = np.linalg.svd(h)[0]
    at = noise[3][:, link.frame_format.data_indices[0, 5]]
    assert abs(np.vdot(left[:, 0], at)) < 1e-4 and abs(np.vdot(left[:, 1], at)) > 0.1


def test_bursts(link):
    noise = noise_on(Symbols(link, 14), 4)
    assert np.flatnonzero(np.abs(noise).sum(axis=(1, 2))).tolist() == [6]


@pytest.mark.parametrize("estimator", ["ls", "lmmse"])
def test_the_estimators_response_is_the_analytic_one(link, estimator):
    """tr(A S_b A^H), within 0.5 dB in every band above 5 % of the peak."""
    probe = Probe(Delay(link, 8), num_frames=200, max_error_db=1.0)
    found = probe.run(Receiver(link, estimator, detector(), known_statistics=True))
    known = np.array([band.analytic_db for band in found.bands])
    measured = np.array([band.response_db for band in found.bands])
    strong = known > known.max() + 10 * np.log10(0.05)
    assert strong.sum() >= (8 if estimator == "ls" else 2)
    np.testing.assert_allclose(measured[strong], known[strong], atol=0.5)
    assert all(band.threshold.error_db < 1.5 for band in found.bands)
    # the wider the filter, the wider the channel
    assert found.of_power.centre[0] == pytest.approx(0, abs=4)
    assert found.of_power.flat or (found.of_power.bandwidth[0] > 15) == (estimator == "ls")


def test_power_and_density(link):
    """They differ by the share of the axis that a band is."""
    probe = Probe(Carriers(link, 4, "data"), num_frames=60, max_error_db=3.0)
    found = probe.run(Receiver(link, "lmmse", detector()))
    for band in found.bands:
        assert band.density_db - band.threshold.level_db == pytest.approx(10 * np.log10(4))
        assert math.isnan(band.response_db) and band.fallbacks == 0
    content = json.loads(json.dumps(found.as_json()))
    assert content["bands"][0]["response_db"] is None
    assert content["bands"][3]["threshold"]["level_db"] == found.bands[3].threshold.level_db


def test_noise_that_does_no_harm():
    """A detector is deaf to what lies outside of the streams' space; two streams leave two of four directions."""
    link = Link(FrameFormat(2), 4, snr_db=25.0)
    probe = Probe(Space(link), num_frames=60, max_error_db=3.0)
    found = probe.run(Receiver(link, "lmmse", detector()))
    levels = [band.threshold.level_db for band in found.bands]
    assert levels[0] > levels[1] and min(levels[2:]) > levels[0] + 15
    assert found.bands[2].analytic_db == -math.inf


def test_louder_is_worse(link):
    probe, receiver = Probe(Carriers(link, 13)), Receiver(link, "lmmse", detector())
    rates = [probe.block_error_rate(receiver, 5, level, 30) for level in (-40.0, -10.0, 10.0, 30.0)]
    assert rates == sorted(rates) and rates[0] == 0 and rates[-1] == 1


def test_a_link_that_is_too_bad_is_refused():
    link = Link(FrameFormat(2), 2, snr_db=12.0)
    probe = Probe(Carriers(link, 13), num_frames=50)
    with pytest.raises(
        TargetUnreachable, match="wrong without interference; at most half of the target, 0.05, expected"
    ):
        probe.run(Receiver(link, "ls", detector()))


def test_the_same_frames_for_all(link):
    again = Link(FrameFormat(2), 2, snr_db=25.0)
    np.testing.assert_array_equal(again.frame(3).samples, link.frame(3).samples)
    assert again.frame(3).payload == link.frame(3).payload
    other = Link(FrameFormat(2), 2, snr_db=25.0, seed=2)
    assert np.any(other.frame(3).samples[:, :500] != link.frame(3).samples[:, :500])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("carriers", 53), "53 bands; 1 to 52 expected"),
        (("carriers", 0), "0 bands"),
        (("carriers", 4, "pilots"), "pilots"),
        (("delay", 65), "65 bands; 1 to 64"),
        (("delay", 8, "data"), "only the axis carriers"),
        (("space", 3), "3 bands; 2 expected"),
        (("symbols", 15), "15 bands; 1 to 14"),
        (("time",), f"time.*{AXES[0]}"),
    ],
)
def test_wrong_axes(link, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_axis(link, *arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [({"target": 0.0}, "target"), ({"num_frames": 0}, "num_frames"), ({"max_error_db": math.nan}, "max_error_db")],
)
def test_wrong_arguments(link, arguments, message):
    with pytest.raises(ValueError, match=message):
        Probe(Carriers(link, 13), **arguments)


def test_wrong_estimators(link):
    with pytest.raises(ValueError, match="remembers frames"):
        Receiver(link, "lmmse-memory", detector())
    with pytest.raises((ValueError, ImportError), match="no-such"):
        Receiver(link, "no-such", detector())
