# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches for the beam while frames arrive, and follows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..beams.beam_search import BeamSearch
from ..beams.planar_array import Beam, PlanarArray
from ..beams.policies import DEFAULT
from .base import KaqBlock, check_integer, dict_of
from .beam_pmt import BEAM, beam_to_pmt, parse_beam
from .counters import Counters, counter, reading

__all__ = ["beam_search"]

SAMPLE, SNR, PILOTS = pmt.intern("sample"), pmt.intern("snr"), pmt.intern("pilots")
MAX_SNR_DB = 200.0  # beyond it, no number to compute with
MAX_SAMPLES = 1 << 40


@dataclass
class SearchCounters(Counters):
    """What a `beam_search` counts."""

    pilots: int = counter("frames", "Frames whose SNR was taken as the reward of a beam.")
    ignored_frames: int = counter("frames", "Frames that began before the beam was in force and settled, or too late.")
    invalid_frames: int = counter(
        "frames", "Messages that are no frame: without a sample that has been, or a finite SNR."
    )
    missing_frames: int = counter("beams", "Beams in which no frame came in time: they count as no power.")
    unconfirmed_beams: int = counter("beams", "Beams that were sent again, as nothing said that they are in force.")
    rejected_tags: int = counter("tags", "Tags `beam` that are no beam of the array.")


