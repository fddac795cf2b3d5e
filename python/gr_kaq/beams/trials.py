# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches by the thousand on simulated channels: how often the best beam is found, and what is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .beam_search import BeamSearch
from .planar_array import Beam, PlanarArray
from .policies import DEFAULT, POLICIES
from .tracking import PILOTS

__all__ = ["Outcome", "SimulatedUsers", "Tracked", "is_unimodal", "run_search", "run_searches", "run_tracking"]

FOUND_SNR = 1e4  # without noise


class SimulatedUsers:
    """Channels of users, and rewards of pilots on them.

    Args:
        array: of the receiver.
        channels: (users, N), of mean power 1 per element.
        snr_db: of a narrow beam at alignment with a plane wave.
    """

    def __init__(self, array: PlanarArray, channels: NDArray[np.complexfloating], snr_db: float):
        self.array, self._channels = array, channels
        self._scale = np.float32(10 ** (snr_db / 20))
        self._amplitudes: dict[tuple[int, int], NDArray[np.complex64]] = {}
        self.gains = np.abs(self.of_width(1, 1)) ** 2 / self._scale**2
        """Of the narrow beams, (users, num_first, num_second): 1 at alignment."""

    def of_width(self, first: int, second: int) -> NDArray[np.complex64]:
        """Amplitudes of all beams of this width in units of the noise, (users, num_first, num_second)."""
        if (first, second) not in self._amplitudes:
            beams = self.array.narrow_beams()
            beams[:, 2:] = first, second
            amplitudes = self._scale * self._channels @ self.array.weights(beams).T
            self._amplitudes[first, second] = amplitudes.reshape(-1, *self.array.shape)
        return self._amplitudes[first, second]

    def rewards(self, user: int, beams: NDArray[np.integer], rng: np.random.Generator, coherent: bool) -> NDArray:
        """Of pilots in these beams (n, 4)."""
        received = rng.standard_normal((len(beams), 2)).view(np.complex128)[:, 0] * np.sqrt(0.5)
        first, second = beams[0, 2:]
        if (beams[:, 2:] == (first, second)).all():
            received += self.of_width(int(first), int(second))[user, beams[:, 0], beams[:, 1]]
        else:
            for number, (i, j, first, second) in enumerate(beams.tolist()):
                received[number] += self.of_width(first, second)[user, i, j]
        return received if coherent else np.abs(received) ** 2 - 1


@dataclass(frozen=True)
class Outcome:
    """Of searches, (users,) each.

    Attributes:
        wrong: whether another beam than the best was taken.
        gain: of the beam that was taken; 1 at alignment.
        best_gain: of the best one.
        pilots: that were used.
    """

    wrong: NDArray[np.bool_]
    gain: NDArray[np.floating]
    best_gain: NDArray[np.floating]
    pilots: NDArray[np.int_]

    @property
    def gain_loss_db(self) -> float:
        """Mean gain that the best beams have over mean gain that those taken have, in dB."""
        return float(10 * np.log10(self.best_gain.mean() / max(self.gain.mean(), 1e-30)))

    @property
    def mean_loss_db(self) -> float:
        """Mean over the users of their loss in dB, at most 40 each: a user in a null would outweigh all others."""
        return float(np.minimum(10 * np.log10(self.best_gain / np.maximum(self.gain, 1e-30)), 40).mean())


def run_search(
    users: SimulatedUsers, user: int, policy: str, budget: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.int_]], tuple[int, int]]:
    """One search for one user: the beams (n, 4) of each of its rounds, and the one that it takes."""
    chosen, rounds = POLICIES[policy], []
    search = chosen.search(users.array, budget, rng)
    try:
        beams = next(search)
        while True:
            rounds.append(beams)
            beams = search.send(users.rewards(user, beams, rng, chosen.coherent))
    except StopIteration as stop:
        return rounds, stop.value


