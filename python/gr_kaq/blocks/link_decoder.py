# SPDX-License-Identifier: GPL-3.0-or-later
"""The last block of a receiver whose frames have headers: detects and decodes any MCS and rank, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..adaptation.link_receiver import LinkReceiver, Report, pack_report
from ..adaptation.snr_forecaster import SnrForecaster
from ..frames.feedback_frame import feedback_in
from ..frames.frame_format import MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..frames.frame_header import FEEDBACK_PROCESS, InvalidHeader
from ..signals.csi import InvalidCsi
from . import _gnuradio
from .base import MAX_ANTENNAS, KaqBlock, check_integer, dict_of, ports
from .counters import Counters, counter, reading
from .csi_pmt import CSI_KEY, parse_channel
from .header_pmt import header_to_pmt
from .pdu import make_pdu

__all__ = ["link_decoder"]

FRAME = pmt.intern("frame")
MAX_HORIZON = 1024


@dataclass
class LinkDecoderCounters(Counters):
    """What a `link_decoder` counts."""

    frames: int = counter("frames", "Frames whose header was right.")
    feedback_frames: int = counter("frames", "Those of them that carry an acknowledgement of the other direction.")
    repeats: int = counter("frames", "Those of them that were added to earlier ones of the same transport block.")
    block_errors: int = counter("frames", "Those of them whose transport block was wrong, also after adding them up.")
    lost_headers: int = counter("frames", "Frames whose header was wrong.")
    foreign_headers: int = counter("frames", "Frames whose header is of another version, or of more antennas.")
    frames_without_csi: int = counter("frames", "Frames without a tag `mimo_channel` that says what it has to.")


class link_decoder(KaqBlock[LinkDecoderCounters]):
    """Detects and decodes frames that a `frame_transmitter` sends with a header, and adds up those that are repeats.

    It comes right behind a `channel_estimator`: the header of each frame says which constellation, code rate and rank
    follow, and which soft buffer they belong to. See `gr_kaq.adaptation.link_receiver`.

    Inputs: num_rx complex ports; an item is a frame, a vector of data_per_stream values.

    Tags, on input 0: `mimo_channel` (dict) with `noise_var`, the channel of a frame; `frame` (dict), what is known of
    it; of that, forecasts need `sample`.

    Messages:
        pdus (out): one for each frame whose header was right: metadata dict with the entries of `frame` and the fields
            of the header, and u8vector with the transport block, which is empty where it could not be decoded. Not for
            those that carry an acknowledgement.
        acks (out): the acknowledgements, for port `acks` of the `arq_sender` on this side.
        report (out): PDUs with what a `link_adapter` on the other side has to know of the channel, for port `report` of
            an `arq_receiver`: as it is, or as it is expected to be `horizon` frames later.
        stats (out): dict with the value of every counter, about every stats_interval_s while items flow, and at the
            end.

    Args:
        num_rx: antennas.
        num_tx: antennas that send, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        detector: ``"auto"``, ``"auto-fast"``, ``"lmmse"`` or ``"zf"``, for all constellations.
        horizon: frames after which a report is used, about; 0: reports are of the frame itself.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range, or there is no such detector.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        *,
        detector: str = "auto",
        horizon: int = 0,
        num_symbols: int = SYMBOL_COUNTS[0],
        stats_interval_s: float = 1.0,
    ):
        num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        num_tx = check_integer("num_tx", num_tx, 1, MAX_STREAMS)
        frame = self.frame_format = FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
        self._receiver = LinkReceiver(frame, num_rx, detector)
        horizon = check_integer("horizon", horizon, 0, MAX_HORIZON)
        self._forecaster = SnrForecaster(self._receiver, horizon) if horizon else None
        self._shape = frame.data_per_stream, num_rx, num_tx
        super().__init__("KAQ link decoder", ports(np.complex64, frame.data_per_stream, num_rx), [])
        self._keys = [pmt.intern(CSI_KEY), FRAME]
        self._last: tuple[int, int] | None = None
        self._snrs: list[float] = []
        for port in ("pdus", "acks", "report"):
            self.message_port_register_out(pmt.intern(port))
        self.announce_stats(stats_interval_s)

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Decode the frames that are there."""
        num_items = len(input_items[0])
        tags: list[dict[int, Any]] = [{}, {}]
        for item, key, value in self.pass_tags(num_items, (), self._keys):
            tags[key][item] = value
        for item in range(num_items):
            try:
                received = np.stack([antenna[item] for antenna in input_items], axis=1)
                self._decode(received, tags[0].get(item), tags[1].get(item))
            except Exception as error:  # one frame does not spoil the others
                self.failed(error)
        self.publish_stats()
        return num_items

    def _decode(self, received: NDArray[np.complex64], csi_tag: Any, frame_tag: Any) -> None:
        try:
            channel = parse_channel(csi_tag, self._shape)
            if not isinstance(channel.noise_var, float) or not channel.noise_var > 0:
                raise InvalidCsi("no noise_var", "`mimo_channel` has no `noise_var` above 0, or one for each carrier")
            frame = self._receiver.receive(np.nan_to_num(received), channel.h, channel.noise_var)
        except InvalidCsi as error:
            self.counters.frames_without_csi += 1
            self.warn_once("csi", f"a frame is not decoded: {error}", error.kind)
            return
        except InvalidHeader as error:
            if error.kind == "crc":
                self.counters.lost_headers += 1
            else:
                self._foreign(error)
            return
        except ValueError as error:  # its rank
            self._foreign(error)
            return
        self.counters.frames += 1
        self.counters.repeats += frame.copies > 1
        self.counters.block_errors += frame.block is None
        self._last = frame.header.mcs, frame.header.rank
        self._snrs = frame.report.effective_snrs_db.tolist()
        expected = self._expected(channel.h, channel.noise_var, frame.report, frame_tag)
        self.message_port_pub(pmt.intern("report"), make_pdu(pack_report(expected)))
        if frame.header.process == FEEDBACK_PROCESS:
            self.counters.feedback_frames += 1
            feedback = feedback_in(frame.header, frame.block)
            if feedback is not None:
                self.message_port_pub(pmt.intern("acks"), make_pdu(feedback))
            return
        metadata = _gnuradio.extend_dict(_entries(frame_tag), *_items(header_to_pmt(frame.header)))
        self.message_port_pub(pmt.intern("pdus"), make_pdu(frame.block or b"", metadata))

    def _expected(self, h: NDArray[np.complex64], noise_var: float, report: Report, frame_tag: Any) -> Report:
        """What the report is when it is used."""
        sample = _gnuradio.plain_entries(_entries(frame_tag), ["sample"]).get("sample")
        if self._forecaster is None or not isinstance(sample, int):
            return report
        snrs_db = self._forecaster.take(float(sample), h, noise_var, report.effective_snrs_db)
        return replace(report, effective_snrs_db=snrs_db)

    def _foreign(self, error: ValueError) -> None:
        self.counters.foreign_headers += 1
        self.warn_once("header", f"a frame is not decoded: {error}")

    @reading("errors per frame")
    def block_error_rate(self) -> float:
        """Share of the frames with a right header whose transport block was wrong; NaN before the first."""
        frames = self.counters.frames
        return self.counters.block_errors / frames if frames else float("nan")

    @reading("index")
    def mcs(self) -> int:
        """MCS of the last frame; -1 before the first."""
        return self._last[0] if self._last else -1

    @reading("streams")
    def rank(self) -> int:
        """Rank of the last frame; 0 before the first."""
        return self._last[1] if self._last else 0

    @reading("dB, for each rank")
    def effective_snrs_db(self) -> list[float]:
        """Effective SNRs of ranks 1 to num_tx in the last frame; empty before the first."""
        return self._snrs


def _entries(value: Any) -> Any:
    """What a tag `frame` says; nothing, if it is none."""
    try:
        return dict_of(value)
    except ValueError:
        return pmt.make_dict()


def _items(entries: Any) -> tuple[list[Any], list[Any]]:
    """Keys and values of a dict."""
    keys = pmt.dict_keys(entries)
    found = [pmt.nth(index, keys) for index in range(pmt.length(keys))]
    return found, [pmt.dict_ref(entries, key, pmt.PMT_NIL) for key in found]
