# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of a frame: its constellations, its channel, and the noise on its carriers."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames.frame_format import FrameFormat
from .frame_reading import ReceivedFrame
from .linear_symbols import linear_symbols

__all__ = ["plot_frame"]


def plot_frame(figure: Any, frame_format: FrameFormat, frame: ReceivedFrame, title: str, path: Path) -> None:
    """Write the picture.

    Args:
        figure: an empty one of matplotlib.
        frame_format: of the frame.
        frame: that was read.
        title: of the picture.
        path: of the file.
    """
    num_tx = frame_format.num_tx
    rows = figure.subfigures(2, 1)
    symbols = linear_symbols(frame.data)[0].reshape(-1, num_tx)
    points = frame_format.constellation.points
    limit = 1.6 * float(np.abs(points.view(np.float32)).max())
    for stream, axes in enumerate(np.atleast_1d(rows[0].subplots(1, num_tx, sharey=True))):
        values = symbols[:, stream]
        axes.plot(values.real, values.imag, ".", markersize=2, alpha=0.5)
        axes.plot(points.real, points.imag, "k+", markersize=5)
        power = frame.reading.stream_power_db[stream]
        axes.set(title=f"stream {stream}, {power:+.1f} dB", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    channel, noise = rows[1].subplots(1, 2)
    carriers = frame_format.active_carriers
    h = frame.estimate.h[frame_format.num_symbols // 2]
    for antenna in range(h.shape[1]):
        for stream in range(num_tx):
            channel.plot(carriers, _db(np.abs(h[:, antenna, stream]) ** 2), label=f"{antenna}, {stream}")
        noise.plot(carriers, _db(_rest(frame_format, frame)[:, antenna]), label=f"antenna {antenna}")
        noise.axhline(_db(frame.estimate.noise_var[antenna]), linestyle=":", color=f"C{antenna}")
    channel.set(title="channel: antenna, stream", xlabel="carrier", ylabel="dB")
    noise.set(title="noise when training; dotted: estimate", xlabel="carrier")
    for axes in (channel, noise):
        axes.grid(True, alpha=0.3)
        if h.shape[1] * num_tx <= 8:
            axes.legend(fontsize="x-small")
    figure.suptitle(textwrap.fill(title, 90), fontsize="medium")
    figure.savefig(path, dpi=100)


def _rest(frame_format: FrameFormat, frame: ReceivedFrame) -> NDArray[np.float64]:
    """Power on each carrier that the estimate does not explain, mean of the training symbols: (num_active, num_rx)."""
    symbols = np.array(frame_format.training_symbols)
    sent = frame_format.known_grid[symbols].swapaxes(1, 2)[..., None]  # (3, num_active, num_tx, 1)
    turns = np.exp(1j * frame.estimate.phase[symbols])[:, None, None]
    expected = (frame.estimate.h[symbols] @ sent)[..., 0] * turns
    return np.mean(np.abs(frame.grid[symbols].swapaxes(1, 2) - expected) ** 2, axis=0)


def _db(power: Any) -> Any:
    return 10 * np.log10(np.maximum(power, 1e-20))
