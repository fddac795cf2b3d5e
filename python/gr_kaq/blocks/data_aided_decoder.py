# SPDX-License-Identifier: GPL-3.0-or-later
"""A decoder that has frames estimated again with their own data where that pays: where the CRC is wrong."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..detection.detectors import load_detector
from ..estimation.data_aided import DataAidedDecoder
from ..frames.frame_format import SYMBOL_COUNTS
from ..signals.csi import InvalidCsi
from .access import _gnuradio
from .base import MAX_ANTENNAS, check_integer, ports
from .counters import add_getters, counter, reading
from .csi_pmt import CSI_KEY, parse_channel
from .frame_decoder import DecoderCounters, frame_decoder

__all__ = ["MAX_PASSES", "data_aided_decoder"]

MAX_PASSES = 8
STATISTICS = ("delay_spread", "doppler")  # of a tag `frame`


@dataclass
class DataAidedCounters(DecoderCounters):
    """What a `data_aided_decoder` counts."""

    refined_frames: int = counter("frames", "Frames that were estimated again, as their CRC was wrong.")
    rescued_frames: int = counter("frames", "Those of them whose CRC was right then: they are no block errors.")
    frames_without_csi: int = counter(
        "frames", "Frames that were not, as the tags `frame` and `mimo_channel` do not say what they have to."
    )
    rejected_messages: int = counter("messages", "Messages on port `model` that were refused.")


class data_aided_decoder(frame_decoder):
    """A `frame_decoder` that estimates the channel of a frame again from its data, if its CRC is wrong.

    The symbols of the code word that was decoded are as good as training where they are right, and most are. So the
    frame is detected and decoded again with the channel that follows from them, see `gr_kaq.estimation.data_aided`.

    Inputs: num_tx float ports with LLRs, as those of a `frame_decoder`. Then num_rx complex ports, what the detector
    got: an item is a frame, a vector of data_per_stream values, as a `channel_estimator` gives them.

    Tags, on input 0, where a `detector` puts them: `frame` (dict), what is known of the frame, of which `delay_spread`
    and `doppler` are needed; and `mimo_channel` with `noise_var`, its channel.

    Messages:
        model (in): name of a detector or path of a model file, as for `set_model`.
        pdus, stats (out): as those of a `frame_decoder`.

    Args:
        num_rx: antennas.
        num_tx, fft_size, constellation, num_symbols, stats_interval_s: as for `frame_decoder`.
        detector: name or path of a detector, as for `gr_kaq.detector`.
        passes: how often a frame is estimated again at most, 1 to 8.

    Raises:
        ValueError: an argument is out of range, or a model does not exist or does not fit.
    """

    counters: DataAidedCounters
    counters_type = DataAidedCounters

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "16qam",
        *,
        detector: str | Path = "auto",
        passes: int = 2,
        num_symbols: int = SYMBOL_COUNTS[0],
        stats_interval_s: float = 1.0,
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        self._passes = check_integer("passes", passes, 1, MAX_PASSES)
        super().__init__(num_tx, fft_size, constellation, num_symbols=num_symbols, stats_interval_s=stats_interval_s)
        self._shape = self.frame_format.data_per_stream, num_rx, self.frame_format.num_tx
        self._csi_key = pmt.intern(CSI_KEY)
        self._lock = threading.Lock()  # set_model is called from other threads
        self.set_model(detector)
        self.message_port_register_in(pmt.intern("model"))
        self.set_msg_handler(pmt.intern("model"), self.handle_model)

    def _antenna_ports(self) -> list[Any]:
        return ports(np.complex64, self.frame_format.data_per_stream, self._num_rx)

    def _decode(self, input_items: list[NDArray], metadata: dict[int, Any]) -> list[bytes | None]:
        payloads = super()._decode(input_items[: self.frame_format.num_tx], metadata)
        if None not in payloads:
            return payloads
        channels = {item: value for item, _, value in self.pass_tags(len(payloads), (), [self._csi_key])}
        for item, payload in enumerate(payloads):
            if payload is None:
                try:
                    payloads[item] = self._decode_again(input_items, item, metadata.get(item), channels.get(item))
                except Exception as error:  # one frame does not spoil the others
                    self.failed(error)
        return payloads

    def _decode_again(self, input_items: list[NDArray], item: int, frame_tag: Any, csi_tag: Any) -> bytes | None:
        frame = self.frame_format
        try:
            channel = parse_channel(csi_tag, self._shape)
            if not isinstance(channel.noise_var, float):
                raise InvalidCsi("no noise_var", "`mimo_channel` has no `noise_var`, or one for each subcarrier")
            delay_spread, doppler = _statistics(frame_tag)
        except InvalidCsi as error:
            self.counters.frames_without_csi += 1
            self.warn_once("csi", f"a frame is not estimated again: {error}", error.kind)
            return None
        llrs = np.stack([stream[item] for stream in input_items[: frame.num_tx]])
        llrs = llrs.reshape(frame.num_tx, frame.data_per_stream, -1).swapaxes(0, 1)
        with self._lock:
            payload = self._decoder.decode(
                llrs=frame.collect_llrs(llrs),
                received=np.stack([antenna[item] for antenna in input_items[frame.num_tx :]], axis=1),
                h=channel.h,
                noise_var=channel.noise_var,
                delay_spread=delay_spread,
                doppler=doppler,
            )
        self.counters.refined_frames += 1
        self.counters.rescued_frames += payload is not None
        return payload

    def set_model(self, model: str | Path) -> None:
        """Replace the detector, also while the flowgraph runs.

        Raises:
            ValueError: it cannot be loaded or does not fit; the old one stays.
        """
        if not isinstance(model, str | Path):
            raise ValueError(f"model is a {type(model).__name__}; a name or path expected")
        detector = load_detector(model, constellation=self.frame_format.constellation_name)
        detector.at_size(*self._shape[1:])
        decoder = DataAidedDecoder(self.frame_format, detector, self._passes)
        with self._lock:
            self._decoder, self._model = decoder, detector.name

    def handle_model(self, message: Any) -> None:
        """A message on port `model`."""
        if not self.take_name("model", message, self.set_model, self.model_name):
            self.counters.rejected_messages += 1

    @reading("name")
    def model_name(self) -> str:
        """Name of the model in use, as it was asked for."""
        return self._model


def _statistics(frame_tag: Any) -> tuple[float, float]:
    """Delay spread and Doppler of a tag `frame`.

    Raises:
        InvalidCsi: it does not say them.
    """
    try:
        entries = _gnuradio.plain_entries(frame_tag, STATISTICS)
        delay_spread, doppler = (float(entries[key]) for key in STATISTICS)
        if not (math.isfinite(delay_spread) and math.isfinite(doppler)):
            raise ValueError("not finite")
    except Exception:  # whatever a tag may hold
        raise InvalidCsi("statistics", "its tag `frame` has no `delay_spread` and `doppler`") from None
    return delay_spread, doppler


add_getters(data_aided_decoder, DataAidedCounters)
