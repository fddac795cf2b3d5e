# SPDX-License-Identifier: GPL-3.0-or-later
"""What linear receivers are known to do, which the probe has to find again.

A linear estimator A turns a perturbation of the training symbols with covariance S_b into the mean squared error
tr(A S_b A^H). Linear MMSE detection turns noise of power p along the k-th left singular vector, with the singular value
s, into the error p s^2 / (s^2 + noise_var)^2 of the symbols.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..estimation.interpolation import Interpolator
from ..frames.frame_format import DATA_SYMBOLS, TRAINING_SYMBOLS, FrameFormat
from .axes import Delay
from .probed_link import Link, ReceivedFrame, Receiver, centre

__all__ = ["delay_responses", "measured_response", "space_responses"]

TRAINING, DATA = np.array(TRAINING_SYMBOLS), np.array(DATA_SYMBOLS)


def delay_responses(axis: Delay, interpolator: Interpolator, frames: list[ReceivedFrame]) -> NDArray[np.float64]:
    """tr(A S_b A^H) of each band, for S_b of power 1, as a mean over data symbols, carriers and frames.

    A is what a linear interpolator does with the statistics of each frame.
    """
    frame_format = axis.link.frame_format
    found = np.zeros(len(axis.edges))
    for frame in frames:
        turn = _from_start(frame_format, frame) / centre(frame_format, frame.observation)
        for band, factor in enumerate(axis.factors):
            for symbol, places in enumerate(frame_format.training_indices):
                training = np.zeros(
                    (len(TRAINING), factor.shape[1], *places.shape), np.complex64
                )  # the columns of the factor as antennas
                columns = factor[places] * turn[TRAINING[symbol], places, None]
                training[symbol] = columns.transpose(2, 0, 1)
                h = interpolator(replace(frame.observation, training=training))[DATA]
                found[band] += np.sum(np.abs(h) ** 2) / (h.shape[0] * h.shape[1] * h.shape[3])
    return found / len(frames) / axis.shares


def _from_start(frame_format: FrameFormat, frame: ReceivedFrame) -> NDArray[np.complex128]:
    """How the frame's true start looks where the synchronizer has it begin, (num_active,)."""
    late = frame.start - frame.found[0]
    return np.exp(-2j * np.pi * late / frame_format.fft_size * frame_format.active_carriers)


def measured_response(
    receiver: Receiver,
    frame: ReceivedFrame,
    clean: tuple[NDArray[np.complex64], NDArray[np.complex64]],
    perturbed: tuple[NDArray[np.complex64], NDArray[np.complex64]],
) -> float:
    """By how much the estimate moves: the mean of |h_perturbed - h_clean|^2 over data symbols, carriers and pairs."""

    def channel(grid: NDArray[np.complex64], guards: NDArray[np.complex64]) -> NDArray[np.complex128]:
        estimate = receiver.estimate(frame, grid, guards)
        turns = np.exp(2j * np.pi * estimate.carrier_offset * DATA)
        return estimate.h[DATA] * turns[:, None, None, None]

    return float(np.mean(np.abs(channel(*perturbed) - channel(*clean)) ** 2))


def space_responses(link: Link, frames: list[ReceivedFrame]) -> NDArray[np.float64]:
    """Squared error of LMMSE's symbols for noise of power 1 along each left singular vector, a mean over all."""
    found = np.zeros(link.num_rx)
    for frame in frames:
        values = np.linalg.svd(frame.channel, compute_uv=False) ** 2
        found[: values.shape[-1]] += np.mean(values / (values + link.noise_var) ** 2, axis=(0, 1))
    return found / len(frames)