def run_searches(users: SimulatedUsers, policy: str, budget: int, seed: int) -> Outcome:
    """One search for each user."""
    count = len(users.gains)
    taken, pilots = np.empty((count, 2), int), np.zeros(count, int)
    for user in range(count):
        rounds, taken[user] = run_search(users, user, policy, budget, np.random.default_rng((seed, user)))
        pilots[user] = sum(len(beams) for beams in rounds)
    gain = users.gains[np.arange(count), taken[:, 0], taken[:, 1]]
    best = users.gains.max((1, 2))
    return Outcome(gain < best, gain, best, pilots)


@dataclass(frozen=True)
class Tracked:
    """Of users who were followed.

    Attributes:
        loss_db: against the best beam, (users, frames).
        gain_db: of the beam in use, (users, frames).
        lost: how often each user was lost and searched for, (users,).
    """

    loss_db: NDArray[np.floating]
    gain_db: NDArray[np.floating]
    lost: NDArray[np.int_]


def run_tracking(
    array: PlanarArray, users: int, frames: int, degrees_per_frame: float, snr_db: float, seed: int
) -> Tracked:
    """Follow users on straight lines, with three pilots in each frame; a search without noise has found them.

    Users move in any direction, and turn around 60 degrees from broadside. In each frame the pilots come first, and
    then the beam in use is compared with the best one. Who is lost is searched for, by the default policy, with a
    quarter of a pilot for each beam, three pilots in each frame. Line of sight only.
    """
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-50, 50, (users, 1, 2))
    ways = rng.uniform(0, 2 * np.pi, (users, 1))
    steps = np.stack([np.cos(ways), np.sin(ways)], -1) * degrees_per_frame * np.arange(frames)[:, None]
    angles = 60 - np.abs((angles + steps + 60) % 240 - 120)  # a triangle between -60 and 60
    frequencies = array.frequencies(angles)
    all_weights = array.weights(array.narrow_beams()).T
    budget = max(array.num_beams // 4, POLICIES[DEFAULT].least_budget(array))
    scale = 10 ** (snr_db / 20)
    loss_db, gain_db, lost = np.empty((users, frames)), np.empty((users, frames)), np.empty(users, int)
    for user in range(users):
        waves = array.steering(frequencies[user])
        gains = np.abs(waves @ all_weights).reshape(frames, *array.shape) ** 2
        search = BeamSearch(array, budget=budget, tracking=True)
        while search.searching:
            search.observe(FOUND_SNR * _power(array, waves[0], search.next_beam()))
        noise = rng.standard_normal((frames, PILOTS, 2)).view(np.complex128)[..., 0] * np.sqrt(0.5)
        for frame in range(frames):
            for pilot in noise[frame]:
                beam = search.next_beam()
                narrow = beam[2:] == (1, 1)
                power = gains[frame, beam.first, beam.second] if narrow else _power(array, waves[frame], beam)
                amplitude = scale * math.sqrt(power)
                search.observe(float(np.abs(amplitude + pilot) ** 2 - 1))
            used = search.recommend()
            got, best = gains[frame, used.first, used.second], gains[frame].max()
            loss_db[user, frame] = 10 * np.log10(best / max(got, 1e-30))
            gain_db[user, frame] = 10 * np.log10(max(got, 1e-30))
        lost[user] = search.searches - 1
    return Tracked(loss_db, gain_db, lost)


def _power(array: PlanarArray, wave: NDArray[np.complexfloating], beam: Beam) -> float:
    return float(np.abs(array.weights(np.array([beam]))[0] @ wave) ** 2)


def is_unimodal(amplitudes: NDArray[np.complexfloating]) -> NDArray[np.bool_]:
    """Whether the powers (..., beams), counted on a circle, rise to one maximum and fall from there."""
    powers = np.abs(amplitudes) ** 2
    return ((powers > np.roll(powers, 1, -1)) & (powers > np.roll(powers, -1, -1))).sum(-1) == 1
