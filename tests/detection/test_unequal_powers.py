# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams of unequal power, correlated antennas, and a stream that hardly arrives, through the native kernel.

No scale may serve strong and weak streams alike: every shipped detector that says nothing else of itself is never worse
than LMMSE there, and makes at most 1.2 times the errors of its full-precision twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

import gr_kaq
from gr_kaq.channels.flat import RayleighChannels, complex_normal

VECTORS = 8


@dataclass(frozen=True)
class Case:
    """Channels, and which streams count.

    Args:
        name: of the case.
        weaker_db: by how much the last streams are weaker, the `num_weak` last.
        correlation: of neighbouring antennas, Kronecker.
        noise_db: noise below a counted stream, per receive antenna, with 16-QAM.
    """

    name: str
    noise_db: float
    weaker_db: float = 0.0
    num_weak: int = 2
    correlation: float = 0.0

    def channels(self, num_rx: int, num_tx: int, count: int) -> np.ndarray:
        h = RayleighChannels(
            num_rx, num_tx, rx_correlation=self.correlation, tx_correlation=self.correlation, seed=1
        ).draw(count)[:, 0]
        h[..., num_tx - min(self.num_weak, num_tx - 1) :] *= np.float32(10 ** (-self.weaker_db / 20))
        return h

    def counted(self, num_tx: int) -> slice:
        """The weak streams; beside one that does not arrive, the others."""
        if self.name == "near null":
            return slice(0, num_tx - 1)
        return slice(num_tx - min(self.num_weak, num_tx - 1), num_tx) if self.weaker_db else slice(0, num_tx)

    def noise_var(self, less_db: float) -> float:
        """less_db: noise for the constellation, over that for 16-QAM."""
        powers = 0.0 if self.name == "near null" else self.weaker_db
        return float(10 ** (-(powers + self.noise_db - less_db) / 10))


WEAK = [Case(f"weaker by {by} dB", 22, weaker_db=by) for by in (10, 20, 30, 40)]
CASES = [*WEAK, Case("Kronecker 0.9", 38, correlation=0.9), Case("near null", 12, weaker_db=60, num_weak=1)]
NOISE_DB = {"qpsk": 7.0, "16qam": 0.0, "64qam": -6.0, "256qam": -12.0}
"""Over that for 16-QAM, at LMMSE's BER."""
ADMM = ["admm5-qpsk", "admm5-16qam", "admm5-64qam"]
LISTS = [name for name in gr_kaq.list_detectors() if name.startswith("list") and not name.endswith("-fp")]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cache
def errors(name: str, constellation: str, size: tuple[int, int], case: Case, count: int, noisier_db: float) -> int:
    """Bit errors of a detector; all detectors see the same vectors."""
    detector = gr_kaq.load_detector(name, constellation=constellation)
    num_rx, num_tx = size
    h = case.channels(num_rx, num_tx, count)
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (count, VECTORS, num_tx, detector.constellation.bits_per_symbol))
    symbols = detector.constellation.modulate(bits.reshape(count, VECTORS, -1))
    noise_var = case.noise_var(NOISE_DB[constellation] + noisier_db)
    y = symbols @ h.swapaxes(-1, -2) + np.float32(np.sqrt(noise_var)) * complex_normal(rng, (count, VECTORS, num_rx))
    decided = detector.detect(y, h, noise_var=noise_var).llrs > 0
    return int(np.count_nonzero((decided != bits)[:, :, case.counted(num_tx)]))


def constellation_of(name: str) -> str:
    return name.removesuffix("-fp").removesuffix("-w2").rsplit("-", 1)[-1]


def compare(name: str, other: str, size: tuple[int, int], case: Case, count: int, noisier_db: float = 0.0):
    constellation = constellation_of(name)
    return [errors(which, constellation, size, case, count, noisier_db) for which in (name, other)]


@each_case
@pytest.mark.parametrize("size", [(4, 4), (8, 8)])
@pytest.mark.parametrize("name", ADMM)
def test_admm_is_never_worse_than_lmmse_and_close_to_its_twin(name, size, case):
    own, lmmse = compare(name, "lmmse", size, case, 500)
    assert lmmse > 100
    assert own < lmmse
    _, twin = compare(name, f"{name}-fp", size, case, 500)
    assert own <= 1.2 * twin + 10


@each_case
@pytest.mark.parametrize("name", ["measured-3x2-qpsk", "measured-3x2-16qam"])
def test_detectors_of_measured_channels_are_as_good_as_lmmse(name, case):
    """With two streams, LMMSE is close to optimal for the weak one: equal then, up to chance."""
    own, lmmse = compare(name, "lmmse", (3, 2), case, 3000, noisier_db=4.0)
    assert lmmse > 100
    assert own <= 1.05 * lmmse
    _, twin = compare(name, f"{name}-fp", (3, 2), case, 3000, noisier_db=4.0)
    assert own <= 1.2 * twin + 10


@pytest.mark.parametrize("case", [case for case in CASES if case.weaker_db != 40], ids=lambda case: case.name)
@pytest.mark.parametrize("size", [(4, 4), (8, 8)])
def test_two_bits_are_as_good_as_lmmse_up_to_30_db(size, case):
    own, lmmse = compare("admm5-16qam-w2", "lmmse", size, case, 500)
    assert own <= 1.05 * lmmse


@pytest.mark.parametrize(
    ("size", "case"),
    [((4, 4), case) for case in CASES] + [((8, 8), case) for case in CASES[3:]],
    ids=lambda of: of.name if isinstance(of, Case) else f"{of[0]}x{of[1]}",
)
@pytest.mark.parametrize("name", LISTS)
def test_lists_are_far_better_than_lmmse_and_close_to_their_twins(name, size, case):
    """Where LMMSE has a BER of 1e-2, a list makes no errors to compare: so with more noise."""
    own, lmmse = compare(name, "lmmse", size, case, 120, noisier_db=6.0)
    assert lmmse > 50
    assert own < lmmse
    _, twin = compare(name, f"{name}-fp", size, case, 120, noisier_db=6.0)
    assert own <= 1.2 * twin + 10
