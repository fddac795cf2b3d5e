# SPDX-License-Identifier: GPL-3.0-or-later
"""Analog Devices' Phaser (CN0566): eight elements in a line at X band, through pyadi-iio."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..planar_array import Beam, PlanarArray

__all__ = ["Phaser"]

NUM_ELEMENTS = 8
FULL_GAIN = 127
PHASE_STEP_DEG = 360 / 128


class Phaser:
    """A Phaser that receives; its Pluto stays with whoever takes the samples.

    Phases are `PlanarArray`'s of 8x1 elements, on the board's grid of 2.8 degrees, with the board's own calibration
    (pyadi-iio's `pcal` and `gcal`). Elements of a wide beam that are off have no gain.

    Args:
        uri: of the Raspberry Pi on the board, as pyadi-iio takes it, such as ``"ip:phaser.local"``.

    Raises:
        ImportError: pyadi-iio is missing.
        OSError: the board cannot be reached.
    """

    def __init__(self, uri: str):
        try:
            import adi  # noqa: PLC0415 - optional
        except ImportError as error:
            raise ImportError(f"a Phaser needs Python's adi ({error}); pip install pyadi-iio") from None
        self.array = PlanarArray(NUM_ELEMENTS, 1)
        try:
            self._board: Any = adi.CN0566(uri=uri)
            self._board.configure(device_mode="rx")
        except OSError:
            raise
        except Exception as error:  # pyadi-iio raises what comes, bare Exception too
            raise OSError(f"the Phaser at {uri} cannot be reached: {error}") from error

    def set_beam(self, beam: Beam) -> None:
        """See `BeamDriver`."""
        weights = self.array.weights(np.array([self.array.check(beam)]))[0]
        try:
            for element, weight in enumerate(weights.tolist()):
                self._board.set_chan_gain(element, FULL_GAIN if weight else 0)
                if weight:
                    phase = PHASE_STEP_DEG * round(np.degrees(np.angle(weight)) / PHASE_STEP_DEG)
                    self._board.set_chan_phase(element, float(phase))
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"the Phaser does not answer: {error}") from error
