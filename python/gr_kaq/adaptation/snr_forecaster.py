# SPDX-License-Identifier: GPL-3.0-or-later
"""Effective SNRs of frames that are to come, from the channels of those before.

What a sender hears of a frame is old when it is used. A receiver knows how its channel moves, and can say what it will
be by then: the channel is forecast (`gr_kaq.forecasting`), what is not known of it is drawn, as otherwise there were
less power in it, and it is rehearsed as one that is there. Later, when that frame comes, the receiver sees what its
guess was worth, and from then on reports as much of it as is to be believed.

Frames are found at whole samples, and turn by as much from one to the next as the carrier offset has them turn. Both
are taken away: a delay of whole samples between a frame and the one before, and the mean turn of the newest frames.
Nothing more is, as a forecast lives on how phases change. So oscillators have to be steady over the history, some 30
frames.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ..forecasting.channel_follower import ChannelFollower
from .link_receiver import LinkReceiver
from .regression import Regression

__all__ = ["SnrForecaster"]

CARRIERS = 64  # that are forecast, at most; the others have what their neighbours have
TURNS = 256  # frames whose mean turn is taken away
GAPS = 16  # frames, of which the two nearest say how far apart frames are
LEAST_ERROR = 0.1  # of an entry of a channel estimate, over the noise of one stream: training is smoothed


class SnrForecaster:
    """Forecasts effective SNRs.

    Args:
        receiver: rehearses.
        horizon: frames ahead, at least 1.

    Raises:
        ValueError: the horizon is out of range.
    """

    def __init__(self, receiver: LinkReceiver, horizon: int):
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; at least 1 frame expected")
        self.horizon = horizon
        self._receiver = receiver
        frame = receiver.frame_format
        middle = len(frame.data_symbols) // 2
        step = -(-frame.num_data // CARRIERS)
        chosen = np.arange(step // 2, frame.num_data, step)
        self._seen = middle * frame.num_data + chosen
        self._carriers = frame.active_carriers[frame.data_indices[middle, chosen]]
        self._sample = 2 * np.pi / frame.fft_size  # phase from carrier to carrier of a delay of one
        steps = np.diff(self._carriers)
        self._even = np.flatnonzero(steps == steps.min())
        places = frame.active_carriers[frame.data_indices.reshape(-1)]
        self._nearest = np.rint(np.interp(places, self._carriers, np.arange(len(chosen)))).astype(np.intp)
        parts = np.random.default_rng(1).standard_normal((2, len(chosen), receiver.num_rx, frame.num_tx))
        self._unknown = ((parts[0] + 1j * parts[1]) / 2**0.5).astype(np.complex64)
        self._worth = Regression(frame.num_tx)
        self._begin()

    def _begin(self) -> None:
        """Nothing is known of the channel."""
        self._follower = ChannelFollower([self.horizon])  # its time counts frames
        self._frame = 0
        self._time: float | None = None  # of the last frame
        self._gaps: deque[float] = deque(maxlen=GAPS)  # from frame to frame
        self._last: NDArray[np.complex64] | None = None  # its channel, in the timing of those before
        self._turn, self._turns, self._phase = 0j, 0, 0.0
        self._guesses: deque[tuple[int, NDArray[np.float64]]] = deque(maxlen=2 * self.horizon)  # by frame

    def take(
        self, time: float, h: NDArray[np.complex64], noise_var: float, snrs_db: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Take the next frame; effective SNRs in dB `horizon` frames later, (num_tx,).

        Frames are as far apart as the nearest of the newest are.

        Args:
            time: of the frame, in any unit.
            h: its channels, complex64 (data_per_stream, num_rx, num_tx), as for `LinkReceiver.receive`.
            noise_var: of each antenna.
            snrs_db: effective SNRs that it has itself, (num_tx,): what is expected as long as nothing can be forecast.
        """
        if self._time is not None and time <= self._time:
            self._begin()
        steps = 1
        if self._time is not None:
            self._gaps.append(time - self._time)
            steps = round(self._gaps[-1] / min(self._gaps))
        self._time, self._frame = time, self._frame + steps
        self._learn(snrs_db)
        least = LEAST_ERROR * noise_var / h.shape[2]
        forecast = self._follower.take(self._frame, self._aligned(h[self._seen], steps), least)
        if forecast is None:
            return snrs_db
        coming = forecast.h[0] + np.float32(forecast.error_var[0] ** 0.5) * self._unknown
        guess = self._receiver.report(coming[self._nearest], noise_var).effective_snrs_db
        self._guesses.append((self._frame + self.horizon, guess))
        return self._worth.predict(guess)

    def _learn(self, snrs_db: NDArray[np.float64]) -> None:
        """See what was guessed of the frame that is there now."""
        while self._guesses and self._guesses[0][0] <= self._frame:
            due, guess = self._guesses.popleft()
            if due == self._frame:
                self._worth.observe(guess, snrs_db)

    def _aligned(self, seen: NDArray[np.complex64], steps: int) -> NDArray[np.complex64]:
        """A channel (carriers, num_rx, num_tx), some frames after the last one, in phase and timing of those before."""
        if self._last is not None:
            products = np.sum(self._last.conj() * seen, axis=(1, 2))
            slopes = products[self._even + 1] * products[self._even].conj()
            width = self._carriers[self._even[0] + 1] - self._carriers[self._even[0]]
            delay = np.rint(np.angle(np.sum(slopes)) / (width * self._sample))
            ramp = np.exp(-1j * delay * self._sample * self._carriers)
            seen = (seen * ramp[:, None, None]).astype(np.complex64)
            if steps == 1:
                turn = np.sum(products * ramp) / max(float(np.sum(np.abs(products))), 1e-30)
                self._turns = min(self._turns + 1, TURNS)
                self._turn += (turn - self._turn) / self._turns
            self._phase += float(np.angle(self._turn)) * steps
        self._last = seen
        return (seen * np.exp(-1j * self._phase)).astype(np.complex64)
