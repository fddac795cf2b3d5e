# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials of policies on the same fading, frame after frame, with the receiver as it is.

The channel is continuous in time (`gr_kaq.channels.profiles.delay_line`, the fading of `RadioChannel`), and constant
within an OFDM symbol: without intercarrier interference, which at 200 Hz lies 45 dB below the signal. Each carrier of
each symbol passes through it, noise is added, and then all is as in a flowgraph: channel estimation from the training
symbols, header, detector, soft combining, report. Frames are found. The code words are always the same, one for each
MCS and rank, so that what a policy hears of a frame is computed once for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ..channels.profiles import delay_line
from ..estimation.estimator import ChannelEstimator
from ..frames.frame_format import FrameFormat
from ..frames.frame_header import NUM_PROCESSES, NUM_REDUNDANCY_VERSIONS, FrameHeader, InvalidHeader
from ..frames.modulation_coding import MCS_TABLE, transport_block_bytes
from ..frames.transport_coding import transport_coder
from .choices import MAX_TRANSMISSIONS, Choices
from .link_receiver import LinkReceiver
from .mutual_information import mutual_information
from .policies import Fixed, Policy, make_policy
from .snr_forecaster import SnrForecaster

__all__ = [
    "FEEDBACK_BYTES",
    "SEEING",
    "Outcome",
    "Scenario",
    "SimulatedFrame",
    "SimulatedLink",
    "expected_goodputs",
    "run_policies",
]

CARRIER_SPACING = 31250.0
GAP = 256  # samples between frames
FEEDBACK_BYTES = 8
"""What each frame spends on acknowledging the other way, which carries as many frames: bitmap and effective SNRs."""

LOOKS = 50  # frames of each channel, to guess what is best in hindsight
MISSING = 1e-3  # who sees a frame does not try what is wrong more often than 1 - MISSING
REHEARSALS = 16


@dataclass(frozen=True)
class Scenario:
    """A link.

    Args:
        frame_format: of the frames.
        num_rx: antennas of the receiver.
        snr_db: mean SNR, over the fading.
        doppler: largest Doppler shift in Hz.
        delay: frames after which the sender knows of a frame; 1 is the next one.
        interval: seconds from frame to frame; None: frames with a gap of 256 samples.
        profile, delay_spread: of the channel.
        detector: of the receiver.
        feedback_loss: probability that the sender hears nothing of a frame.
        rank: the only one that is sent; None: any.
        forecasts: whether reports are of the frame that is sent when they are heard, as the receiver expects it.

    Raises:
        ValueError: an argument is out of range.
    """

    frame_format: FrameFormat
    num_rx: int
    snr_db: float
    doppler: float = 10.0
    delay: int = 2
    interval: float | None = None
    profile: str = "tdl-a"
    delay_spread: float = 100e-9
    detector: str = "auto"
    feedback_loss: float = 0.0
    rank: int | None = None
    forecasts: bool = False

    def __post_init__(self) -> None:
        if self.delay < 1:
            raise ValueError(f"delay is {self.delay}; at least 1 frame expected")
        if self.interval is not None and not self.interval >= self._shortest:
            raise ValueError(f"interval is {self.interval} s; at least {self._shortest:g}, a frame's length, expected")
        if self.rank is not None and not 1 <= self.rank <= self.frame_format.num_tx:
            raise ValueError(f"rank is {self.rank}; 1 to {self.frame_format.num_tx} expected")

    @property
    def _shortest(self) -> float:
        return self.frame_format.frame_length / (self.frame_format.fft_size * CARRIER_SPACING)

    @property
    def ranks(self) -> Sequence[int]:
        """Those that may be sent."""
        return range(1, self.frame_format.num_tx + 1) if self.rank is None else (self.rank,)

    @property
    def period(self) -> float:
        """Seconds from frame to frame."""
        samples = self.frame_format.frame_length + GAP
        return samples / (self.frame_format.fft_size * CARRIER_SPACING) if self.interval is None else self.interval