class beam_search(KaqBlock[SearchCounters]):
    """Finds the beam in which frames arrive with the greatest SNR, one frame for each pilot.

    Signal model: `gr_kaq.beams.planar_array.PlanarArray`. The reward is the SNR of a frame as the channel estimation
    says it, which has the noise for reference: a power would be what the AGC makes it. A beam in which no frame is
    found has none.

    A frame counts if it began `settling` samples after its beam came into force. When that was, the tag `beam` on the
    samples says (`confirmed`), as `channel_simulator` and `beam_combiner` set it; or, with arrays that say nothing, it
    is where the samples are when the message is sent.

    Inputs: one complex port: samples of one antenna, the same that go to the receiver. They are the clock.

    Tags, read on the input: `beam`.

    Messages:
        frames (in): dicts of frames, from `mimo_receiver` or `channel_estimator`: `sample` and `snr` are used.
        beam (out): dict with `first`, `second`, `first_width`, `second_width`: the beam to use from now on.
        pilots (out): after each pilot a dict with the beam's `first`, `second`, `first_width` and `second_width`, and
            `snr` in dB, which is left out if no frame came: for a `beam_view`.
        stats (out): dict with the value of every counter, about every stats_interval_s while samples flow, and at the
            end.

    Args:
        size: elements of the array on each axis.
        policy: name of a policy, see `gr_kaq.beams.policies`; those of complex amplitudes do not work here.
        budget: frames of a search.
        tracking: whether to follow the user then, and to search anew when the SNR collapses.
        hold: frames in the beam in use between two rounds of three pilots while tracking.
        settling: samples in which an array settles.
        confirmed: whether tags say when a beam is in force.
        patience: samples to wait for a frame, or for a confirmation; more than what the flowgraph holds in its buffers.
        seed: of the policy's random choices.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        size: Sequence[int],
        policy: str = DEFAULT,
        budget: int = 64,
        *,
        tracking: bool = False,
        hold: int = 13,
        settling: int = 0,
        confirmed: bool = True,
        patience: int = 1 << 16,
        seed: int = 0,
        stats_interval_s: float = 1.0,
    ):
        self._array = PlanarArray(size[0], size[1])
        self._arguments = (policy, check_integer("budget", budget, 1, 2**31 - 1))
        self._seed = check_integer("seed", seed, 0, 2**63)
        self._tracking, self._hold = bool(tracking), check_integer("hold", hold, 0, 2**16)
        self._search = self._new_search()
        self._settling = check_integer("settling", settling, 0, MAX_SAMPLES)
        self._confirmed = bool(confirmed)
        self._patience = check_integer("patience", patience, 1, MAX_SAMPLES)
        self._asked: Beam | None = None
        self._since: int | None = None  # the first sample whose frame counts; None: the beam is not in force yet
        self._now = self._asked_at = 0
        super().__init__("KAQ beam search", [np.complex64], [])
        self.message_port_register_out(BEAM)
        self.message_port_register_out(PILOTS)
        self.message_port_register_in(pmt.intern("frames"))
        self.set_msg_handler(pmt.intern("frames"), self.handle_frame)
        self.announce_stats(stats_interval_s)

    def begin(self) -> None:
        """Called when the flowgraph starts: the search begins anew, as samples are counted from 0."""
        self._search = self._new_search()
        self._asked, self._since = None, None
        self._now = self._asked_at = 0
        self._ask()

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """See which beam is in force, and how long nothing came."""
        count = len(input_items[0])
        for tag in self.get_tags_in_window(0, 0, count):
            if tag.key is not None and pmt.eq(tag.key, BEAM):
                self._in_force(tag)
        self._now = self.nitems_read(0) + count
        if self._since is None and self._now - self._asked_at > self._patience:
            self.counters.unconfirmed_beams += 1
            self.warn_once("unconfirmed", "nothing says that a beam is in force: is the array there? It is sent again")
            self._send()
        elif self._since is not None and not self._search.done and self._now - self._since > self._patience:
            self.counters.missing_frames += 1
            self.warn_once("missing", "no frame came in time in a beam, which counts as no power; said once")
            self._since = self._now
            self._observe(None)
        self.publish_stats()
        return count

    def handle_frame(self, message: Any) -> None:
        """A message on port `frames`."""
        try:
            sample, reward = _parse_frame(message, self._now + self._patience)
        except ValueError as error:
            self.counters.invalid_frames += 1
            self.warn_once("frame", f"a frame is ignored: {error}")
            return
        except Exception as error:
            self.failed(error)
            return
        if self._search.done:
            return
        if self._since is None or sample < self._since:
            self.counters.ignored_frames += 1
            return
        self.counters.pilots += 1
        self._since = sample + 1
        self._observe(reward)

    def _observe(self, reward: float | None) -> None:
        pilot = beam_to_pmt(self._search.next_beam())
        if reward is not None:
            pilot = pmt.dict_add(pilot, SNR, pmt.from_double(10 * math.log10(reward)))
        self.message_port_pub(PILOTS, pilot)
        self._search.observe(reward)
        self._ask()

    def _ask(self) -> None:
        """Have the next beam in force, unless it is."""
        beam = self._search.next_beam()
        if beam != self._asked:
            self._asked = beam
            self._send()

    def _send(self) -> None:
        self._asked_at = self._now
        self._since = None if self._confirmed else self._now + self._settling
        self.message_port_pub(BEAM, beam_to_pmt(self._asked or Beam(0, 0)))

    def _in_force(self, tag: Any) -> None:
        """A tag `beam`."""
        try:
            beam = parse_beam(tag.value, self._array)
        except ValueError as error:
            self.counters.rejected_tags += 1
            self.warn_once("tag", f"a tag `beam` is ignored: {error}")
            return
        if self._confirmed and self._since is None and beam == self._asked:
            self._since = tag.offset + self._settling

    def _new_search(self) -> BeamSearch:
        policy, budget = self._arguments
        search = BeamSearch(self._array, policy, budget, seed=self._seed, tracking=self._tracking, hold=self._hold)
        if search.coherent:
            raise ValueError(f"policy is {policy}, which needs complex amplitudes; frames have powers")
        return search

    @reading("beam")
    def first(self) -> int:
        """Index on the first axis of the beam that is recommended now."""
        return self._search.recommend().first

    @reading("beam")
    def second(self) -> int:
        """Index on the second axis of the beam that is recommended now."""
        return self._search.recommend().second

    @reading("searches")
    def searches(self) -> int:
        """Searches begun: more than one where the SNR collapsed while tracking."""
        return self._search.searches

    @reading("flag")
    def searching(self) -> int:
        """Whether a search is on: 1, or 0 when it has ended, or tracks."""
        return int(self._search.searching)


def _parse_frame(message: Any, last: int) -> tuple[int, float]:
    """Sample and linear SNR of a frame.

    Args:
        message: a PMT, which may be anything.
        last: the sample by which it has to have begun. Waiting for one that is far ahead, nobody would hear the others.

    Raises:
        ValueError: it has none, or begins later.
    """
    entries = dict_of(message)
    sample, snr = (pmt.dict_ref(entries, key, pmt.PMT_NIL) for key in (SAMPLE, SNR))
    if sample is None or not (pmt.is_uint64(sample) or pmt.is_integer(sample)):
        raise ValueError("`sample` is no whole number")
    if snr is None or not pmt.is_real(snr):
        raise ValueError("`snr` is no number")
    snr_db = pmt.to_double(snr)
    if not (math.isfinite(snr_db) and abs(snr_db) <= MAX_SNR_DB):
        raise ValueError(f"`snr` is {snr_db}; a finite number of dB expected")
    number = pmt.to_uint64(sample) if pmt.is_uint64(sample) else pmt.to_long(sample)
    if number > last:
        raise ValueError(f"`sample` is {number}; at most {last} expected")
    return number, 10 ** (snr_db / 10)
