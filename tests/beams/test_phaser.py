# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver of the Phaser, with a board that keeps what it is told."""

import sys
import types

import numpy as np
import pytest

from gr_kaq.beams.drivers.phaser import Phaser
from gr_kaq.beams.planar_array import Beam


class Board:
    """As pyadi-iio's CN0566, as far as the driver uses it."""

    def __init__(self, uri):
        if uri == "ip:nowhere":
            raise Exception("No device found")
        self.gains, self.phases, self.connected = [None] * 8, [None] * 8, True

    def configure(self, device_mode):
        assert device_mode == "rx"

    def set_chan_gain(self, channel, gain):
        if not self.connected:
            raise RuntimeError("broken pipe")
        self.gains[channel] = gain

    def set_chan_phase(self, channel, phase):
        self.phases[channel] = phase


@pytest.fixture
def phaser(monkeypatch):
    monkeypatch.setitem(sys.modules, "adi", types.SimpleNamespace(CN0566=Board))
    return Phaser("ip:phaser.local")


def test_phases_turn_back_a_wave_from_where_the_beam_points(phaser):
    for first in range(8):
        phaser.set_beam(Beam(first, 0))
        wave = np.exp(2j * np.pi * np.arange(8) * first / 8)
        total = np.sum(wave * np.exp(1j * np.radians(phaser._board.phases)))
        assert total == pytest.approx(8, abs=1e-3) and phaser._board.gains == [127] * 8


def test_elements_of_a_wide_beam_are_off(phaser):
    phaser.set_beam(Beam(3, 0, 4, 1))
    assert phaser._board.gains == [127] * 2 + [0] * 6


def test_a_board_that_is_not_there_or_goes_away_is_an_oserror(phaser):
    with pytest.raises(OSError, match="ip:nowhere cannot be reached: No device found"):
        Phaser("ip:nowhere")
    phaser._board.connected = False
    with pytest.raises(OSError, match="does not answer: broken pipe"):
        phaser.set_beam(Beam(0, 0))
    with pytest.raises(ValueError, match="first of the beam is 8"):
        phaser.set_beam(Beam(8, 0))


def test_without_pyadi_iio_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "adi", None)
    with pytest.raises(ImportError, match="pip install pyadi-iio"):
        Phaser("ip:phaser.local")


def test_pyadi_iio_itself_takes_what_the_driver_tells_it(monkeypatch):
    """Its CN0566 with chips that are registers only; skipped where pyadi-iio, or its libiio, is missing."""
    try:
        import adi
    except (ImportError, OSError) as error:
        pytest.skip(f"pyadi-iio: {error}")

    class Registers(adi.CN0566):
        def __init__(self, uri):
            self.pcal, self.gcal = [10.0 * element for element in range(8)], [1.0, 0.5] * 4
            self._chips = [types.SimpleNamespace(rx_phase=None, rx_gain=None) for _ in range(8)]
            self.latched = 0

        devices = {}

        @property
        def elements(self):
            return {number: chip for number, chip in enumerate(self._chips, 1)}

        def latch_rx_settings(self):
            self.latched += 1

    monkeypatch.setattr(adi, "CN0566", Registers)
    phaser = Phaser("ip:phaser.local")
    phaser.set_beam(Beam(1, 0, 2, 1))
    phases = [chip.rx_phase for chip in phaser._board._chips[:4]]
    assert phases == pytest.approx([(10 * n - 45 * n) % 360 for n in range(4)], abs=1.5)
    assert [chip.rx_gain for chip in phaser._board._chips] == [127, 63, 127, 63, 0, 0, 0, 0]
    assert phaser._board.latched >= 4
