# SPDX-License-Identifier: GPL-3.0-or-later
"""What sends received samples and their channel estimates to a flowgraph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zmq
from numpy.typing import ArrayLike

from ..signals.csi import ChannelEstimate, check_snr
from .endpoint import MAX_REQUEST_BYTES, Endpoint, positive, socket_type
from .zmq_frames import Tag, Uint64, encode_frame

__all__ = ["PRODUCER_ADDRESS", "Producer"]

PRODUCER_ADDRESS = "tcp://127.0.0.1:5570"


class Producer(Endpoint):
    """Sends received samples with their channel estimates to `zeromq.pull_source` or `sub_source` (pass_tags=True).

    It binds, because GNU Radio's sources connect. Whatever could kill the source at the other end (a wrong size or
    type, an estimate that is not finite) is refused here. Not thread-safe.

    Args:
        num_rx, num_tx: receive antennas and transmitted streams.
        num_subcarriers: channel uses per item, each with its own H.
        address: ZMQ endpoint; ``tcp://127.0.0.1:*`` takes any free port. There is neither authentication nor
            encryption: leave the loopback interface only within a network that you trust.
        pattern: ``"push"`` (every frame reaches one receiver, `send` waits for it) or ``"pub"`` (every frame goes to
            all receivers that are there, and is dropped for those that are too slow).
        high_water_mark: how many frames wait for a receiver before `send` blocks (push) or drops (pub).
        timeout: seconds that `send` and `close` wait at most.

    Attributes:
        address: the endpoint, with the port that was taken.
        num_items: items sent, which is the next item's offset.
        num_estimates: channel estimates sent.

    Raises:
        ValueError: an argument is out of range, or `address` is none.
        OSError: the address is in use.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        num_subcarriers: int = 1,
        *,
        address: str = PRODUCER_ADDRESS,
        pattern: str = "push",
        high_water_mark: int = 16,
        timeout: float = 10.0,
    ):
        self._item_shape = (positive("num_rx", num_rx), positive("num_subcarriers", num_subcarriers))
        self._h_shape = (num_subcarriers, num_rx, positive("num_tx", num_tx))
        self.num_items = 0
        self.num_estimates = 0
        options = {
            zmq.MAXMSGSIZE: MAX_REQUEST_BYTES,
            zmq.SNDHWM: positive("high_water_mark", high_water_mark),  # ZMQ takes 0 for 'no limit'
        }
        super().__init__(socket_type(pattern, push=zmq.PUSH, pub=zmq.PUB), address, True, timeout, options)

    def send(
        self,
        samples: ArrayLike,
        *,
        h: ArrayLike | None = None,
        noise_var: float | ArrayLike | None = None,
        noise_cov: ArrayLike | None = None,
        snr_db: float | None = None,
        seq: int | None = None,
        tags: Sequence[Tag] = (),
    ) -> None:
        """Send one frame of samples; an estimate holds from its first item until the next estimate.

        Args:
            samples: complex (T, num_rx, num_subcarriers), T >= 1; with one subcarrier also (T, num_rx). NaN and Inf
                are left to the detector.
            h: complex (num_subcarriers, num_rx, num_tx); with one subcarrier also (num_rx, num_tx).
            noise_var: noise variance per receive antenna, known together with `h`: one, or (num_subcarriers,).
            noise_cov: covariance of the noise, known together with `h`: (num_subcarriers, num_rx, num_rx), or
                (num_rx, num_rx) for all subcarriers.
            snr_db: mean received signal power over noise power per receive antenna, in dB; needed where no
                `noise_var` and no `noise_cov` is known.
            seq: number of the estimate, 64 bits; by default how many were sent before.
            tags: further tags, with offsets counted from the first item of this frame.

        Raises:
            ValueError: a shape, type or value is not as above. Nothing was sent.
            TimeoutError: no receiver took the frame within `timeout`. Nothing was sent.
        """
        samples = np.asarray(samples)
        if self._item_shape[1] == 1 and samples.ndim == 2:
            samples = samples[:, :, None]
        if samples.ndim != 3 or samples.shape[1:] != self._item_shape or not len(samples):
            raise ValueError(
                f"samples have shape {samples.shape}; (T, {self._item_shape[0]}, {self._item_shape[1]}) expected"
            )
        if not np.iscomplexobj(samples):
            raise ValueError(f"samples are {samples.dtype}; complex expected")
        for tag in tags:
            if not isinstance(tag.key, str) or not 0 <= tag.offset < len(samples):
                raise ValueError(
                    f"a tag has key {tag.key!r} and offset {tag.offset}; a string and an item of the frame expected"
                )
        all_tags = [*self._estimate_tags(h, noise_var, noise_cov, snr_db, seq), *tags]
        absolute = [tag._replace(offset=self.num_items + tag.offset) for tag in all_tags]
        frame = encode_frame(samples.astype(np.complex64).tobytes(), self.num_items, absolute)
        try:
            self._socket.send(frame)
        except zmq.Again:
            raise TimeoutError(f"no receiver at {self.address} took a frame within {self.timeout:g} s") from None
        self.num_items += len(samples)
        self.num_estimates += h is not None

    def _estimate_tags(
        self,
        h: ArrayLike | None,
        noise_var: float | ArrayLike | None,
        noise_cov: ArrayLike | None,
        snr_db: float | None,
        seq: int | None,
    ) -> list[Tag]:
        tags = []
        if h is not None:
            h = np.asarray(h)
            if self._h_shape[0] == 1 and h.ndim == 2:
                h = h[None]
            if not np.iscomplexobj(h):
                raise ValueError(f"h is {h.dtype}; complex expected")
            with np.errstate(over="ignore"):
                h = h.astype(np.complex64)
                covariance = None if noise_cov is None else np.asarray(noise_cov).astype(np.complex64)
            if covariance is not None and covariance.ndim == 2:
                covariance = covariance[None]
            variance = None if noise_var is None else np.asarray(noise_var, np.float64)
            noise = float(variance) if variance is not None and variance.ndim == 0 else variance
            ChannelEstimate(h, noise, noise_cov=covariance).check(self._h_shape)
            estimate: dict[str, Any] = {"h": h.ravel(), "shape": self._h_shape}
            if noise is not None:
                estimate["noise_var"] = noise
            if covariance is not None:
                estimate["noise_cov"] = covariance.ravel()
            estimate["seq"] = Uint64(self.num_estimates if seq is None else seq)
            tags.append(Tag(0, "mimo_channel", estimate))
        elif any(given is not None for given in (noise_var, noise_cov, seq)):
            raise ValueError("noise_var, noise_cov and seq belong to h, which is missing")
        if snr_db is not None:
            tags.append(Tag(0, "snr", check_snr(snr_db)))
        return tags
