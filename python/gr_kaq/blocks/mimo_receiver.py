# SPDX-License-Identifier: GPL-3.0-or-later
"""From antennas to payloads: the receiver's blocks, connected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnuradio import fft, gr

from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat
from .access import _gnuradio
from .base import MAX_ANTENNAS, check_integer, enlarge_buffer
from .channel_estimator import channel_estimator
from .data_aided_decoder import MAX_PASSES, data_aided_decoder
from .detector import detector as mimo_detector
from .frame_decoder import frame_decoder
from .frame_synchronizer import frame_synchronizer

__all__ = ["mimo_receiver"]

WAITING_FRAMES = 32  # in front of the channel estimation, to be estimated at once


class mimo_receiver(gr.hier_block2):
    """A MIMO-OFDM receiver: frame_synchronizer, FFTs, channel_estimator, detector and frame_decoder in one.

    Signal model on each data carrier of each OFDM symbol:

        y = H x + n     y: (num_rx,)  H: (num_rx, num_tx)  x: (num_tx,)  n ~ CN(0, noise_var I)

    Inputs: num_rx complex ports, one per antenna, sampled at the same instants.

    Outputs: num_tx complex ports, the detected symbols; an item is a frame, a vector of data_per_stream. Then, with
    `monitor`, what displays want to see: num_rx complex ports with the received data carriers, before the detection,
    and one float port with the channel's magnitude in dB, vectors of num_active * num_rx * num_tx; see
    `gr_kaq.channel_estimator`.

    Messages:
        pdus (out): payloads whose CRC is right, see `frame_decoder`.
        lost (out): dict of each frame whose CRC is wrong, for a `frame_explainer`.
        frames (out): dict of each frame, with a right CRC or not, see `channel_estimator`.
        model (in): name of a detector, replaces the one in use.
        estimator (in): the same of a method of channel estimation.
        stats (out): counters of the synchronizer, the estimator, the detector and the decoder, each its own dict.

    Args:
        num_rx, num_tx: antennas and streams.
        fft_size: carriers: 64, 256, 512, 1024 or 2048, see `gr_kaq.frames.frame_format.FrameFormat`.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``, as the transmitter's.
        detector: name or path of a detector, as for `gr_kaq.detector`; ``"auto"`` takes the one with the lowest error
            rate at this size.
        estimator: method of channel estimation, as for `gr_kaq.channel_estimator`.
        data_aided_passes: how often a frame whose CRC is wrong is estimated again with its own data, and detected and
            decoded again, 0 to 8; see `gr_kaq.data_aided_decoder`. The symbols on the outputs stay.
        num_symbols: OFDM symbols of a frame, as the transmitter's: 14, 28 or 56.
        estimate_every: frames of which one is estimated, and the others forecast; see `gr_kaq.channel_estimator`.
        monitor: whether there are ports for displays.
        condition: what is received under, such as the SNR of a slider; see `set_condition`.

    Raises:
        ValueError: an argument is out of range, or a model does not exist or does not fit.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "16qam",
        *,
        detector: str | Path = "auto",
        estimator: str = "lmmse",
        data_aided_passes: int = 0,
        num_symbols: int = SYMBOL_COUNTS[0],
        estimate_every: int = 1,
        monitor: bool = False,
        condition: object = None,
    ):
        num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        data_aided_passes = check_integer("data_aided_passes", data_aided_passes, 0, MAX_PASSES)
        frame = FrameFormat(num_tx, fft_size, constellation, num_symbols)
        data = gr.sizeof_gr_complex * frame.data_per_stream
        channel = gr.sizeof_float * frame.num_active * num_rx * num_tx
        outputs = [data] * num_tx + ([data] * num_rx + [channel] if monitor else [])
        gr.hier_block2.__init__(
            self,
            "KAQ MIMO receiver",
            gr.io_signature(num_rx, num_rx, gr.sizeof_gr_complex),
            # discouraged since GNU Radio 3.10.8, but the constructor takes one size only in 3.10.5
            gr.io_signature.makev(len(outputs), len(outputs), outputs),
        )
        self.frame_format = frame
        self.synchronizer = frame_synchronizer(num_rx, num_tx, fft_size, num_symbols=num_symbols)
        self.estimator = channel_estimator(
            *(num_rx, num_tx, fft_size),
            method=estimator,
            output_channel=monitor,
            num_symbols=num_symbols,
            estimate_every=estimate_every,
        )
        self.detector = mimo_detector(
            detector, num_rx, num_tx, frame.data_per_stream, frame.constellation_name, output_llrs=True
        )
        self.decoder = (
            data_aided_decoder(
                *(num_rx, num_tx, fft_size, constellation),
                detector=detector,
                passes=data_aided_passes,
                num_symbols=num_symbols,
            )
            if data_aided_passes
            else frame_decoder(num_tx, fft_size, constellation, num_symbols=num_symbols)
        )
        self._condition = condition
        self._earlier_frames = self._earlier_errors = 0  # under another condition

        window = [frame.fft_size**-0.5] * frame.fft_size  # unitary: the noise variance stays
        for antenna in range(num_rx):
            transform = fft.fft_vcc(frame.fft_size, True, window, True)
            enlarge_buffer(transform, WAITING_FRAMES * num_symbols)
            self.connect((self, antenna), (self.synchronizer, antenna), transform, (self.estimator, antenna))
            self.connect((self.estimator, antenna), (self.detector, antenna))
            if data_aided_passes:
                self.connect((self.estimator, antenna), (self.decoder, num_tx + antenna))
            if monitor:
                self.connect((self.estimator, antenna), (self, num_tx + antenna))
        if monitor:
            self.connect((self.estimator, num_rx), (self, num_tx + num_rx))
        for stream in range(num_tx):
            self.connect((self.detector, stream), (self, stream))
            self.connect((self.detector, num_tx + stream), (self.decoder, stream))

        self.message_port_register_hier_in("model")
        self.message_port_register_hier_in("estimator")
        self.message_port_register_hier_out("pdus")
        self.message_port_register_hier_out("lost")
        self.message_port_register_hier_out("frames")
        self.message_port_register_hier_out("stats")
        self._detecting: list[Any] = [self.detector, self.decoder] if data_aided_passes else [self.detector]
        for part in self._detecting:
            self._connect_own_port("model", part, is_input=True)
        self._connect_own_port("estimator", self.estimator, "method", is_input=True)
        self._connect_own_port("pdus", self.decoder)
        self._connect_own_port("lost", self.decoder)
        self._connect_own_port("frames", self.estimator)
        for part in (self.synchronizer, self.estimator, self.detector, self.decoder):
            self._connect_own_port("stats", part)

    def _connect_own_port(self, port: str, part: Any, part_port: str = "", *, is_input: bool = False) -> None:
        """Connect a message port with one of a part, by default of that name. See `workarounds`, "message ports"."""
        _gnuradio.connect_own_message_port(
            self.to_basic_block(), port, part.to_basic_block(), part_port or port, is_input=is_input
        )

    def set_model(self, model: str | Path) -> None:
        """Replace the detector, also while the flowgraph runs, see `gr_kaq.detector.set_model`."""
        for part in self._detecting:
            part.set_model(model)

    def handle_model(self, message: Any) -> None:
        """As a message on port `model`: the same, but a name that is none is logged, and the old detector stays."""
        for part in self._detecting:
            part.handle_model(message)

    def set_estimator(self, method: str) -> None:
        """Replace the method of channel estimation, also while the flowgraph runs."""
        self.estimator.set_method(method)

    def handle_estimator(self, message: Any) -> None:
        """As a message on port `estimator`: the same, but a name that is none is logged, and the old method stays."""
        self.estimator.handle_method(message)

    def set_condition(self, condition: object) -> None:
        """Have `block_error_rate` begin anew if `condition` differs from the last one."""
        if condition != self._condition:
            self._condition = condition
            self._earlier_frames, self._earlier_errors = self.decoder.frames(), self.decoder.block_errors()

    def block_error_rate(self) -> float:
        """Share of the frames found whose CRC was wrong, since the condition changed; NaN before the first."""
        frames = self.decoder.frames() - self._earlier_frames
        return (self.decoder.block_errors() - self._earlier_errors) / frames if frames else float("nan")

    def stats(self) -> dict[str, dict[str, Any]]:
        """The counters of every part under its name."""
        return {
            "synchronizer": self.synchronizer.stats(),
            "estimator": self.estimator.stats(),
            "detector": self.detector.stats(),
            "decoder": self.decoder.stats(),
        }
