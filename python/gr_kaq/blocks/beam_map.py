# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of what a beam search has probed, as a Qt widget."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PyQt5 import QtCore, QtGui, QtWidgets

from ..beams.planar_array import Beam

__all__ = ["BeamMap"]

RANGE_DB = 30.0
NEVER = (0.82, 0.82, 0.82)
COLOURS = ((0, 0, 0.02), (0.34, 0.06, 0.43), (0.74, 0.21, 0.33), (0.98, 0.56, 0.04), (0.99, 1, 0.64))
MARGIN = 34  # pixels


class BeamMap(QtWidgets.QWidget):
    """SNR over the two indices of a beam, in 30 dB of colours down from the best; what was never probed is grey.

    Args:
        snr_db: (num_first, num_second), of each narrow beam; NaN: never probed, -inf: nothing was heard. Read whenever
            the widget is painted.
    """

    changed = QtCore.pyqtSignal()

    def __init__(self, snr_db: NDArray[np.floating]):
        super().__init__()
        self._snr_db = snr_db
        self.beam: Beam | None = None
        """In force now: has a frame around what it covers."""
        self.setMinimumSize(300, 300)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Expanding)
        self.changed.connect(self.update)  # from another thread: queued

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # Qt's name  # noqa: N802
        """Called by Qt."""
        first, second = self._snr_db.shape
        best = float(np.max(self._snr_db, where=np.isfinite(self._snr_db), initial=-np.inf))
        best = best if np.isfinite(best) else 0.0
        picture = colours(self._snr_db.T[::-1], best).tobytes()
        image = QtGui.QImage(picture, first, second, 3 * first, QtGui.QImage.Format_RGB888)
        cell = min((self.width() - 2 * MARGIN) / first, (self.height() - 2 * MARGIN) / second)
        area = QtCore.QRectF(MARGIN, MARGIN, cell * first, cell * second)
        painter = QtGui.QPainter(self)
        painter.drawImage(area, image)
        painter.drawText(MARGIN, MARGIN - 10, f"SNR seen in each beam: {best - RANGE_DB:.0f} (black) to {best:.0f} dB")
        painter.drawText(MARGIN, self.height() - 8, "first, 0 to the right; second, 0 upwards; grey: never probed")
        if self.beam is not None:
            painter.setPen(QtGui.QPen(QtGui.QColor("cyan"), 2))
            wide_first, wide_second = min(self.beam.first_width, first), min(self.beam.second_width, second)
            left = 0 if wide_first == first else self.beam.first - wide_first // 2
            top = second if wide_second == second else self.beam.second - wide_second // 2 + wide_second
            painter.drawRect(
                QtCore.QRectF(
                    MARGIN + cell * left, MARGIN + cell * (second - top), cell * wide_first, cell * wide_second
                )
            )
        painter.end()


def colours(snr_db: NDArray[np.floating], best: float) -> NDArray[np.uint8]:
    """Red, green and blue, (..., 3)."""
    places = np.clip(np.nan_to_num((snr_db - best) / RANGE_DB + 1, neginf=0), 0, 1)
    steps = np.linspace(0, 1, len(COLOURS))
    parts = [np.interp(places, steps, [colour[part] for colour in COLOURS]) for part in range(3)]
    painted = np.where(np.isnan(snr_db)[..., None], NEVER, np.stack(parts, -1))
    return np.rint(255 * painted).astype(np.uint8)
