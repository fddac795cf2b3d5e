# SPDX-License-Identifier: GPL-3.0-or-later
"""Sionna's MIMO detectors behind `gr_kaq.detection.detectors.Detector`, so that they see the same transmissions.

Sionna (Apache-2.0) is an optional dependency: `pip install --no-deps sionna-no-rt==2.2.0 importlib_resources`, next to
torch. Without `--no-deps` pip would fetch NumPy 2, with which GNU Radio 3.10 does not load; these parts of Sionna run
with NumPy 1.24. The detectors are used as they ship (`sionna.phy.mimo`), with three things to know:

- K-best runs in its complex form; `use_real_rep=True` scales 16-QAM points by sqrt(3/4) in Sionna 2.2.
- K-best detects the stream with the weakest column first. `sionna-kbest64-reversed` is the same with the strongest one
  first, which comes close to maximum likelihood.
- A peer that has only LLRs to say is given the hard decisions as its symbols. K-best's LLRs take most of its time;
  where nobody looks at them, it decides itself, which is the same (`hard`).

They compute on the first GPU where torch sees one. Its sums are rounded differently: the decision of a vector that is
close to a border may differ from that of a CPU.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.detection.detector import Detector
from gr_kaq.detection.plan import Plan
from gr_kaq.detection.result import Detection, PreparedChannels
from gr_kaq.signals.constellation import Constellation, constellation_named
from gr_kaq.signals.signal_model import Noise

__all__ = ["CPU", "PEERS", "SIONNA_VERSION", "PeersUnavailableError", "device", "load_peer", "sionna_module"]

SIONNA_VERSION = "2.2.0"
CPU = "cpu"
VECTORS_ON_CPU = 2048  # EP's matrices of so many vectors fit the processor's caches and little memory
VECTORS_ON_GPU = 32768  # 2 GiB at most, by K-best 64 at 16x16


class PeersUnavailableError(RuntimeError):
    """Sionna or torch is missing; the message says what to install."""


def sionna_module(name: str) -> Any:
    """Import `sionna.phy.NAME`.

    Raises:
        PeersUnavailableError: it, or what it needs, is not installed.
    """
    try:
        return importlib.import_module(f"sionna.phy.{name}")
    except ImportError as error:
        raise PeersUnavailableError(
            f"Sionna's detectors and decoders are left out ({error}); to have them: "
            f"pip install torch && pip install --no-deps sionna-no-rt=={SIONNA_VERSION} importlib_resources"
        ) from None


def device() -> str:
    """Where the peers compute, in torch's words: the first GPU that it sees, or else the CPU."""
    return "cuda:0" if importlib.import_module("torch").cuda.is_available() else CPU


def load_peer(name: str, constellation: str, hard: bool = False) -> Detector:
    """One of `PEERS` for a constellation, on `device`.

    Args:
        name: of the peer.
        constellation: "qpsk", "16qam", ...
        hard: LLRs may be 1 or -1, the decisions, where that takes less time.

    Raises:
        ValueError: no such peer or constellation.
        PeersUnavailableError: Sionna is not installed.
    """
    if name not in PEERS:
        raise ValueError(f"no peer {name!r}; one of {', '.join(PEERS)} expected")
    return SionnaDetector(name, constellation_named(constellation), sionna_module("mimo"), hard, device())


class SionnaDetector(Detector):
    """A detector of `sionna.phy.mimo` in single precision.

    Args:
        name: one of `PEERS`.
        constellation: what every stream carries.
        mimo: the module `sionna.phy.mimo`.
        hard: see `load_peer`.
        device: where it computes.
    """

    def __init__(self, name: str, constellation: Constellation, mimo: Any, hard: bool, device: str):
        self.name, self.constellation = name, constellation
        self._peer, self._mimo, self._hard, self._device = PEERS[name], mimo, hard, device
        self._made: dict[int, OnDevice] = {}  # by num_tx, which K-best has to know

    def check_size(self, num_rx: int, num_tx: int) -> None:
        if not num_rx >= num_tx >= 1:
            raise ValueError(f"detector {self.name} needs num_rx >= num_tx >= 1; got num_rx={num_rx}, num_tx={num_tx}")

    def on_device(self, num_tx: int) -> OnDevice:
        """Sionna's detector itself, made once for each number of streams."""
        if num_tx not in self._made:
            options = {"num_bits_per_symbol": self.constellation.bits_per_symbol, "device": self._device}
            detector = self._peer.make(self._mimo, num_tx, self._hard, options)
            self._made[num_tx] = OnDevice(detector, self._device, self._peer.prior)
        return self._made[num_tx]

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        return _SionnaPlan(self.constellation, self.on_device(shape[-1]), shape)


class OnDevice:
    """One of Sionna's detectors: from NumPy to where it computes.

    Args:
        detector: of y, h, the covariance, and `prior`'s LLRs.
        device: where it was made.
        prior: whether it takes LLRs that are known before.
    """

    def __init__(self, detector: Any, device: str, prior: bool):
        self._detector, self._device, self._prior = detector, device, prior
        self.vectors_per_call = VECTORS_ON_CPU if device == CPU else VECTORS_ON_GPU

    def __call__(self, y: NDArray[np.complex64], h: NDArray[np.complex64], bits_per_symbol: int) -> Any:
        """LLRs (vectors, num_tx, bits_per_symbol), there, of y (vectors, num_tx) and h (vectors, num_tx, num_tx)."""
        torch = importlib.import_module("torch")
        covariance = torch.eye(y.shape[1], dtype=torch.complex64, device=self._device).expand(len(y), -1, -1)
        arguments = [torch.from_numpy(y).to(self._device), torch.from_numpy(h).to(self._device), covariance]
        if self._prior:
            arguments.append(torch.zeros((*y.shape, bits_per_symbol), device=self._device))
        # K-best's LLRs would be compiled otherwise, which takes longer than a short run
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            return self._detector(*arguments)


