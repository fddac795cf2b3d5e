# SPDX-License-Identifier: GPL-3.0-or-later
"""A MIMO channel as a GNU Radio block: of symbols, tagged with channel and SNR estimates, or of samples."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..beams.array_channel import ArrayChannel
from ..beams.planar_array import Beam
from ..channels.flat import ChannelModel, RayleighChannels, RecordedChannels, complex_normal
from ..channels.interference import Interferer
from ..channels.profiles import PROFILES
from ..channels.radio_channel import RadioChannel
from ..frames.frame_format import EVERYWHERE, FFT_SIZES, PARTS, FrameFormat
from ..signals.csi import SNR_RANGE_DB
from ..signals.signal_model import from_db, snr_from_noise_var
from .base import MAX_ANTENNAS, MAX_SUBCARRIERS, KaqBlock, check_integer, ports, rows
from .beam_pmt import BEAM, beam_to_pmt, parse_beam
from .counters import Counters, counter
from .csi_pmt import CSI_KEY, SNR_KEY, channel_to_pmt, check_keys
from .interference_pmt import INTERFERER_ENTRIES, settings_after

__all__ = ["CHANNELS", "RADIO_CHANNELS", "channel_simulator"]

CHANNELS = ("iid", "kronecker", "recorded")
ENTRIES = (*INTERFERER_ENTRIES, "on", "fft_size")
SOB = pmt.intern("tx_sob")
RADIO_CHANNELS = {"tdl-flat" if profile == "flat" else profile: profile for profile in PROFILES}


@dataclass
class SimulatorCounters(Counters):
    """What a `channel_simulator` counts."""

    estimates: int = counter("channels", "Channels drawn.")
    rejected_messages: int = counter("messages", "Messages on ports `interference` and `beam` that were refused.")


class channel_simulator(KaqBlock[SimulatorCounters]):
    """MIMO channel with white Gaussian noise: block fading between symbols, or a radio channel between samples.

        y = H x + n     y: (num_rx,)  H: (num_rx, num_tx)  x: (num_tx,)  n ~ CN(0, noise_var I)

    The channels ``"iid"``, ``"kronecker"`` and ``"recorded"`` are of this kind, with H constant for items_per_estimate
    items. The channels ``"tdl-..."`` and ``"cdl-..."`` are a `gr_kaq.channels.radio_channel.RadioChannel` between
    streams of samples (num_subcarriers is 1): multipath that changes all the time, carrier and clock offset, phase
    noise, delay, gains of the antennas. There is no H that holds for a sample, so they put no estimates on tags: the
    receiver has to estimate.

    All channels have mean |h|^2 = 1. The noise is constant, noise_var = num_tx / SNR for E|x|^2 = 1, so that BER curves
    match the literature; the SNR of a single H differs from the nominal one.

    Inputs: num_tx complex ports; an item is a vector of num_subcarriers symbols.

    Outputs: num_rx complex ports; an item is a vector of num_subcarriers samples.

    Tags, on output 0, at the first item of each estimate (docs/guide/csi-contract.md), not of radio channels:
        mimo_channel: dict with `h`, `shape`, `noise_var`, and `seq`, counted from 0.
        snr: SNR in dB of this H and noise_var, within the range that the detector accepts.

    Messages:
        interference (in): a dict with some of the entries of the argument `interference`, as PMTs (band: f64vector);
            the others stay as they are. An empty dict: nobody interferes. What is malformed changes nothing, and is
            counted.
        beam (in): a dict with `first`, `second`, and if wanted `first_width` and `second_width`: the beam of the array.
            One that the array does not have changes nothing, and is counted. Where a beam comes into force, output 0
            has a tag `beam` with the same.

    Tags of input 0 are passed on to output 0, each once. The output depends on the seed and the input only, not on how
    the scheduler cuts the stream (but for the last bit: BLAS rounds differently for other numbers of items).

    Args:
        num_tx, num_rx: streams and antennas.
        num_subcarriers: length of an item; 1 for a flat channel.
        channel: ``"iid"`` (Rayleigh), ``"kronecker"`` (Rayleigh, antennas correlated exponentially), ``"recorded"``;
            ``"tdl-a"`` to ``"tdl-e"`` or ``"cdl-a"`` to ``"cdl-e"`` (3GPP TR 38.901), or ``"tdl-flat"`` (one tap).
        snr_db: nominal SNR in dB, -40 to 100. A new value counts from the next estimate on; with radio channels
            from the next samples on, as carrier_offset does.
        items_per_estimate: items that share one H.
        seed: of channel, noise and estimation error.
        flat: one H for all subcarriers instead of independent ones (iid, kronecker).
        rx_correlation, tx_correlation: of neighbouring antennas, in [0, 1) (kronecker).
        recording: path of the NumPy archive (recorded), see `gr_kaq.channels.flat.RecordedChannels`.
        estimation_error_db: variance of the error of the tagged H, relative to mean |h|^2, in dB; None: no error.
        snr_error_db: added to the tagged SNR. Unless it is 0 the dict has no `noise_var`, because that would win.
        csi_key, snr_key: names of the two tags.
        sample_rate, delay_spread, doppler, carrier_offset, clock_offset_ppm, phase_noise: of the radio channels, see
            `gr_kaq.channels.radio_channel.RadioChannel`, which gives the same output for the same seed.
        timing_offset, antenna_gains_db: the same.
        interference: who interferes, as arguments of a `gr_kaq.channels.interference.Interferer` and, of frames only,
            `on`: ``"all"`` (all the time), ``"preamble"``, ``"training"`` or ``"data"``, by the tags `tx_sob` of a
            `frame_transmitter` with the entry `fft_size` (64). None: nobody (radio channels).
        array: an array in front of all streams, as arguments of a `gr_kaq.beams.array_channel.ArrayChannel` but for
            sample rate and seed, such as ``{"size": (16, 16), "angles_deg": (20.0, -5.0)}``; snr_db is then that of a
            beam that points at the user. None: none (radio channels).
        vector_ports: whether all streams share an input, [tx][subcarrier], and all antennas an output,
            [rx][subcarrier].

    Raises:
        ValueError: an argument is out of range, num_subcarriers is not 1 for a channel between samples, or the
            recording is not what it should be.
    """

    def __init__(
        self,
        num_tx: int,
        num_rx: int,
        num_subcarriers: int = 1,
        *,
        channel: str = "iid",
        snr_db: float = 20.0,
        items_per_estimate: int = 14,
        seed: int = 0,
        flat: bool = False,
        rx_correlation: float = 0.0,
        tx_correlation: float = 0.0,
        recording: str = "",
        estimation_error_db: float | None = None,
        snr_error_db: float = 0.0,
        csi_key: str = CSI_KEY,
        snr_key: str = SNR_KEY,
        sample_rate: float = 2e6,
        delay_spread: float = 100e-9,
        doppler: float = 0.0,
        carrier_offset: float = 0.0,
        clock_offset_ppm: float = 0.0,
        phase_noise: float = 0.0,
        timing_offset: float = 0.0,
        antenna_gains_db: Sequence[float] | None = None,
        interference: Mapping[str, Any] | None = None,
        array: Mapping[str, Any] | None = None,
        vector_ports: bool = False,
    ):
        self._num_tx = check_integer("num_tx", num_tx, 1, MAX_ANTENNAS)
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        self._num_subcarriers = check_integer("num_subcarriers", num_subcarriers, 1, MAX_SUBCARRIERS)
        self._items_per_estimate = check_integer("items_per_estimate", items_per_estimate, 1, 2**31 - 1)
        channel_seed, noise_seed, error_seed = np.random.SeedSequence(check_integer("seed", seed, 0, 2**63)).spawn(3)
        self._noise_rng = np.random.Generator(np.random.SFC64(noise_seed))
        self._error_rng = np.random.default_rng(error_seed)
        self._channels: ChannelModel
        self._radio: RadioChannel | None = None
        size = (self._num_rx, self._num_tx, self._num_subcarriers)
        if channel == "recorded":
            self._channels = RecordedChannels(recording, *size)
        elif channel in CHANNELS:
            correlation = (rx_correlation, tx_correlation) if channel == "kronecker" else (0.0, 0.0)
            self._channels = RayleighChannels(
                *size, flat=flat, rx_correlation=correlation[0], tx_correlation=correlation[1], seed=channel_seed
            )
        elif channel in RADIO_CHANNELS:
            if self._num_subcarriers != 1:
                raise ValueError(f"num_subcarriers is {num_subcarriers}; 1 expected: {channel} is a channel of samples")
            self._radio = RadioChannel(
                self._num_rx,
                self._num_tx,
                sample_rate=sample_rate,
                profile=RADIO_CHANNELS[channel],
                delay_spread=delay_spread,
                doppler=doppler,
                carrier_offset=carrier_offset,
                clock_offset_ppm=clock_offset_ppm,
                phase_noise=phase_noise,
                timing_offset=timing_offset,
                antenna_gains_db=antenna_gains_db,
                seed=seed,
            )
        else:
            raise ValueError(f"unknown channel {channel!r}; one of {', '.join((*CHANNELS, *RADIO_CHANNELS))} expected")
        check_keys(csi_key, snr_key)
        self._lock = threading.Lock()  # setters are called from other threads
        self.set_snr_db(snr_db)
        self.set_estimation_error_db(estimation_error_db)
        self.set_snr_error_db(snr_error_db)
        self._frame_begins: list[int] = []  # items of the output, of frames that are not over
        self._delay = 0 if self._radio is None else self._radio.latency + round(timing_offset)
        self.set_interference(interference)
        self._array = self._make_array(array, sample_rate, seed) if array else None
        self._switched = True

        super().__init__(
            "KAQ MIMO channel simulator",
            ports(np.complex64, self._num_subcarriers, self._num_tx, vector_ports=vector_ports),
            ports(np.complex64, self._num_subcarriers, self._num_rx, vector_ports=vector_ports),
        )
        if vector_ports:
            self.enlarge_buffers(self._num_rx)
        self._csi_key, self._snr_key = pmt.intern(csi_key), pmt.intern(snr_key)
        self._h = np.zeros((self._num_subcarriers, self._num_rx, self._num_tx), np.complex64)
        self._noise_var = 0.0
        self._items_left = 0
        self.message_port_register_in(pmt.intern("interference"))
        self.set_msg_handler(pmt.intern("interference"), self.handle_interference)
        self.message_port_register_in(BEAM)
        self.set_msg_handler(BEAM, self.handle_beam)

    def begin(self) -> None:
        """Called when the flowgraph starts: nobody has an estimate."""
        self._items_left = 0
        self._frame_begins = []
        self._switched = True  # items are counted from 0

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Send the next items through the channel."""
        num_items = len(output_items[0])
        for tag in self.get_tags_in_window(0, 0, num_items):
            self.forward(tag)
            if tag.key is not None and pmt.eq(tag.key, SOB):
                self._frame_begins.append(tag.offset + self._delay)
        if self._radio is None:
            self._block_fading(input_items, output_items)
        else:
            with self._lock:
                sent = np.stack(rows(input_items, num_items, 1, self._num_tx))[..., 0]
                if self._array is not None:
                    sent = self._through_array(sent)
                received = self._radio.process(sent, self._interfered(num_items))
            for items, samples in zip(rows(output_items, num_items, 1, self._num_rx), received, strict=True):
                items[:, 0] = samples
        return num_items

    def _make_array(self, settings: Mapping[str, Any], sample_rate: float, seed: int) -> ArrayChannel:
        if self._radio is None:
            raise ValueError("array is given; None expected: the channel is one of symbols, not of samples")
        if "size" not in settings:
            raise ValueError("array has no size; its elements on each axis expected")
        try:
            return ArrayChannel(sample_rate=sample_rate, seed=np.random.SeedSequence([seed, 1]), **settings)
        except TypeError as error:
            raise ValueError(f"array has an entry that is none of an ArrayChannel: {error}") from None

    def _through_array(self, sent: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """The next samples (num_tx, n) in the beam; a tag where it is a new one."""
        assert self._array is not None
        first = self.nitems_written(0)
        if self._switched:
            # what is on its way through the channel's filters is of the beam before
            self.add_item_tag(0, first + self._delay, BEAM, beam_to_pmt(self._array.beam))
            self._switched = False
        return sent * self._array.gains(first, sent.shape[1])

    def _interfered(self, num_items: int) -> NDArray[np.bool_] | None:
        """Which of the next items have the interference; None: all."""
        first, length = self.nitems_written(0), len(self._part)
        self._frame_begins = [begin for begin in self._frame_begins if begin + length > first]
        if not length:
            return None
        interfered = np.zeros(num_items, np.bool_)
        for begin in self._frame_begins:
            start, stop = max(begin, first), min(begin + length, first + num_items)
            if start < stop:
                interfered[start - first : stop - first] = self._part[start - begin : stop - begin]
        return interfered

    def _block_fading(self, input_items: list[NDArray], output_items: list[NDArray]) -> None:
        """Send the items that share an H through it, one batch per subcarrier."""
        num_items = len(output_items[0])
        first = self.nitems_written(0)
        x = np.stack(
            rows(input_items, num_items, self._num_subcarriers, self._num_tx), axis=-1
        )  # (items, subcarriers, num_tx)
        y = complex_normal(self._noise_rng, (num_items, self._num_subcarriers, self._num_rx))
        start = 0
        with np.errstate(all="ignore"):  # x may hold NaN
            while start < num_items:
                if not self._items_left:
                    self._next_channel(first + start)
                stop = min(num_items, start + self._items_left)
                y[start:stop] *= np.float32(math.sqrt(self._noise_var))
                y[start:stop] += (x[start:stop].swapaxes(0, 1) @ self._h.swapaxes(-1, -2)).swapaxes(0, 1)
                self._items_left -= stop - start
                start = stop
        for antenna, items in enumerate(rows(output_items, num_items, self._num_subcarriers, self._num_rx)):
            items[:] = y[..., antenna]

    def _next_channel(self, item: int) -> None:
        """Draw the next H and tag `item` with its estimate."""
        with self._lock:
            noise_var, error_var, snr_error_db = self._next_noise_var, self._error_var, self._snr_error_db
        self._h = estimate = self._channels.draw(1)[0]
        self._noise_var = noise_var
        if error_var:
            estimate = self._h + np.float32(math.sqrt(error_var)) * complex_normal(self._error_rng, self._h.shape)
        tagged = channel_to_pmt(estimate, None if snr_error_db else noise_var, self.counters.estimates)
        self.add_item_tag(0, item, self._csi_key, tagged)
        snr_db = np.clip(snr_from_noise_var(self._h, noise_var) + snr_error_db, *SNR_RANGE_DB)
        self.add_item_tag(0, item, self._snr_key, pmt.from_double(float(snr_db)))
        self._items_left = self._items_per_estimate
        self.counters.estimates += 1

    def set_snr_db(self, snr_db: float) -> None:
        """Set the nominal SNR in dB, from the next estimate on, or from the next samples on."""
        low, high = SNR_RANGE_DB
        if not low <= snr_db <= high:
            raise ValueError(f"snr_db is {snr_db}; {low:g} to {high:g} expected")
        with self._lock:
            self._snr_db = float(snr_db)
            self._next_noise_var = float(self._num_tx / from_db(snr_db))
            if self._radio is not None:
                self._radio.set_snr_db(snr_db)

    def set_interference(self, interference: Mapping[str, Any] | None) -> None:
        """Set who interferes, see the argument, from the next samples on; None: nobody. For radio channels only.

        Raises:
            ValueError: an entry is unknown or out of range; what was set before stays.
        """
        settings = dict(interference or {})
        if settings and self._radio is None:
            raise ValueError("interference is given; None expected: the channel is one of symbols, not of samples")
        unknown = sorted(settings.keys() - set(ENTRIES))
        if unknown:
            raise ValueError(f"interference has {unknown[0]!r}; of {', '.join(ENTRIES)} expected")
        on = settings.get("on", EVERYWHERE)
        fft_size = check_integer("fft_size", settings.get("fft_size", FFT_SIZES[0]), FFT_SIZES[0], FFT_SIZES[-1])
        if on not in (EVERYWHERE, *PARTS):
            raise ValueError(f"on is {on!r}; one of {', '.join((EVERYWHERE, *PARTS))} expected")
        part = np.zeros(0, np.bool_) if on == EVERYWHERE else FrameFormat(1, fft_size).samples_of(on)
        of_interferer = {key: value for key, value in settings.items() if key in INTERFERER_ENTRIES}
        if settings and "band" not in of_interferer:
            raise ValueError("interference has no band; its lowest and its highest frequency in Hz expected")
        with self._lock:
            if self._radio is not None:
                self._radio.set_interferer(Interferer(**of_interferer) if settings else None)
            self._interference, self._part = settings, part

    def handle_interference(self, message: Any) -> None:
        """A message on port `interference`."""

        def take() -> None:
            self.set_interference(settings_after(self._interference, message, ENTRIES))

        if self.refused("interference", "what was set", take):
            self.counters.rejected_messages += 1

    def handle_beam(self, message: Any) -> None:
        """A message on port `beam`."""
        if self.refused("beam", "the one in force", lambda: self._take_beam(message)):
            self.counters.rejected_messages += 1

    def _take_beam(self, message: Any) -> None:
        if self._array is None:
            raise ValueError("the channel has no array")
        beam = parse_beam(message, self._array.array)
        with self._lock:
            self._array.set_beam(beam)
            self._switched = True

    def set_carrier_offset(self, carrier_offset: float) -> None:
        """Set the carrier offset in Hz, from the next samples on; the phase goes on. For radio channels only."""
        if self._radio is not None:
            self._radio.set_carrier_offset(carrier_offset)

    def set_estimation_error_db(self, estimation_error_db: float | None) -> None:
        """Set the variance of the error of the tagged H relative to mean |h|^2, in dB; None or -inf: no error."""
        if estimation_error_db is not None and not estimation_error_db <= 60:
            raise ValueError(f"estimation_error_db is {estimation_error_db}; None or at most 60 expected")
        with self._lock:
            self._error_var = 0.0 if estimation_error_db is None else float(from_db(estimation_error_db))

    def set_snr_error_db(self, snr_error_db: float) -> None:
        """Set what is added to the tagged SNR, in dB."""
        if not abs(snr_error_db) <= 100:
            raise ValueError(f"snr_error_db is {snr_error_db}; -100 to 100 expected")
        with self._lock:
            self._snr_error_db = float(snr_error_db)

    def interference(self) -> dict[str, Any] | None:
        """Who interferes, as set; None: nobody."""
        return dict(self._interference) or None

    def beam(self) -> Beam | None:
        """The beam of the array that is in force; None without an array."""
        return self._array.beam if self._array is not None else None

    def snr_db(self) -> float:
        """Nominal SNR in dB."""
        return self._snr_db

    def noise_var(self) -> float:
        """Noise variance per receive antenna at the nominal SNR."""
        return self._next_noise_var
