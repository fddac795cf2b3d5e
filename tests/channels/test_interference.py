# SPDX-License-Identifier: GPL-3.0-or-later
"""Interference stays in its band, has the power that it states, and comes from where it says."""

import numpy as np
import pytest

from gr_kaq.channels.interference import Interference, Interferer, steering_vector
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.frames.frame_format import PARTS, FrameFormat

RATE = 64.0  # so that a carrier of 64 is a Hz


def drawn(count=1 << 17, num_rx=2, seed=0, **arguments):
    return Interference(Interferer(**({"band": (4.5, 8.5)} | arguments)), num_rx, RATE, seed).draw(count)


def spectrum(samples, size=64):
    """Mean power at each carrier, -size/2 first, of windows as a receiver's Fourier transform has them."""
    windows = samples[..., : samples.shape[-1] // size * size].reshape(*samples.shape[:-1], -1, size)
    return np.fft.fftshift(np.mean(np.abs(np.fft.fft(windows, norm="ortho")) ** 2, axis=-2), axes=-1)


def test_power_and_band():
    """The whole power lies within the band; its density there is what `density_db` says."""
    interferer = Interferer((4.5, 8.5), power_db=-3.0)
    samples = Interference(interferer, 2, RATE).draw(1 << 17)
    np.testing.assert_allclose(np.mean(np.abs(samples) ** 2, axis=1), 10**-0.3, rtol=0.03)
    fine = spectrum(samples[:, : 1 << 16] * np.hanning(1 << 16), 1 << 16)  # hann: the spectrum itself
    carriers = np.arange(-(1 << 15), 1 << 15) / 1024
    inside = (carriers >= 4.4) & (carriers < 8.6)
    assert fine[:, ~inside].sum() < 1e-3 * fine.sum()
    coarse = spectrum(samples)
    level = 10 ** (interferer.density_db(RATE) / 10)
    assert level == pytest.approx(10**-0.3 * 16)
    np.testing.assert_allclose(coarse[:, 32 + 6 : 32 + 8], level, rtol=0.12)  # a window lets some of it out
    assert coarse[:, 32 + 20].max() < 0.01 * level  # what a window of 64 samples lets in


def test_the_noise_is_gaussian_and_the_same_all_the_time():
    samples = drawn(1 << 18)
    power = np.abs(samples) ** 2
    assert np.mean(power**2) / np.mean(power) ** 2 == pytest.approx(2, rel=0.05)
    over_block = power.reshape(-1, 2048).mean(axis=0).reshape(16, -1).mean(axis=1)
    np.testing.assert_allclose(over_block, over_block.mean(), rtol=0.15)


def test_directions():
    """Rank 1 with the phases of the direction; independent at the antennas without one."""
    samples = drawn(num_rx=3, direction=30.0)
    covariance = samples @ samples.conj().T / samples.shape[1]
    a = steering_vector(3, 30.0)
    np.testing.assert_allclose(a, [1, 1j, -1], atol=1e-6)
    np.testing.assert_allclose(covariance, np.outer(a, a.conj()), atol=0.05)
    independent = drawn(num_rx=3)
    np.testing.assert_allclose(independent @ independent.conj().T / independent.shape[1], np.eye(3), atol=0.05)


def test_tone():
    samples = drawn(4096, kind="tone", power_db=6.0)
    np.testing.assert_allclose(np.abs(samples) ** 2, 10**0.6, rtol=1e-4)
    np.testing.assert_allclose(np.angle(samples[:, 1:] / samples[:, :-1]), 2 * np.pi * 6.5 / 64, atol=1e-4)


@pytest.mark.parametrize("kind", ["noise", "tone"])
def test_bursts(kind):
    """On for their share of each period, and nothing in between."""
    samples = drawn(1 << 14, kind=kind, period=10.0, duty=0.25)
    on = np.mod(np.arange(1 << 14), 640) < 160
    assert not samples[:, ~on].any() and np.all(samples[:, on] != 0)
    np.testing.assert_array_equal(samples[:, on], drawn(1 << 14, kind=kind)[:, on])


@pytest.mark.parametrize("arguments", [{}, {"kind": "tone"}, {"period": 1.0, "duty": 0.5}, {"direction": 5.0}])
def test_samples_do_not_depend_on_how_many_are_drawn(arguments):
    whole = drawn(9000, **arguments)
    pieces = Interference(Interferer(**({"band": (4.5, 8.5)} | arguments)), 2, RATE)
    np.testing.assert_array_equal(np.concatenate([pieces.draw(n) for n in (1, 0, 4000, 4999)], axis=1), whole)
    assert np.any(drawn(9000, seed=1, **arguments) != whole)


def test_the_power_can_be_swept():
    """The same signal goes on, louder; another band begins anew."""
    swept, same = (Interference(Interferer((4.5, 8.5)), 2, RATE) for _ in range(2))
    swept.draw(1000), same.draw(1000)
    swept.set_interferer(Interferer((4.5, 8.5), power_db=20.0))
    np.testing.assert_allclose(swept.draw(3000), 10 * same.draw(3000), rtol=1e-5)
    swept.set_interferer(Interferer((-20.5, -18.5)))
    assert np.argmax(spectrum(swept.draw(1 << 14))[0]) in (32 - 20, 32 - 19)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"band": (8.0, 8.0)}, "band"),
        ({"band": (8.0, 4.0)}, "band"),
        ({"band": (np.nan, 4.0)}, "band"),
        ({"band": (0.0, np.inf)}, "band"),
        ({"band": (1.0,)}, "band"),
        ({"band": (30.0, 33.0)}, "within -32 to 32 Hz"),
        ({"band": (1.0, 1.01)}, "at least 0.0625 Hz wide"),
        ({"power_db": np.nan}, "power_db"),
        ({"power_db": 1e3}, "power_db"),
        ({"kind": "chirp"}, "chirp.*noise, tone"),
        ({"direction": 100.0}, "direction"),
        ({"direction": np.nan}, "direction"),
        ({"period": -1.0}, "period"),
        ({"duty": 0.0}, "duty"),
        ({"duty": np.nan}, "duty"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn(**arguments)


def test_what_is_refused_leaves_what_was_there():
    interference, same = (Interference(Interferer((4.5, 8.5)), 2, RATE) for _ in range(2))
    with pytest.raises(ValueError, match="band"):
        interference.set_interferer(Interferer((30.0, 33.0)))
    np.testing.assert_array_equal(interference.draw(100), same.draw(100))


def test_in_the_radio_channel():
    """It adds to what the channel gives, behind fading and oscillator, and before the gains of the antennas."""
    settings = {"sample_rate": RATE, "snr_db": 10.0, "carrier_offset": 3.0, "antenna_gains_db": [0.0, -20.0], "seed": 5}
    x = np.ones((2, 5000), np.complex64)
    interferer = Interferer((4.5, 8.5), direction=20.0)
    without = RadioChannel(2, 2, **settings).process(x)
    everywhere = RadioChannel(2, 2, interferer=interferer, **settings).process(x) - without
    assert np.mean(np.abs(everywhere[0]) ** 2) == pytest.approx(1, rel=0.2)
    np.testing.assert_allclose(everywhere[1], 0.1 * steering_vector(2, 20.0)[1] * everywhere[0], atol=1e-5)
    some = np.arange(5000) % 7 < 3
    partly = RadioChannel(2, 2, interferer=interferer, **settings)
    parts = [partly.process(x[:, cut], some[cut]) for cut in (slice(1700), slice(1700, 5000))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1) - without, everywhere * some, atol=1e-5)
    partly.set_interferer(None)
    again = RadioChannel(2, 2, **settings)
    again.process(x)
    np.testing.assert_array_equal(partly.process(x), again.process(x))


@pytest.mark.parametrize("fft_size", [64, 256])
def test_the_parts_of_a_frame(fft_size):
    """Every sample is of one of them."""
    frame = FrameFormat(2, fft_size)
    masks = np.stack([frame.samples_of(part) for part in PARTS])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert masks.sum(axis=1).tolist() == [frame.preamble_length, 3 * frame.symbol_length, 11 * frame.symbol_length]
    assert masks[1, frame.preamble_length] and masks[2, frame.preamble_length + frame.symbol_length]
