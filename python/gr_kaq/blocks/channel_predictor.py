# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts forecasts of the channel between its estimates, where a detector takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..forecasting.carriers import MODES
from ..forecasting.channel_follower import LEAST, ChannelFollower
from ..signals.csi import ChannelEstimate, CsiState, InvalidCsi
from .access import _gnuradio
from .base import MAX_ANTENNAS, MAX_SUBCARRIERS, KaqBlock, check_integer, ports
from .counters import Counters, counter
from .csi_pmt import (
    COVARIANCE_ENTRY,
    CSI_KEY,
    H_ENTRY,
    NOISE_ENTRY,
    SEQ_ENTRY,
    SHAPE_ENTRY,
    SNR_KEY,
    check_keys,
    estimate_reader,
    parse_update,
)

__all__ = ["channel_predictor"]

MAX_HISTORY = 256
MAX_FORECASTS = 1024  # of an estimate
MAX_WEIGHTS = 1 << 22  # of all forecasts of an estimate, and each of its history
FORECAST, EXPECTED = [H_ENTRY, NOISE_ENTRY], [pmt.intern("horizon"), pmt.intern("error_var")]
MESSAGE_PORT = pmt.intern("csi_forecast")


@dataclass
class PredictorCounters(Counters):
    """What a `channel_predictor` counts."""

    estimates: int = counter("estimates", "Valid channel estimates received on tags.")
    rejected_csi: int = counter("estimates", "Channel and SNR estimates received on tags that were malformed.")
    forecasts: int = counter("forecasts", "Forecasts put on tags.")
    restarts: int = counter(
        "estimates",
        "Estimates that do not follow those before, as a gain jumped, or an antenna or a stream came or went. What was "
        "before is dropped.",
    )
    estimates_without_forecast: int = counter(
        "estimates", "Estimates that gave no forecast: too few before, noise unknown, or nothing gets through."
    )


