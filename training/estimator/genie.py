# SPDX-License-Identifier: GPL-3.0-or-later
"""The LMMSE estimate of a receiver that knows everything but the fading and the noise: what cannot be beaten.

It knows the delay profile, delay spread, Doppler, timing and noise variance of the frame, so for the Gaussian channels
that these describe its estimate is the posterior mean (on a clustered delay line it takes Doppler for that of Jakes,
and antennas for independent):

    h = (T kron W) g,  g ~ CN(0, I):  T T^H the covariance over time, W the taps' waves over the carriers
    y = S h + noise:   g = (B^H B + noise_var I)^-1 B^H y,  B = S (T kron W)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.profiles import delay_line
from gr_kaq.estimation.observation import j0
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS

from .frames import SPACING_HZ, Frame

__all__ = ["genie_lmmse"]

TRAINING = np.array(TRAINING_SYMBOLS)
TOLERANCE = 1e-6  # of the eigenvalues over time, relative to the noise


def genie_lmmse(frame: Frame) -> NDArray[np.complex64]:
    """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
    conditions, observation = frame.conditions, frame.observation
    frame_format = conditions.frame_format
    delays, powers = _taps(conditions.profile)
    delays = (
        1e-9 * conditions.delay_spread_ns * SPACING_HZ * delays
        + frame.shift
        - observation.delay / frame_format.fft_size
    )
    waves = np.exp(-2j * np.pi * np.outer(frame_format.active_carriers, delays)) * np.sqrt(powers)
    noise_var = frame.noise_var / frame_format.comb
    doppler = conditions.doppler_hz * frame_format.symbol_length / frame_format.fft_size / SPACING_HZ
    symbols = np.arange(NUM_SYMBOLS)
    values, vectors = np.linalg.eigh(j0(2 * np.pi * doppler * (symbols[:, None] - symbols)))
    keep = values > TOLERANCE * noise_var
    time = vectors[:, keep] * np.sqrt(values[keep])
    time = time * np.exp(-2j * np.pi * observation.carrier_offset * symbols)[:, None]

    channel = np.empty((NUM_SYMBOLS, len(waves), *observation.training.shape[1:3]), np.complex64)
    for stream in range(frame_format.num_tx):
        places = frame_format.training_indices[:, stream]  # (3, P)
        b = time[TRAINING, None, :, None] * waves[places][:, :, None, :]
        b = b.reshape(places.size, -1)
        y = observation.training[:, :, stream].transpose(0, 2, 1).reshape(places.size, -1)
        b_h = b.conj().T
        g = np.linalg.solve(b_h @ b + noise_var * np.eye(b.shape[1]), b_h @ y)
        modes = np.tensordot(time, g.reshape(time.shape[1], len(delays), -1), 1)  # (14, taps, num_rx)
        channel[..., stream] = waves @ modes
    return channel


@lru_cache
def _taps(profile: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Delays over the RMS delay spread, and powers."""
    line = delay_line(1, 1, profile=profile, delay_spread=1.0)
    return line.delays, line.powers
