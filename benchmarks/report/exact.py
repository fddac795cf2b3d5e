# SPDX-License-Identifier: GPL-3.0-or-later
"""What no detector can beat: exact maximum likelihood, and exact bit posteriors, behind `Detector`'s interface.

- ``exact-ml`` is IT++'s sphere decoder (`ND_UPAM::sphere_decoding`, Schnorr-Euchner search). It is exact at any SNR,
  but its time grows fast as the SNR falls: 16x16 16-QAM takes 0.3 ms per vector at 19 dB, and 1 ms at 15 dB. IT++
  (GPL-3.0) is optional.
- ``exact-map`` enumerates all candidates and sums their likelihoods: LLRs as well as they can be.
- ``exact-max-log`` enumerates, too, and takes the best candidate with each value of a bit. Its hard decisions are
  maximum likelihood.

The noise is white, CN(0, noise_var I), and the receiver knows H and noise_var. All three compute in double precision.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.detection.detector import Detector
from gr_kaq.detection.plan import Plan
from gr_kaq.detection.result import Detection, PreparedChannels
from gr_kaq.signals.constellation import Constellation, constellation_named
from gr_kaq.signals.signal_model import Noise

from .peers import PeersUnavailableError

__all__ = ["EXACT", "EXACT_MAP", "EXACT_MAX_LOG", "EXACT_ML", "MAX_CANDIDATES", "load_exact", "sphere_decoder"]

EXACT_ML, EXACT_MAP, EXACT_MAX_LOG = "exact-ml", "exact-map", "exact-max-log"
EXACT = (EXACT_ML, EXACT_MAP, EXACT_MAX_LOG)

MAX_CANDIDATES = 2**16
"""Of an enumeration: 4x4 with 16-QAM, 2x2 with 256-QAM."""
ENTRIES_AT_ONCE = 2**19
"""Metrics of an enumeration in memory, 4 MB."""
SMALLEST_DIAGONAL = 1e-6
"""Of R, relative to its largest: IT++ factorises R^T R, and would never return from a singular one."""
LARGEST_LLR = 690.0
"""Posteriors below exp(-LARGEST_LLR) are none in double precision."""


def sphere_decoder() -> Any:
    """The extension `kaq_exact_ml`, see benchmarks/exact_ml.

    Raises:
        PeersUnavailableError: it was not built.
    """
    try:
        return importlib.import_module("kaq_exact_ml")
    except ImportError as error:
        raise PeersUnavailableError(
            f"exact maximum likelihood is left out ({error}); to have it: apt-get install libitpp-dev && "
            "cmake -S . -B build && cmake --build build --target kaq_exact_ml"
        ) from None


def load_exact(name: str, constellation: str) -> Detector:
    """One of `EXACT` for a constellation.

    Raises:
        ValueError: no such detector or constellation.
        PeersUnavailableError: ``exact-ml`` without IT++.
    """
    if name not in EXACT:
        raise ValueError(f"no exact detector {name!r}; one of {', '.join(EXACT)} expected")
    carried = constellation_named(constellation)
    return SphereDecoder(carried, sphere_decoder()) if name == EXACT_ML else Enumeration(name, carried)


class _Exact(Detector):
    """What the detectors here have in common."""

    def check_size(self, num_rx: int, num_tx: int) -> None:
        if not num_rx >= num_tx >= 1:
            raise ValueError(f"detector {self.name} needs num_rx >= num_tx >= 1; got num_rx={num_rx}, num_tx={num_tx}")

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        return _ExactPlan(shape, self)

    @abstractmethod
    def channels(self, h: NDArray[np.complex128], noise_var: NDArray[np.float64]) -> PreparedChannels:
        """Prepare h (C, num_rx, num_tx) with noise_var (C,)."""


class _ExactPlan(Plan):
    def __init__(self, shape: tuple[int, int, int], detector: _Exact):
        super().__init__(shape)
        self._detector = detector

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        _, noise_var = noise.over(h)
        told = np.broadcast_to(np.maximum(noise_var, 1e-12), (len(h),))
        return self._detector.channels(h.astype(np.complex128), told)


class SphereDecoder(_Exact):
    """Exact maximum likelihood: x with the least ||y - H x||.

    IT++ implements Agrell, Eriksson, Vardy, Zeger: "Closest point search in lattices", IEEE Trans. IT 48(8), 2002, with
    the constellation's bounds. It is handed R of H = Q R with the columns in the order of the sorted decomposition of
    Wübben et al., "MMSE extension of V-BLAST based on sorted QR decomposition", VTC 2003, and the distance of what
    successive cancellation decides as its first radius. Neither changes the result, both save time.

    Its LLRs are 1 or -1: the decisions.

    Args:
        constellation: what every stream carries.
        extension: the module `kaq_exact_ml`.
    """

    def __init__(self, constellation: Constellation, extension: Any):
        self.name, self.constellation, self._extension = EXACT_ML, constellation, extension

    def channels(self, h: NDArray[np.complex128], noise_var: NDArray[np.float64]) -> PreparedChannels:
        return _SphereChannels(self.constellation, self._extension, h, noise_var)


class _SphereChannels(PreparedChannels):
    def __init__(
        self,
        constellation: Constellation,
        extension: Any,
        h: NDArray[np.complex128],
        noise_var: NDArray[np.float64],
    ):
        self._constellation, self._extension = constellation, extension
        self._order = sorted_order(h, noise_var)
        self._noise_var = noise_var
        h = constellation.half_distance * np.take_along_axis(h, self._order[:, None, :], axis=2)
        q, r = np.linalg.qr(h)
        phase = np.exp(1j * np.angle(np.diagonal(r, axis1=1, axis2=2)))
        self._filters = (q * phase[:, None, :]).conj()  # y @ this is (Q^H y)^T
        self._r = r * phase.conj()[:, :, None]
        diagonal = np.diagonal(self._r, axis1=1, axis2=2).real
        floor = SMALLEST_DIAGONAL * np.maximum(diagonal.max(axis=1, keepdims=True), 1e-30)
        self._r += np.maximum(floor - diagonal, 0)[:, :, None] * np.eye(h.shape[2])
        gram = h.conj().swapaxes(1, 2) @ h
        power = noise_var[:, None, None] * constellation.half_distance**2 * np.eye(h.shape[2])
        lower = np.linalg.cholesky(gram + power)
        self._regularised = lower.conj().swapaxes(1, 2)
        self._to_regularised = np.linalg.solve(lower, self._r.conj().swapaxes(1, 2))

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        received = y @ self._filters
        finite = np.isfinite(received).all(axis=-1)
        received[~finite] = 0
        start = self._successive_cancellation(received)
        distance = np.linalg.norm(received - start @ self._r.swapaxes(1, 2), axis=-1)
        levels = self._extension.sphere_decode(
            _real_matrix(self._r), _real_vector(received), distance * (1 + 1e-6) + 1e-9, self._constellation.num_levels
        )
        decided = levels[..., 0::2] + 1j * levels[..., 1::2]
        symbols = np.empty(decided.shape, np.complex64)
        np.put_along_axis(symbols, self._order[:, None, :], self._constellation.half_distance * decided, axis=2)
        bits = self._constellation.decide(symbols).reshape(*symbols.shape, -1)
        llrs = 2 * bits.astype(np.float32) - 1
        symbols[~finite], llrs[~finite] = 0, 0
        return Detection(symbols, llrs, int(np.count_nonzero(~finite)))

    def _successive_cancellation(self, received: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Odd levels (C, T, num_tx) that MMSE successive cancellation decides, the last column first."""
        z = received @ self._to_regularised.swapaxes(1, 2)
        r = self._regularised
        highest = self._constellation.num_levels - 1
        decided = np.zeros_like(z)
        for i in range(z.shape[-1] - 1, -1, -1):
            diagonal = r[:, i, i].real[:, None]
            bias = 1 - (self._noise_var * self._constellation.half_distance**2)[:, None] / diagonal**2
            rest = z[..., i] - np.einsum("cj,ctj->ct", r[:, i, i + 1 :], decided[..., i + 1 :])
            estimate = rest / (diagonal * np.maximum(bias, 1e-6))
            parts = np.stack([estimate.real, estimate.imag])
            odd = np.clip(2 * np.rint((parts + highest) / 2) - highest, -highest, highest)
            decided[..., i] = odd[0] + 1j * odd[1]
        return decided