class channel_predictor(KaqBlock[PredictorCounters]):
    """Forecasts a channel from its estimates, and puts the forecasts between them, as tags of the same kind.

    To go in front of input 0 of a `detector`. An estimate on a tag is in force until the next one; where the channel
    changes meanwhile, it ages. With this block, the detector gets a forecast every `spacing` items after an estimate,
    as far as `reach` items. What a forecast is expected to err by is added to the variance or the covariance of the
    noise, so LLRs stay honest.

    Estimates have to be in one phase and timing (docs/guide/forecasting.md): those of a testbed, or of a transmitter
    and receiver that share oscillators. Time is counted in items.

    Input and output: one complex port; an item is a vector of num_subcarriers samples, which pass.

    Tags: `mimo_channel` and `snr`, as `detector` reads them (docs/guide/csi-contract.md). All are passed on.

    Messages:
        csi_forecast (out): for each forecast, the value of its `mimo_channel` tag, with `horizon` (items after the
            estimate) and `error_var` (mean squared error of an entry of h that is expected). No block of this module
            takes it: `link_decoder` forecasts for a `link_adapter`.
        stats (out): dict with the value of every counter, about every stats_interval_s while items flow, and at the
            end.

    Args:
        num_rx, num_tx, num_subcarriers: as the detector's.
        spacing: items from one forecast to the next.
        reach: items after an estimate, up to which there are forecasts; at least spacing.
        history: estimates that a forecast is made of, 4 to 256.
        csi_key, snr_key: names of the two tags.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        num_subcarriers: int = 1,
        *,
        spacing: int = 1,
        reach: int = 16,
        history: int = 32,
        csi_key: str = CSI_KEY,
        snr_key: str = SNR_KEY,
        stats_interval_s: float = 1.0,
    ):
        self._shape = (
            check_integer("num_subcarriers", num_subcarriers, 1, MAX_SUBCARRIERS),
            check_integer("num_rx", num_rx, 1, MAX_ANTENNAS),
            check_integer("num_tx", num_tx, 1, MAX_ANTENNAS),
        )
        spacing = check_integer("spacing", spacing, 1, 2**31)
        reach = check_integer("reach", reach, spacing, min(spacing * MAX_FORECASTS, 2**31))
        self._history = check_integer("history", history, LEAST, MAX_HISTORY)
        count = reach // spacing
        weights = min(MODES, num_subcarriers) * num_rx * num_tx * count * self._history
        if weights > MAX_WEIGHTS:
            raise ValueError(
                f"{count} forecasts from {self._history} estimates of {num_rx} x {num_tx} channels have {weights} "
                f"weights; at most {MAX_WEIGHTS} expected: a larger spacing, or less reach or history"
            )
        check_keys(csi_key, snr_key)
        super().__init__(
            "KAQ channel predictor",
            ports(np.complex64, num_subcarriers, 1),
            ports(np.complex64, num_subcarriers, 1),
        )
        self.enlarge_buffers()
        self._ahead = range(spacing, reach + 1, spacing)
        self._horizons = [pmt.from_long(horizon) for horizon in self._ahead]
        self._form = pmt.dict_add(pmt.make_dict(), SHAPE_ENTRY, pmt.to_pmt(self._shape))
        self._reader = estimate_reader(self._shape)
        self._tag_keys = [pmt.intern(csi_key), pmt.intern(snr_key)]
        self.message_port_register_out(MESSAGE_PORT)
        self.announce_stats(stats_interval_s)
        self.begin()

    def begin(self) -> None:
        """Called when the flowgraph starts: no estimate is known."""
        self._csi = CsiState(self._shape)
        self._follower = ChannelFollower(self._ahead, self._history)
        self._coming: list[Any] = []  # the newest estimate's forecasts that are not on tags yet
        self._next_item = 0  # of the first of them

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Pass the items; forecasts begin at the estimate and end where the next one is."""
        num_items = len(output_items[0])
        output_items[0][:] = input_items[0][:num_items]
        first = self.nitems_read(0)
        arrivals: dict[int, list[tuple[int, Any]]] = {}
        for item, kind, value in self.pass_tags(num_items, (0,), self._tag_keys, self._reader):
            arrivals.setdefault(item, []).append((kind, value))
        for item, tags in sorted(arrivals.items()):
            self._take(tags, first + item)
        self._release(first + num_items)
        self.publish_stats()
        return num_items

    def _take(self, tags: list[tuple[int, Any]], item: int) -> None:
        estimate, snr_db = parse_update(tags, self._shape, self._reject)
        self._csi.update(estimate, snr_db)
        if estimate is None:
            return
        self._release(item)
        self._coming = []
        self.counters.estimates += 1
        try:
            self._forecast(estimate, item)
        except Exception as error:  # the estimate stays in force
            self.counters.estimates_without_forecast += 1
            self.failed(error)

    def _reject(self, error: InvalidCsi) -> None:
        self.counters.rejected_csi += 1
        self.warn_once("estimate", f"estimate rejected: {error}", error.kind)

    def _forecast(self, estimate: ChannelEstimate, item: int) -> None:
        noise_var, num_rx, num_tx = self._csi.noise_var, *self._shape[1:]
        found, restarts = None, self._follower.restarts
        if math.isfinite(noise_var):
            found = self._follower.take(float(item), estimate.h, noise_var / num_tx)
            if self._follower.restarts > restarts:
                self.counters.restarts += 1
                fault = self._follower.fault
                about = fault.partition(" by ")[0]
                self.warn_once("restart", f"forecasts begin anew at the estimate of item {item}: {fault}", about)
        if found is None:
            self.counters.estimates_without_forecast += 1
            return
        same = self._form if estimate.seq is None else _gnuradio.extend_dict(self._form, [SEQ_ENTRY], [estimate.seq])
        noise_cov = self._csi.given.get("noise_cov")
        is_heard = not pmt.is_null(self.message_subscribers(MESSAGE_PORT))
        self._next_item = item + self._ahead[0]
        for horizon, h, error_var in zip(self._horizons, found.h, found.error_var.tolist(), strict=True):
            more = num_tx * error_var
            value = _gnuradio.extend_dict(same, FORECAST, [_gnuradio.numpy_to_c32vector(h), noise_var + more])
            if noise_cov is not None:
                grown = noise_cov + more * np.eye(num_rx, dtype=np.complex64)
                value = pmt.dict_add(value, COVARIANCE_ENTRY, _gnuradio.numpy_to_c32vector(grown))
            self._coming.append(value)
            if is_heard:
                self.message_port_pub(MESSAGE_PORT, _gnuradio.extend_dict(value, EXPECTED, [horizon, error_var]))

    def _release(self, before: int) -> None:
        """Put the forecasts for items before this one on tags."""
        spacing = self._ahead.step
        due = self._coming[: max(0, -(-(before - self._next_item) // spacing))]
        if due:
            _gnuradio.add_tags(self.gateway, self._next_item, self._tag_keys[0], due, spacing)
            self._next_item += spacing * len(due)
            del self._coming[: len(due)]
            self.counters.forecasts += len(due)
