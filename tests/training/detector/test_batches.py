# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches keep to the signal model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.signal_model import snr_from_noise_var
from training.config import ConfigError
from training.detector.batches import draw_batch, draw_channels, recorded_packets, training_packets
from training.detector.config import Channel, CsiError

pytestmark = pytest.mark.training


def generator():
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize("channel", [Channel(), Channel("kronecker", 0.8)])
def test_channels_have_unit_power(channel):
    h = draw_channels(channel, None, 20_000, (4, 3), generator())
    assert h.abs().square().mean((0,)).numpy() == pytest.approx(1, abs=0.05)


def test_kronecker_correlates_neighbours():
    h = draw_channels(Channel("kronecker", 0.8), None, 20_000, (4, 2), generator())
    rx = (h[:, 0, 0] * h[:, 1, 0].conj()).mean()
    tx = (h[:, 0, 0] * h[:, 0, 1].conj()).mean()
    far = (h[:, 0, 0] * h[:, 3, 0].conj()).mean()
    for value, expected in ((rx, 0.4), (tx, 0.4), (far, 0.8**3 / 4)):  # means of r and r^3, r uniform in [0, 0.8]
        assert value.real.item() == pytest.approx(expected, abs=0.04)
        assert value.imag.item() == pytest.approx(0, abs=0.04)


def test_batch_is_the_signal_model():
    points = CONSTELLATIONS["16qam"]
    batch = draw_batch(Channel(), None, points, (500, 20), (6, 4), (5, 15), generator())
    x = torch.complex(batch.x[..., :4], batch.x[..., 4:])
    assert x.abs().square().mean().item() == pytest.approx(1, abs=0.02)
    assert np.isin(np.round(batch.x.numpy() / points.half_distance, 4), [-3, -1, 1, 3]).all()
    noise = (batch.y - x @ batch.h.mT).abs().square().mean((1, 2)) / batch.noise_var
    assert noise.mean().item() == pytest.approx(1, abs=0.01)
    expected = snr_from_noise_var(batch.h.numpy(), batch.noise_var.numpy())
    assert batch.snr_db.numpy() == pytest.approx(expected, abs=1e-3)


def test_recorded_packets_share_the_snr_of_the_packet(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "h.npz"
    np.savez(path, h=rng.integers(-1000, 1000, (5, 8, 3, 2, 2)).astype(np.int16))
    channel = Channel("recorded", file=str(path), training_packets=(0, 3))
    packets = recorded_packets(channel, (3, 2))
    assert packets.shape == (5, 8, 3, 2)
    assert packets.abs().square().mean((1, 2, 3)).numpy() == pytest.approx(1, rel=1e-4)
    batch = draw_batch(channel, packets, CONSTELLATIONS["qpsk"], (64, 2), (3, 2), (10, 20), generator())
    assert batch.snr_db.numpy() == pytest.approx(10 * np.log10(2 / batch.noise_var.numpy()), abs=1e-3)


def test_estimation_errors_are_the_link_s():
    given = (Channel(), None, CONSTELLATIONS["qpsk"], (4000, 2), (6, 4), (10, 20))
    perfect = draw_batch(*given, generator())
    wrong = draw_batch(*given, generator(), CsiError((-3.0, 3.0), 2.0))
    assert torch.equal(perfect.y, wrong.y) and torch.equal(perfect.x, wrong.x)
    # the receiver believes its own estimate
    expected = snr_from_noise_var(wrong.h.numpy(), wrong.noise_var.numpy())
    assert wrong.snr_db.numpy() == pytest.approx(expected, abs=1e-3)
    told = 10 * torch.log10(wrong.noise_var / perfect.noise_var)
    assert -3 - 1e-4 <= told.min() < -2 and 6 < told.max() <= 3 + 10 * np.log10(3) + 1e-4
    error = (wrong.h - perfect.h).abs().square().mean((1, 2)) * 4 / perfect.noise_var  # share, a mean of 24 entries
    assert error.mean().item() == pytest.approx(1, abs=0.05)  # of a uniform draw from 0 to 2
    # of the channel error alone, the noise variance tells its share
    wrong = draw_batch(*given, generator(), CsiError(channel=2.0))
    share = wrong.noise_var / perfect.noise_var - 1
    error = (wrong.h - perfect.h).abs().square().mean((1, 2)) * 4 / perfect.noise_var
    assert share.min() >= 0 and 1.9 < share.max() <= 2 + 1e-4
    assert torch.corrcoef(torch.stack([share, error]))[0, 1] > 0.85
    assert (error / share).median().item() == pytest.approx(1, abs=0.05)


def test_no_estimation_errors_draw_nothing():
    given = (Channel(), None, CONSTELLATIONS["qpsk"], (8, 2), (6, 4), (10, 20))
    states = []
    for error in (CsiError(), CsiError(snr_bias_db=(-1.0, 1.0))):
        source = generator()
        draw_batch(*given, source, error)
        states.append(source.get_state())
    plain = generator()
    draw_batch(*given, plain)
    assert torch.equal(states[0], plain.get_state()) and not torch.equal(states[1], plain.get_state())


def test_estimation_errors_of_recorded_packets(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "h.npz"
    np.savez(path, h=rng.integers(-1000, 1000, (2, 400, 3, 2, 2)).astype(np.int16))
    channel = Channel("recorded", file=str(path), training_packets=(0, 1))
    packets = recorded_packets(channel, (3, 2))
    given = (channel, packets, CONSTELLATIONS["qpsk"], (20_000, 1), (3, 2), (0, 0.001))
    batch = draw_batch(*given, generator(), CsiError(snr_bias_db=(-2.0, 2.0), channel=1.0))
    # what an estimate of the whole packet would say: noise_var is 2 at 0 dB, so an entry of error variance share
    for low, high in ((1.5, 2.0), (3.0, 4.0)):
        chosen = (batch.noise_var > low) & (batch.noise_var < high)
        power = batch.h[chosen].abs().square().sum((1, 2)).mean().item() / 3
        said = (10 ** (batch.snr_db[chosen] / 10) * batch.noise_var[chosen]).mean().item()
        assert said == pytest.approx(power, rel=0.02)


def test_missing_recording_names_the_key():
    with pytest.raises(ConfigError, match=r"channel\.file"):
        recorded_packets(Channel("recorded", file="no-such-file.npz", training_packets=(0, 1)), (3, 2))


@pytest.mark.parametrize("chosen", [(0, 402), (5, 5), (-1, 3)])
def test_packets_that_are_not_recorded_are_not_trained_on(chosen):
    file = "python/gr_kaq/channels/recordings/measured_csi_3x2.npz"
    with pytest.raises(ConfigError, match=r"key channel\.training_packets: 0 to 401 expected, got"):
        training_packets(Channel("recorded", file=file, training_packets=chosen), (3, 2))