class _SionnaPlan(Plan):
    def __init__(self, constellation: Constellation, detector: OnDevice, shape: tuple[int, int, int]):
        super().__init__(shape)
        self._constellation, self._detector = constellation, detector

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        _, noise_var = noise.over(h)
        return _SionnaChannels(self._constellation, self._detector, h, noise_var)


class _SionnaChannels(PreparedChannels):
    """Sionna has no form in which vectors share a channel: H is repeated for each of them.

    y = H x + n is handed over as Q^H y = R x + Q^H n with H = Q R, divided by the noise's standard deviation. That is a
    sufficient statistic with white noise again, and spares Sionna a num_rx x num_rx noise covariance per vector.
    """

    def __init__(
        self,
        constellation: Constellation,
        detector: OnDevice,
        h: NDArray[np.complex64],
        noise_var: NDArray[np.float64],
    ):
        q, r = np.linalg.qr(h.astype(np.complex128))
        scale = 1 / np.sqrt(np.maximum(noise_var, 1e-12))[:, None, None]
        self._filters = (q.conj() * scale).astype(np.complex64)  # (C, num_rx, num_tx): y @ this is (Q^H y)^T
        self._r = (r * scale).astype(np.complex64)
        self._constellation, self._detector = constellation, detector

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        num_tx = self._r.shape[-1]
        num_vectors = y.shape[1]
        received = (y @ self._filters).reshape(-1, num_tx)
        finite = np.isfinite(received).all(axis=-1)
        received[~finite] = 0
        llrs = np.empty((len(received), num_tx, self._constellation.bits_per_symbol), np.float32)
        for start in range(0, len(received), self._detector.vectors_per_call):
            part = slice(start, min(start + self._detector.vectors_per_call, len(received)))
            channel = np.arange(part.start, part.stop) // num_vectors
            llrs[part] = self._detector(received[part], self._r[channel], llrs.shape[-1]).cpu().numpy()
        llrs[~finite] = 0
        bits = (llrs > 0).astype(np.uint8)
        symbols = self._constellation.modulate(bits.reshape(len(bits), -1))
        symbols[~finite] = 0
        shape = (*y.shape[:2], num_tx)
        return Detection(symbols.reshape(shape), llrs.reshape(*shape, -1), int(np.count_nonzero(~finite)))


@dataclass(frozen=True)
class Peer:
    """How one of Sionna's detectors is made.

    Args:
        make: of the module, num_tx, whether decisions are enough, and num_bits_per_symbol and device by name.
        prior: whether it takes LLRs that are known before.
    """

    make: Callable[[Any, int, bool, dict[str, Any]], Any]
    prior: bool = False


def _k_best(k: int, reverse: bool = False) -> Peer:
    return Peer(functools.partial(_make_k_best, k, reverse))


def _make_k_best(k: int, reverse: bool, mimo: Any, num_tx: int, hard: bool, options: dict[str, Any]) -> Any:
    kind = _reversed_k_best(mimo) if reverse else mimo.KBestDetector
    detector = kind("bit", num_tx, k, hard_out=hard, constellation_type="qam", **options)
    return (lambda *arguments: 2 * detector(*arguments) - 1) if hard else detector


def _reversed_k_best(mimo: Any) -> Any:
    """Sionna's K-best with the order of its columns reversed: the strongest is detected first."""
    torch = importlib.import_module("torch")

    class ReversedKBest(mimo.KBestDetector):
        def _preprocessing(self, y: Any, h: Any, s: Any) -> tuple[Any, Any, Any]:
            # as KBestDetector's own of Sionna 2.2, for noise that is white already, but for `descending`
            order = (h.abs() ** 2).sum(dim=-2).argsort(dim=-1, descending=False)
            h = torch.gather(h, -1, order.unsqueeze(-2).expand_as(h))
            lower, _ = torch.linalg.cholesky_ex(h.mH @ h)
            matched = h.mH @ y.unsqueeze(-1)
            return torch.linalg.solve_triangular(lower, matched, upper=False).squeeze(-1), lower.mH, order

    return ReversedKBest


PEERS = {
    "sionna-lmmse": Peer(
        lambda mimo, num_tx, hard, options: mimo.LinearDetector(
            "lmmse", "bit", "maxlog", constellation_type="qam", **options
        )
    ),
    "sionna-ep10": Peer(lambda mimo, num_tx, hard, options: mimo.EPDetector("bit", l=10, **options)),
    "sionna-mmse-pic3": Peer(
        lambda mimo, num_tx, hard, options: mimo.MMSEPICDetector(
            "bit", num_iter=3, constellation_type="qam", **options
        ),
        prior=True,
    ),
    "sionna-kbest16": _k_best(16),
    "sionna-kbest64": _k_best(64),
    "sionna-kbest64-reversed": _k_best(64, reverse=True),
}
"""Peers by name, quickest first but for K-best 16."""
