# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of forecasts: errors over horizon and Doppler, and what was clustered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters import Clusters
from .series import Series

__all__ = ["plot_clusters", "plot_errors"]

FFT_SIZE = 256
RANGE_DB = 45.0


def plot_errors(
    figure: Any,
    horizons: NDArray[np.float64],
    curves: Mapping[str, NDArray[np.float64]],
    over_doppler: tuple[Sequence[float], Mapping[str, Sequence[float]]] | None,
    title: str,
    path: Path,
) -> None:
    """Write a picture of NMSE over the horizon and, where it was measured, over the Doppler at the first horizon.

    Args:
        figure: an empty one of matplotlib.
        horizons: in ms, (H,).
        curves: of each method, in dB: (H,), or (3, H) with the ends of an interval. Of `bound`, a thick grey line.
        over_doppler: Dopplers in Hz, and for each method its NMSE in dB.
        title: of the picture.
        path: of the file.
    """
    panels = np.atleast_1d(figure.subplots(1, 2 if over_doppler else 1))
    _draw(panels[0], horizons, curves)
    panels[0].set(xlabel="horizon [ms]", ylabel="NMSE [dB]", title=title, ylim=_limits(curves.values()))
    if over_doppler:
        dopplers, errors = over_doppler
        _draw(panels[1], np.asarray(dopplers), {name: np.asarray(values) for name, values in errors.items()})
        panels[1].set(xlabel="Doppler of all streams [Hz]", title=f"{horizons[0]:.2f} ms ahead")
        panels[1].set(xscale="log", ylim=_limits(np.asarray(x) for x in errors.values()))
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _draw(axes: Any, places: NDArray[np.float64], curves: Mapping[str, NDArray[np.float64]]) -> None:
    for name, curve in curves.items():
        middle = curve[0] if curve.ndim == 2 else curve
        if name == "bound":
            axes.plot(places, middle, color="0.6", linewidth=5, alpha=0.6, label="bound (analytic)", zorder=0)
            continue
        (line,) = axes.plot(places, middle, ".-", label=name)
        if curve.ndim == 2:
            axes.fill_between(places, curve[1], curve[2], color=line.get_color(), alpha=0.15, linewidth=0)
    axes.grid(True, alpha=0.3)


def _limits(curves: Any) -> tuple[float, float]:
    """Of the axis: what errs more than nothing at all is off the picture."""
    least = min(float(np.min(curve)) for curve in curves)
    return least - 2, 5.0


def plot_clusters(
    figure: Any, series: Series, clusters: Clusters, shape: tuple[int, int, int], title: str, path: Path
) -> None:
    """Write a picture of the cluster of each series, beside the delay-Doppler spectrum of each stream.

    Args:
        figure: an empty one of matplotlib.
        series: of one window, all at regular times.
        clusters: of these series.
        shape: taps, antennas and streams of the series.
        title: of the picture.
        path: of the file.
    """
    num_taps, num_rx, num_tx = shape
    grid = figure.add_gridspec(num_tx + 1, 2, width_ratios=[1, 2], height_ratios=[*[1] * num_tx, 0.25])
    figure.suptitle(title)
    colors = figure_colors(len(clusters.fadings))
    members = clusters.memberships.reshape(num_taps, num_rx, num_tx, -1)
    powers = series.powers.reshape(shape)
    # how a series stands out of the noise is how much of its cluster's colour it has
    shown = np.clip(powers / series.noise_var.reshape(shape), 0, 10) / 10
    step = float(np.median(np.diff(series.times)))
    window = np.hanning(len(series.times) + 2)[1:-1]
    spectra = np.abs(np.fft.fftshift(np.fft.fft(series.filled * window, FFT_SIZE, axis=1), axes=1)) ** 2
    spectra = spectra.reshape(num_taps, num_rx, num_tx, FFT_SIZE).mean(axis=1)
    for stream in range(num_tx):
        left, right = figure.add_subplot(grid[stream, 0]), figure.add_subplot(grid[stream, 1])
        colored = members[:, :, stream] @ colors
        image = 1 - (1 - colored) * (0.15 + 0.85 * shown[:, :, stream, None])
        left.imshow(image, aspect="auto", origin="lower", interpolation="nearest")
        left.set(xticks=range(num_rx), ylabel=f"stream {stream}: tap")
        decibels = 10 * np.log10(np.maximum(spectra[:, stream], 1e-30))
        right.imshow(
            decibels,
            aspect="auto",
            origin="lower",
            extent=(-0.5 / step, 0.5 / step, -0.5, num_taps - 0.5),
            vmin=decibels.max() - RANGE_DB,
            interpolation="nearest",
        )
        if stream == num_tx - 1:
            left.set_xlabel("antenna")
            right.set_xlabel("Doppler [Hz]")
    below = figure.add_subplot(grid[num_tx, :])
    below.axis("off")
    for color, fading in zip(colors, clusters.fadings, strict=True):
        text = f"{fading.doppler:.3g} Hz"
        if fading.line:
            text += f", line at {fading.shift:.3g} Hz, Rice factor {fading.rice_db:.1f} dB"
        below.scatter([], [], marker="s", color=[color], label=text)
    below.legend(loc="center", ncols=2, fontsize=8)
    figure.savefig(path, dpi=120)


def figure_colors(count: int) -> NDArray[np.float64]:
    """RGB of so many clusters, (count, 3)."""
    known = ["0072b2", "d55e00", "009e73", "cc79a7", "e69f00", "56b4e9", "7f7f00", "444444"]
    return np.array([[int(name[i : i + 2], 16) / 255 for i in (0, 2, 4)] for name in known[:count]])