class SimulatedLink:
    """Frames of one fading channel, by their number.

    Args:
        scenario: the link.
        seed: of channel and noise.
        receiver: of frames with the same format, antennas and detector; None: a new one.
    """

    def __init__(self, scenario: Scenario, seed: int, receiver: LinkReceiver | None = None):
        self.scenario, self._seed = scenario, seed
        frame = scenario.frame_format
        self.receiver = receiver or LinkReceiver(frame, scenario.num_rx, scenario.detector)
        self.estimator = ChannelEstimator(frame)
        self.forecaster = SnrForecaster(self.receiver, scenario.delay) if scenario.forecasts else None
        self._line = delay_line(
            scenario.num_rx,
            frame.num_tx,
            profile=scenario.profile,
            delay_spread=scenario.delay_spread,
            doppler=scenario.doppler,
            seed=np.random.SeedSequence([seed, 0]),
        )
        self.noise_var = frame.num_tx / 10 ** (scenario.snr_db / 10)
        self.code_words: dict[tuple[int, int], tuple[bytes, NDArray[np.uint8]]] = {}

    def frame(self, number: int) -> SimulatedFrame:
        """The frame with this number."""
        scenario, frame = self.scenario, self.scenario.frame_format
        samples = frame.preamble_length + frame.cp_length + np.arange(frame.num_symbols) * frame.symbol_length
        times = number * scenario.period + samples / (frame.fft_size * CARRIER_SPACING)
        h = self._line.frequency_response(times, frame.active_carriers * CARRIER_SPACING)
        return SimulatedFrame(self, number, h, *self.noise(number))

    def noise(self, number: int, *other: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Noise of a frame's active and guard carriers; another one for each of some more numbers."""
        frame, rng = self.scenario.frame_format, np.random.default_rng([self._seed, number, *other])
        count = frame.num_active + len(frame.guard_carriers)
        parts = rng.standard_normal((2, frame.num_symbols, self.scenario.num_rx, count)) * (self.noise_var / 2) ** 0.5
        noise = (parts[0] + 1j * parts[1]).astype(np.complex64)
        return noise[..., : frame.num_active], noise[..., frame.num_active :]

    def code_word(self, mcs: int, rank: int) -> tuple[bytes, NDArray[np.uint8]]:
        """A transport block and its code word."""
        if (mcs, rank) not in self.code_words:
            coder = transport_coder(self.scenario.frame_format, mcs, rank)
            block = np.random.default_rng([mcs, rank]).bytes(coder.block_bytes)
            self.code_words[mcs, rank] = block, coder.encode(block)
        return self.code_words[mcs, rank]


class SimulatedFrame:
    """What a receiver gets of a frame, whatever is sent in it.

    Args:
        link: whose frame it is.
        number: of the frame.
        h: channel of all carriers, (14, num_active, num_rx, num_tx).
        noise, guards: of active and of guard carriers, (14, num_rx, carriers).
    """

    def __init__(
        self,
        link: SimulatedLink,
        number: int,
        h: NDArray[np.complex64],
        noise: NDArray[np.complex64],
        guards: NDArray[np.complex64],
    ):
        self.link, self.number = link, number
        self._h, self._noise = h, noise
        frame = link.scenario.frame_format
        self._known = self._receive(frame.known_grid)
        self._estimate = link.estimator.estimate(self._known, guards)
        data = link.estimator.data_symbols(self._known, self._estimate)
        self.h = data.h.reshape(-1, link.scenario.num_rx, frame.num_tx)
        self.noise_var = data.noise_var
        self._llrs: dict[tuple[int, int, int], NDArray[np.float64]] = {}
        self._decoded: dict[tuple[int, int], bool] = {}

    def with_other_noise(self, index: int) -> SimulatedFrame:
        """The frame with noise that is not its own."""
        noise, guards = self.link.noise(self.number, 1 + index)
        return SimulatedFrame(self.link, self.number, self._h, noise, guards)

    @cached_property
    def snrs_db(self) -> NDArray[np.float64]:
        """Effective SNRs of ranks 1 to num_tx."""
        return self.link.receiver.report(self.h, self.noise_var).effective_snrs_db

    @cached_property
    def report(self) -> tuple[int, NDArray[np.float64]]:
        """What the receiver says: of which frame, and its effective SNRs. With forecasts, to be asked in order."""
        forecaster = self.link.forecaster
        if forecaster is None:
            return self.number, self.snrs_db
        snrs_db = forecaster.take(float(self.number), self.h, self.noise_var, self.snrs_db)
        return self.number + forecaster.horizon, snrs_db

    @cached_property
    def header_arrives(self) -> bool:
        """Whether its header is decoded."""
        link, header = self.link, FrameHeader(sequence=self.number % 4096, process=self.number % NUM_PROCESSES)
        received = self._data_symbols(link.receiver.frame.data_symbols(header, link.code_word(0, 1)[1]))
        try:
            return link.receiver.frame.decode_header(received, self.h, self.noise_var) == header
        except InvalidHeader:
            return False

    def llrs(self, mcs: int, rank: int, redundancy_version: int) -> NDArray[np.float64]:
        """LLRs of the code word of this MCS and rank, if this version of it was sent."""
        key = mcs, rank, redundancy_version
        if key not in self._llrs:
            link = self.link
            header = FrameHeader(mcs, rank, redundancy_version=redundancy_version)
            received = self._data_symbols(link.receiver.frame.data_symbols(header, link.code_word(mcs, rank)[1]))
            llrs = link.receiver.detect(received, self.h, self.noise_var, mcs, rank).reshape(-1)
            coder = transport_coder(link.scenario.frame_format, mcs, rank)
            self._llrs[key] = coder.spread(llrs, redundancy_version)
        return self._llrs[key]

    def decodes(self, mcs: int, rank: int) -> bool:
        """Whether a first transmission of this MCS and rank is decoded."""
        if (mcs, rank) not in self._decoded:
            self._decoded[mcs, rank] = self.link_decodes(mcs, rank, self.llrs(mcs, rank, 0))
        return self._decoded[mcs, rank]

    def information(self, mcs: int, rank: int) -> tuple[float, float]:
        """Mutual information per bit of a first transmission, from its LLRs alone, and with the bits that were sent."""
        word = self.link.code_word(mcs, rank)[1]
        llrs = self.llrs(mcs, rank, 0)
        sent = llrs != 0
        return float(mutual_information(llrs[sent])), float(mutual_information(llrs[sent], word[sent]))

    def link_decodes(self, mcs: int, rank: int, llrs: NDArray[np.float64]) -> bool:
        """Whether these LLRs of a code word are decoded."""
        coder = transport_coder(self.link.scenario.frame_format, mcs, rank)
        return coder.decode(llrs) == self.link.code_word(mcs, rank)[0]

    def _receive(self, sent: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """The received grid, from the sent one (14, num_tx, num_active)."""
        arrived = (self._h @ sent.transpose(0, 2, 1)[..., None])[..., 0]
        received: NDArray[np.complex64] = arrived.transpose(0, 2, 1) + self._noise
        return received

    def _data_symbols(self, data: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """What a detector gets of these data symbols, (data_per_stream, num_rx)."""
        frame = self.link.scenario.frame_format
        grid = self._receive(frame.fill_grid(data))
        received = self.link.estimator.data_symbols(grid, self._estimate).received
        return np.ascontiguousarray(received.reshape(len(received), -1).T)


@dataclass
class Outcome:
    """What one policy did.

    Attributes:
        policy: its name.
        frames: sent.
        seconds: that took.
        delivered_bits: of transport blocks, without `FEEDBACK_BYTES` of each frame.
        first, first_errors: first transmissions, and those of them that were not acknowledged.
        blocks, lost: transport blocks that ended, and those of them that were wrong after `MAX_TRANSMISSIONS`.
        used: first transmissions by (mcs, rank).
        goodputs: in bit/s, of each channel.
    """

    policy: str
    frames: int = 0
    seconds: float = 0.0
    delivered_bits: int = 0
    first: int = 0
    first_errors: int = 0
    blocks: int = 0
    lost: int = 0
    used: dict[tuple[int, int], int] = field(default_factory=dict)
    goodputs: list[float] = field(default_factory=list)

    @property
    def interval(self) -> float:
        """Half the 95 % interval of the goodput in bit/s, from how channels differ; NaN with one channel."""
        count = len(self.goodputs)
        return 1.96 * float(np.std(self.goodputs, ddof=1)) / count**0.5 if count > 1 else float("nan")

    @property
    def goodput(self) -> float:
        """In bit/s, less what the frames that were sent spend on feedback of the other way."""
        return (self.delivered_bits - 8 * FEEDBACK_BYTES * self.frames) / self.seconds if self.seconds else 0.0

    @property
    def block_error_rate(self) -> float:
        """Of first transmissions."""
        return self.first_errors / self.first if self.first else 0.0

    @property
    def residual_loss(self) -> float:
        """Of transport blocks."""
        return self.lost / self.blocks if self.blocks else 0.0

    def __iadd__(self, other: Outcome) -> Outcome:
        """Add what it did on another channel."""
        for name in ("frames", "seconds", "delivered_bits", "first", "first_errors", "blocks", "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for key, count in other.used.items():
            self.used[key] = self.used.get(key, 0) + count
        self.goodputs.append(other.goodput)
        return self


@dataclass(eq=False)
class _Block:
    """A transport block under way."""

    mcs: int
    rank: int
    transmissions: int = 0
    llrs: NDArray[np.float64] | None = None
    delivered: bool = False
    held: bool = False  # until another block has arrived


class _Session:
    """One policy on one link."""

    def __init__(self, policy: Policy | Seer, scenario: Scenario, chase: bool, rng: np.random.Generator):
        self.policy, self._scenario, self._chase, self._rng = policy, scenario, chase, rng
        self.outcome = Outcome(policy.name)
        self._repeats: deque[_Block] = deque()
        # of each frame under way: its block, whether that was acknowledged, the report; None: nothing is heard
        self._feedback: deque[tuple[_Block, bool, tuple[int, NDArray[np.float64]] | None]] = deque()

    def step(self, frame: SimulatedFrame) -> None:
        """Hear what is due, and send one frame."""
        scenario, outcome = self._scenario, self.outcome
        if len(self._feedback) == scenario.delay:
            self._hear(*self._feedback.popleft())
        block = self._repeat()
        if block is None:
            policy = self.policy
            block = _Block(*(policy.choose(frame.number) if isinstance(policy, Policy) else policy.choose(frame)))
            outcome.used[block.mcs, block.rank] = outcome.used.get((block.mcs, block.rank), 0) + 1
        self._send(block, frame)
        outcome.frames += 1
        outcome.seconds += scenario.period

    def _repeat(self) -> _Block | None:
        """The block that is sent again now, as an `ArqSender` with data enough has it; None: a new one is sent."""
        due = next((block for block in self._repeats if not block.held), None)
        if due is None and len(self._repeats) + len(self._feedback) >= NUM_PROCESSES:
            due = next(iter(self._repeats), None)
        if due is not None:
            self._repeats.remove(due)
        return due

    def _send(self, block: _Block, frame: SimulatedFrame) -> None:
        mcs, rank, version = block.mcs, block.rank, 0 if self._chase else block.transmissions % NUM_REDUNDANCY_VERSIONS
        arrives = frame.header_arrives
        decoded = False
        if arrives:
            if block.llrs is None and version == 0:
                decoded = frame.decodes(mcs, rank)
                if not decoded:
                    block.llrs = frame.llrs(mcs, rank, 0).copy()
            else:
                llrs = frame.llrs(mcs, rank, version)
                block.llrs = llrs.copy() if block.llrs is None else block.llrs + llrs
                decoded = frame.link_decodes(mcs, rank, block.llrs)
        block.transmissions += 1
        if decoded and not block.delivered:
            block.delivered = True
            self.outcome.delivered_bits += 8 * transport_block_bytes(self._scenario.frame_format, mcs, rank)
        heard = arrives and not (self._scenario.feedback_loss and self._rng.random() < self._scenario.feedback_loss)
        report = frame.report
        self._feedback.append((block, decoded and heard, report if heard else None))

    def _hear(self, block: _Block, acknowledged: bool, report: tuple[int, NDArray[np.float64]] | None) -> None:
        outcome, policy = self.outcome, self.policy
        if isinstance(policy, Policy) and report is not None:
            policy.observe_report(*report)
        if block.transmissions == 1:
            outcome.first += 1
            outcome.first_errors += not acknowledged
            if isinstance(policy, Policy):
                policy.observe_ack(block.mcs, block.rank, acknowledged)
        for other in self._repeats:
            other.held = other.held and not acknowledged
        if acknowledged or block.transmissions == MAX_TRANSMISSIONS:
            outcome.blocks += 1
            outcome.lost += not block.delivered
        else:
            block.held = block.transmissions == MAX_TRANSMISSIONS - 1
            self._repeats.append(block)


class Seer(ABC):
    """Sees each frame before it is sent: no policy, but a bound for them.

    Args:
        scenario: the link.
        choices: what from.
    """

    name: str

    def __init__(self, scenario: Scenario, choices: Choices):
        self._choices = choices
        ranked = [(mcs, rank) for mcs in range(len(MCS_TABLE)) for rank in scenario.ranks]
        self._largest_first = sorted(ranked, key=lambda choice: -self._bytes(*choice))

    def _bytes(self, mcs: int, rank: int) -> int:
        return int(self._choices.block_bytes[rank - 1, mcs])

    @abstractmethod
    def choose(self, frame: SimulatedFrame) -> tuple[int, int]:
        """MCS and rank of a new transport block in this frame."""


class Genie(Seer):
    """Knows of each frame what it carries, and takes the most: nothing that sends in single transmissions is better."""

    name = "genie"

    def choose(self, frame: SimulatedFrame) -> tuple[int, int]:
        """The greatest transport block that is decoded; the most robust one where none is."""
        rates = self._choices.curves.block_error_rate(frame.snrs_db)  # (ranks, MCSs)
        for mcs, rank in self._largest_first:
            if rates[rank - 1, mcs] < 1 - MISSING and frame.decodes(mcs, rank):
                return mcs, rank
        return self._largest_first[-1]


class ChannelOracle(Seer):
    """Knows the channel of each frame, but not the noise: it sends the frame with other noise, and takes what was best.

    Nothing that chooses before the noise is there can do better in single transmissions, but by chance.
    """

    name = "channel"

    def choose(self, frame: SimulatedFrame) -> tuple[int, int]:
        """The most bytes per frame, with a repeat for each transmission that fails."""
        tries = [frame.with_other_noise(index) for index in range(REHEARSALS)]
        best, most = self._largest_first[-1], 0.0
        rates = self._choices.curves.block_error_rate(np.mean([one.snrs_db for one in tries], axis=0))
        for mcs, rank in self._largest_first:
            if self._bytes(mcs, rank) <= most:
                break
            if rates[rank - 1, mcs] < 1 - MISSING:
                right = float(np.mean([one.decodes(mcs, rank) for one in tries]))
                count = self._bytes(mcs, rank) / (2 - right) if right >= 0.5 else self._bytes(mcs, rank) * right
                if count > most:
                    best, most = (mcs, rank), count
        return best


class Oracle(Seer):
    """Knows the effective SNRs of each frame that it sends, but not the noise: a loop without delay."""

    name = "oracle"

    def choose(self, frame: SimulatedFrame) -> tuple[int, int]:
        """The best by the frame's own report."""
        return self._choices.best(frame.snrs_db)


SEEING: dict[str, type[Seer]] = {seer.name: seer for seer in (Oracle, ChannelOracle, Genie)}
"""Who sees the frame before it is sent: bounds, and no policies."""


def run_policies(
    scenario: Scenario,
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    num_frames: int,
    fixed: Sequence[tuple[int, int]] = (),
    choices: Choices | None = None,
    chase: bool = False,
    progress: Callable[[], object] | None = None,
) -> list[Outcome]:
    """What each policy did, on the same frames; and then each MCS and rank that never changes.

    Args:
        scenario: the link.
        names: of policies: keys of `POLICIES` and `SEEING`.
        seeds: of the channels; policies begin anew with each.
        num_frames: on each channel.
        fixed: MCS and rank of what never changes.
        choices: what policies choose from, and what they know of it; None: `Choices` of the scenario.
        chase: repeats are of redundancy version 0; otherwise of the next one.
        progress: called after each frame.

    Raises:
        ValueError: there is no such policy.
    """
    choices = choices or Choices(scenario.frame_format, ranks=scenario.ranks)
    makers: list[Callable[[], Policy | Seer]] = [
        partial(SEEING[name], scenario, choices) if name in SEEING else partial(make_policy, name, choices)
        for name in names
    ]
    makers += [partial(Fixed, choices, mcs, rank) for mcs, rank in fixed]
    outcomes = [Outcome(make().name) for make in makers]
    for seed in seeds:
        link = SimulatedLink(scenario, seed)
        sessions = [_Session(make(), scenario, chase, np.random.default_rng([seed, 1])) for make in makers]
        for number in range(num_frames):
            frame = link.frame(number)
            for session in sessions:
                session.step(frame)
            if progress:
                progress()
        for outcome, session in zip(outcomes, sessions, strict=True):
            outcome += session.outcome
    return outcomes


def expected_goodputs(
    scenario: Scenario, seeds: Sequence[int], num_frames: int, choices: Choices
) -> NDArray[np.float64]:
    """Bytes per frame that each rank and MCS would deliver with repeats, if it never changed: (num_tx, MCSs).

    It is what error curves say of some frames of each channel; ranks that are not to be sent have 0.
    """
    snrs = []
    for seed in seeds:
        link = SimulatedLink(scenario, seed)
        snrs += [link.frame(number).snrs_db for number in range(0, num_frames, max(1, num_frames // LOOKS))]
    goodputs: NDArray[np.float64] = choices.bytes_per_frame(np.array(snrs)).mean(axis=0)
    return goodputs
