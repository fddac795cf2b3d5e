# SPDX-License-Identifier: GPL-3.0-or-later
"""The NumPy API: load a detector by name, detect vectors that share a channel.

    det = gr_kaq.load_detector("admm5-16qam")
    out = det.detect(y, h, snr_db=20)

`Detector.prepare` does what a channel estimate needs once; `PreparedChannels` then detects any number of vectors. For
estimate after estimate of one size, `Detector.plan` has the buffers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..native import selected_instruction_set
from ..signals.constellation import Constellation, constellation_named
from ..signals.signal_model import snr_and_noise_var
from . import full_precision, integer_reference, linear, model_file
from .model_file import DetectorModel
from .native_kernel import NativeChannels, NativePlan
from .preparation import Preparation, output_error, prepare
from .quantization import quantize_channels, quantize_estimates, quantize_matched, state_unit
from .result import Detection, PreparedChannels

__all__ = ["LINEAR_DETECTORS", "Detector", "Plan", "UnfoldedDetector", "list_detectors", "load_detector", "load_model"]

LINEAR_DETECTORS = {"lmmse": linear.lmmse, "zf": linear.zero_forcing}
BACKENDS = ("native", "reference")


class Detector(ABC):
    """A MIMO detector for y = H x + n; see `signal_model` for the signal model and the SNR.

    Attributes:
        name: as given to `load_detector`, or the model's own name.
        constellation: what every stream carries.
    """

    name: str
    constellation: Constellation

    @abstractmethod
    def check_size(self, num_rx: int, num_tx: int) -> None:
        """Raise ValueError unless the detector works with this number of antennas."""

    def _workspace(self, num_channels: int, num_rx: int, num_tx: int, num_threads: int) -> Any:
        """What `_prepare` can use again and again for channels of this size."""
        return None

    @abstractmethod
    def _prepare(
        self,
        h: NDArray[np.complex64],
        snr_db: NDArray[np.float64] | None,
        noise_var: NDArray[np.float64] | None,
        vectors_per_estimate: int,
        workspace: Any,
    ) -> PreparedChannels:
        """`Plan.prepare` after its arguments were checked; snr_db or noise_var is (1,) or (C,), the other None."""

    def plan(self, num_channels: int, num_rx: int, num_tx: int, *, num_threads: int = 1) -> Plan:
        """Room for channels of one size, to prepare estimate after estimate without allocating anything.

        Args:
            num_channels: C, the subcarriers of one estimate.
            num_rx, num_tx: antennas and streams.
            num_threads: threads that share the work of the native kernel; the result has the same bits.

        Raises:
            ValueError: a number is below 1, or the detector does not take this size.
        """
        if num_channels < 1 or num_threads < 1:
            raise ValueError(f"num_channels is {num_channels}, num_threads {num_threads}; at least 1 expected")
        self.check_size(num_rx, num_tx)
        workspace = self._workspace(num_channels, num_rx, num_tx, num_threads)
        return Plan(self, (num_channels, num_rx, num_tx), workspace)

    def prepare(
        self,
        h: ArrayLike,
        *,
        snr_db: ArrayLike | None = None,
        noise_var: ArrayLike | None = None,
        vectors_per_estimate: int = 1,
    ) -> PreparedChannels:
        """Do what a channel estimate needs once; `plan(...).prepare` does it again and again in the same buffers.

        Args and errors: as for `Plan.prepare`; h of any (C, num_rx, num_tx) that the detector takes.
        """
        h = np.asarray(h)
        if h.ndim != 3 or 0 in h.shape:
            raise ValueError(f"h has shape {h.shape}; (channels, num_rx, num_tx) expected")
        return self.plan(*h.shape).prepare(
            h, snr_db=snr_db, noise_var=noise_var, vectors_per_estimate=vectors_per_estimate
        )

    def detect(
        self, y: ArrayLike, h: ArrayLike, snr_db: ArrayLike | None = None, *, noise_var: ArrayLike | None = None
    ) -> Detection:
        """Detect vectors.

        Args:
            y: (..., T, num_rx), T received vectors for each channel.
            h: (..., num_rx, num_tx), one channel per leading index (subcarriers, users).
            snr_db: SNR in dB: a scalar, with the received power averaged over all channels, or (...); or
            noise_var: noise variance per receive antenna, a scalar or (...). Exactly one of the two.

        Raises:
            ValueError: a shape does not fit, a value of h, snr_db or noise_var is not finite, or the detector does not
                take this size. NaN or Inf in y is no error: see `Detection.num_invalid`.

        Example:
            >>> det = gr_kaq.load_detector("lmmse", constellation="qpsk")
            >>> det.detect(np.ones((1, 1)), np.ones((1, 1)), snr_db=10).symbols
            array([[1.+0.j]], dtype=complex64)
        """
        y, h = np.asarray(y), np.asarray(h)
        if h.ndim < 2 or y.ndim != h.ndim or y.shape[:-2] != h.shape[:-2] or y.shape[-1] != h.shape[-2]:
            raise ValueError(
                f"y has shape {y.shape} and h {h.shape}; (..., T, num_rx) and (..., num_rx, num_tx) expected"
            )
        lead = h.shape[:-2]
        count = int(np.prod(lead))

        def flat(value: ArrayLike | None) -> NDArray | None:
            value = None if value is None else np.asarray(value)
            return value.reshape(-1) if value is not None and value.shape == lead and lead else value

        num_tx, num_vectors = h.shape[-1], y.shape[-2]
        prepared = self.prepare(
            h.reshape(count, *h.shape[-2:]),
            snr_db=flat(snr_db),
            noise_var=flat(noise_var),
            vectors_per_estimate=max(1, num_vectors),
        )
        out = prepared.detect(y.reshape(count, *y.shape[-2:]).astype(np.complex64))
        return Detection(
            out.symbols.reshape(*lead, num_vectors, num_tx),
            out.llrs.reshape(*lead, num_vectors, num_tx, self.constellation.bits_per_symbol),
            out.num_invalid,
        )


class Plan:
    """A detector with room for the channels of one estimate; from `Detector.plan`. Not to be shared by threads.

        plan = detector.plan(64, 16, 16)
        for y, h in estimates:
            out = plan.prepare(h, snr_db=20).detect(y)

    Attributes:
        detector: whose it is.
        shape: (num_channels, num_rx, num_tx).
    """

    def __init__(self, detector: Detector, shape: tuple[int, int, int], workspace: Any):
        self.detector, self.shape, self._workspace = detector, shape, workspace

    def prepare(
        self,
        h: ArrayLike,
        *,
        snr_db: ArrayLike | None = None,
        noise_var: ArrayLike | None = None,
        vectors_per_estimate: int = 1,
    ) -> PreparedChannels:
        """Do what a channel estimate needs once. What was prepared before is overwritten.

        Args:
            h: (C, num_rx, num_tx), of the plan's shape.
            snr_db: SNR in dB, a scalar for all channels together or (C,); or
            noise_var: noise variance per receive antenna, a scalar or (C,). Exactly one of the two.
            vectors_per_estimate: about how many vectors will be detected for each channel. The native kernel chooses
                how it filters by it: a matter of speed, though rounding may differ.

        Raises:
            ValueError: a shape does not fit, or a value is not finite.
            RuntimeError: another thread is using the plan.
        """
        if not (isinstance(h, np.ndarray) and h.dtype == np.complex64):
            with np.errstate(over="ignore"):  # what does not fit single precision becomes Inf, and is refused as such
                h = np.asarray(h).astype(np.complex64)
        h = np.require(h, requirements=["C", "A"])
        if h.shape != self.shape:
            raise ValueError(f"h has shape {h.shape}; {self.shape} (channels, num_rx, num_tx) expected")
        if (snr_db is None) == (noise_var is None):
            raise ValueError("exactly one of snr_db and noise_var is expected")
        snr = None if snr_db is None else self._per_channel("snr_db", snr_db, -np.inf)
        noise = None if noise_var is None else self._per_channel("noise_var", noise_var, 0.0)
        return self.detector._prepare(h, snr, noise, max(1, int(vectors_per_estimate)), self._workspace)

    def _per_channel(self, name: str, value: ArrayLike, low: float) -> NDArray[np.float64]:
        """`value` as (1,) or (C,)."""
        if isinstance(value, float) and low <= value < np.inf and value > -np.inf:  # as a flowgraph gives it, quickly
            return np.array([value])
        given = np.asarray(value, np.float64)
        if given.shape not in ((), self.shape[:1]):
            raise ValueError(f"{name} has shape {given.shape}; () or {self.shape[:1]} expected")
        if not np.isfinite(given).all() or (given < low).any():
            raise ValueError(f"{name} has to be finite" + (" and not negative" if low == 0 else ""))
        return np.ascontiguousarray(np.atleast_1d(given))


def _interleave(per_dimension: NDArray, num_tx: int) -> NDArray[np.float32]:
    """(..., 2 num_tx, bits_per_dimension) -> (..., num_tx, bits_per_symbol): even bits in phase, odd quadrature."""
    in_phase, quadrature = per_dimension[..., :num_tx, :], per_dimension[..., num_tx:, :]
    bits_per_symbol = 2 * per_dimension.shape[-1]
    return np.stack([in_phase, quadrature], axis=-1).reshape(*in_phase.shape[:-1], bits_per_symbol)


def _complex(real: NDArray, num_tx: int) -> NDArray[np.complex64]:
    return (real[..., :num_tx] + 1j * real[..., num_tx:]).astype(np.complex64)


class _FloatChannels(PreparedChannels):
    """Common to everything that computes in floating point: invalid vectors, LLRs from t and its error variance."""

    def __init__(self, detector: Detector, variance: NDArray[np.float32]):
        self._constellation = detector.constellation
        self._variance = variance[:, None, :]  # (C, 1, n)

    @abstractmethod
    def _estimate(self, y: NDArray[np.complex64]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """(C, T, num_rx) -> the estimates for symbols and for LLRs, (C, T, n)."""

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        num_tx = self._variance.shape[-1] // 2
        with np.errstate(invalid="ignore", over="ignore"):
            t, soft = self._estimate(y)
        finite = np.isfinite(t).all(axis=-1) & np.isfinite(soft).all(axis=-1)
        t, soft = (np.where(finite[..., None], x, 0).astype(np.float32) for x in (t, soft))
        llrs = _interleave(full_precision.llrs(self._constellation, soft, self._variance), num_tx)
        llrs[~finite] = 0
        return Detection(_complex(t, num_tx), llrs, int(finite.size - np.count_nonzero(finite)))


class _LinearChannels(_FloatChannels):
    def __init__(self, detector: Detector, filters: NDArray[np.complex64], variance: NDArray[np.float32]):
        super().__init__(detector, np.tile(variance, 2))
        self._filters = filters.swapaxes(-1, -2)

    def _estimate(self, y: NDArray[np.complex64]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        estimates = y @ self._filters
        t = np.concatenate([estimates.real, estimates.imag], axis=-1)
        return t, t


class _FullPrecisionChannels(_FloatChannels):
    def __init__(self, detector: UnfoldedDetector, prepared: Preparation):
        with np.errstate(divide="ignore"):
            error = detector.constellation.half_distance**2 / prepared.precision
        super().__init__(detector, (error * output_error(detector.model, prepared)).astype(np.float32))
        self._model, self._prepared = detector.model, prepared

    def _estimate(self, y: NDArray[np.complex64]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        return full_precision.detect(self._model, self._prepared, y)


class _ReferenceChannels(PreparedChannels):
    def __init__(self, model: DetectorModel, prepared: Preparation):
        self._model, self._prepared = model, prepared
        self._channels = quantize_channels(model, prepared)

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        b, finite = quantize_estimates(self._model, self._prepared, y)
        matched = quantize_matched(self._model, self._prepared, y)
        t, soft = integer_reference.detect(self._model, self._channels, b, matched)
        llrs = integer_reference.llrs(self._model.constellation, soft).astype(np.float32)
        llrs *= self._channels.llr_scale[:, None, :, None]
        num_tx = b.shape[-1] // 2
        symbols = _complex(t * np.float32(state_unit(self._model)), num_tx)
        symbols[~finite] = 0
        llrs[~finite] = 0
        return Detection(symbols, _interleave(llrs, num_tx), int(finite.size - np.count_nonzero(finite)))


class LinearDetector(Detector):
    """LMMSE (``"lmmse"``) or zero forcing (``"zf"``)."""

    def __init__(self, name: str, constellation: Constellation):
        self.name, self.constellation = name, constellation
        self._filters = LINEAR_DETECTORS[name]

    def check_size(self, num_rx: int, num_tx: int) -> None:
        if num_rx < 1 or num_tx < 1 or (self.name == "zf" and num_rx < num_tx):
            need = "num_rx >= num_tx >= 1" if self.name == "zf" else "num_rx >= 1 and num_tx >= 1"
            raise ValueError(f"detector {self.name} needs {need}; got num_rx={num_rx}, num_tx={num_tx}")

    def _prepare(
        self,
        h: NDArray[np.complex64],
        snr_db: NDArray[np.float64] | None,
        noise_var: NDArray[np.float64] | None,
        vectors_per_estimate: int,
        workspace: Any,
    ) -> PreparedChannels:
        return _LinearChannels(self, *self._filters(h, snr_and_noise_var(h, snr_db, noise_var)[1]))


class UnfoldedDetector(Detector):
    """A trained network from a model file.

    Attributes:
        model: the model.
        backend: ``"native"``, ``"reference"``, or ``"float"`` for a full-precision model.
    """

    def __init__(self, model: DetectorModel, backend: str):
        self.name, self.constellation = model.name, model.constellation
        self.model = model
        self.backend = backend if model.quantized else "float"
        if self.backend == "native":
            selected_instruction_set()  # said here, and not when the first estimate arrives

    def check_size(self, num_rx: int, num_tx: int) -> None:
        self.model.check_size(num_rx, num_tx)

    def _workspace(self, num_channels: int, num_rx: int, num_tx: int, num_threads: int) -> Any:
        if self.backend != "native":
            return None
        return NativePlan(self.model, num_channels, num_rx, num_tx, num_threads=num_threads)

    def _prepare(
        self,
        h: NDArray[np.complex64],
        snr_db: NDArray[np.float64] | None,
        noise_var: NDArray[np.float64] | None,
        vectors_per_estimate: int,
        workspace: Any,
    ) -> PreparedChannels:
        if self.backend == "native":
            return NativeChannels(
                workspace, h, snr_db=snr_db, noise_var=noise_var, vectors_per_estimate=vectors_per_estimate
            )
        snr_db, noise_var = snr_and_noise_var(h, snr_db, noise_var)
        prepared = prepare(self.model, h, noise_var, snr_db)
        if self.backend == "reference":
            return _ReferenceChannels(self.model, prepared)
        return _FullPrecisionChannels(self, prepared)


def list_detectors() -> list[str]:
    """Names of the detectors that ship with the package, and of the linear baselines."""
    names = sorted(p.name.removesuffix(model_file.SUFFIX) for p in _models())
    return names + list(LINEAR_DETECTORS)


def load_detector(name: str | Path, *, backend: str = "native", constellation: str | None = None) -> Detector:
    """Load a detector.

    Args:
        name: one of `list_detectors()`, or the path of a model file.
        backend: ``"native"`` (the integer kernel) or ``"reference"`` (the NumPy integers that specify it). Linear and
            full-precision detectors have one implementation, and ignore it.
        constellation: needed by ``"lmmse"`` and ``"zf"``; for a model it has to be the model's own.

    Raises:
        ValueError: no such detector, backend or constellation (`ModelFileError`, a ValueError, for a bad file), or
            GR_KAQ_INSTRUCTION_SET names none that is available.
        ImportError: the native kernel is not built.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; one of {', '.join(BACKENDS)} expected")
    if name in LINEAR_DETECTORS:
        if constellation is None:
            raise ValueError(f"detector {name} needs a constellation, for example '16qam'")
        return LinearDetector(str(name), constellation_named(constellation))
    model = load_model(name)
    if constellation is not None and constellation_named(constellation) != model.constellation:
        raise ValueError(f"detector {model.name} is for {model.constellation.name}, not {constellation}")
    return UnfoldedDetector(model, backend)


def load_model(name: str | Path) -> DetectorModel:
    """The model of an unfolded detector, which needs no kernel.

    Args:
        name: of a detector that ships with the package, or the path of a model file.

    Raises:
        ValueError: no such detector (`ModelFileError`, a ValueError, for a bad file).
    """
    return model_file.load(_model_path(name))


def _models() -> list[Path]:
    return list(Path(str(resources.files(__package__) / "models")).glob("*" + model_file.SUFFIX))


def _model_path(name: str | Path) -> Path:
    text = str(name)
    if text.endswith(model_file.SUFFIX):
        return Path(text)
    for path in _models():
        if path.name == text + model_file.SUFFIX:
            return path
    raise ValueError(
        f"no detector {text!r}; one of {', '.join(list_detectors())}, "
        f"or the path of a *{model_file.SUFFIX} file expected"
    )