def sorted_order(h: NDArray[np.complex128], noise_var: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order of the columns of h (C, num_rx, num_tx) for a search from the last to the first: (C, num_tx).

    Sorted Gram-Schmidt of [H; sqrt(noise_var) I]: each step takes the column with the least remaining norm.
    """
    count, _, num_tx = h.shape
    identity = np.broadcast_to(np.eye(num_tx), (count, num_tx, num_tx))
    rest = np.concatenate([h, np.sqrt(noise_var)[:, None, None] * identity], axis=1)
    order = np.empty((count, num_tx), np.intp)
    taken = np.zeros((count, num_tx), bool)
    each = np.arange(count)
    for step in range(num_tx):
        norms = np.where(taken, np.inf, np.sum(np.abs(rest) ** 2, axis=1))
        order[:, step] = norms.argmin(axis=1)
        taken[each, order[:, step]] = True
        unit = rest[each, :, order[:, step]]
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        rest = rest - unit[:, :, None] * np.einsum("ci,cij->cj", unit.conj(), rest)[:, None, :]
    return order


def _real_matrix(r: NDArray[np.complex128]) -> NDArray[np.float64]:
    """(C, n, n) to (C, 2n, 2n): each entry becomes [[re, -im], [im, re]], so that a triangle remains one."""
    blocks = np.array([[r.real, -r.imag], [r.imag, r.real]])  # (2, 2, C, n, n)
    return np.ascontiguousarray(blocks.transpose(2, 3, 0, 4, 1)).reshape(len(r), 2 * r.shape[1], 2 * r.shape[2])


def _real_vector(z: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.ascontiguousarray(z).view(np.float64)


class Enumeration(_Exact):
    """Exact posteriors of the bits: the likelihoods of all candidates, summed (``exact-map``) or maximised.

    LLR = ln sum_{x: b=1} exp(-||y - H x||^2 / noise_var) - ln sum_{x: b=0} of the same; with the maximum in place of
    the sum, max-log. Hochwald and ten Brink, "Achieving near-capacity on a multiple-antenna channel", IEEE Trans.
    Commun. 51(3), 2003, equations 5 to 9. Its symbols are the decisions of its LLRs.

    Args:
        name: ``exact-map`` or ``exact-max-log``.
        constellation: what every stream carries.
    """

    def __init__(self, name: str, constellation: Constellation):
        self.name, self.constellation = name, constellation

    def check_size(self, num_rx: int, num_tx: int) -> None:
        super().check_size(num_rx, num_tx)
        if self.constellation.bits_per_symbol * num_tx > np.log2(MAX_CANDIDATES):
            raise ValueError(
                f"detector {self.name} enumerates at most {MAX_CANDIDATES} candidates; {num_tx} streams of "
                f"{self.constellation.name} have more"
            )

    def channels(self, h: NDArray[np.complex128], noise_var: NDArray[np.float64]) -> PreparedChannels:
        return _EnumeratedChannels(self.constellation, h, noise_var, self.name == EXACT_MAX_LOG)


class _EnumeratedChannels(PreparedChannels):
    """The streams in two halves: ||y - H x||^2 = f(first) + g(second) + product(first, second) + const.

    The product does not depend on y, and f and g have only as many values as one half has candidates.
    """

    def __init__(
        self, constellation: Constellation, h: NDArray[np.complex128], noise_var: NDArray[np.float64], max_log: bool
    ):
        self._constellation, self._max_log, self._noise_var = constellation, max_log, noise_var
        num_tx = h.shape[2]
        parts = h[:, :, : num_tx // 2], h[:, :, num_tx // 2 :]
        self._labels = [_labels(constellation, part.shape[2]) for part in parts]
        candidates = [constellation.modulate(bits).astype(np.complex128) for bits in self._labels]
        self._sent = [part @ points.T for part, points in zip(parts, candidates, strict=True)]  # (C, num_rx, N)

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        channels, vectors, _ = y.shape
        finite = np.isfinite(y).all(axis=-1)
        received = np.where(finite[..., None], y, 0).astype(np.complex128)
        bits = sum(labels.shape[1] for labels in self._labels)
        llrs = np.empty((channels, vectors, bits))
        per_channel = vectors * self._labels[0].shape[0] * self._labels[1].shape[0]
        step = max(1, ENTRIES_AT_ONCE // per_channel)
        for start in range(0, channels, step):
            part = slice(start, start + step)
            metric = self._metric(part, received[part])
            llrs[part] = np.concatenate([self._llrs(metric, half) for half in (0, 1)], axis=-1)
        shape = (channels, vectors, -1, self._constellation.bits_per_symbol)
        llrs[~finite] = 0
        symbols = self._constellation.modulate(llrs > 0)
        symbols[~finite] = 0
        return Detection(symbols, llrs.reshape(shape).astype(np.float32), int(np.count_nonzero(~finite)))

    def _metric(self, part: slice, y: NDArray[np.complex128]) -> NDArray[np.float64]:
        """-||y - H x||^2 / noise_var (C, T, N first, N second), less the largest of each vector."""
        first, second = (sent[part] for sent in self._sent)
        scale = 1 / self._noise_var[part][:, None, None]
        product = 2 * scale * (first.conj().swapaxes(1, 2) @ second).real
        f, g = (
            scale * (np.sum(np.abs(sent) ** 2, axis=1)[:, None] - 2 * (y.conj() @ sent).real)
            for sent in (first, second)
        )
        metric = f[..., :, None] + product[:, None]
        metric += g[..., None, :]
        np.negative(metric, out=metric)
        metric -= metric.max(axis=(-2, -1), keepdims=True)
        return metric if self._max_log else np.exp(metric, out=metric)

    def _llrs(self, metric: NDArray[np.float64], half: int) -> NDArray[np.float64]:
        """LLRs (C, T, bits) of the bits of one half of the streams."""
        labels = self._labels[half].astype(bool)
        if self._max_log:
            best = metric.max(axis=-1 if half == 0 else -2)
            masked = [np.where(bit == labels.T, best[..., None, :], -np.inf).max(axis=-1) for bit in (True, False)]
            return masked[0] - masked[1]
        likelihood = metric.sum(axis=-1 if half == 0 else -2)
        smallest = np.exp(-LARGEST_LLR)
        ones, zeros = (np.maximum(likelihood @ chosen, smallest) for chosen in (labels, ~labels))
        return np.log(ones) - np.log(zeros)


def _labels(constellation: Constellation, num_streams: int) -> NDArray[np.uint8]:
    """Bits of all candidates of some streams: (candidates, num_streams * bits_per_symbol)."""
    bits = num_streams * constellation.bits_per_symbol
    return (np.arange(2**bits)[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)
