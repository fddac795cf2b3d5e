# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned channel estimator: a network in an ONNX file, run by ONNX Runtime, as an interpolator of
`gr_kaq.estimation.estimator`.

    interpolate = LearnedInterpolator(frame_format, "NAME-or-path")
    interpolate(observation) -> complex64 (14, num_active, num_rx, num_tx)

Each pair of antennas is a window of 52 active carriers x 14 symbols (a frame of 256 carriers: four windows), scaled so
that the frame's mean power per pair is 1; its real and its imaginary part are two grids for the same network:

    ls (N, 52, 3), lmmse (N, 52, 14), statistics (3,)  ->  refined (N, 52, 14)          float32

First all real parts, then all imaginary parts. `ls` is least squares at the three training symbols, interpolated
linearly over the carriers; `statistics` are SNR (linear, of a pair: |h|^2 over the noise variance), delay spread (RMS,
cycles per carrier) and Doppler (cycles per symbol), all as estimated. docs/guide/learned-estimator.md tells how they
are trained. ONNX Runtime is not needed for anything else in gr-kaq.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..files import MAX_QUOTED, one_line, parse_json, read_file
from ..frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat
from .estimator import INTERPOLATORS, LinearInterpolator, Observation, WienerInterpolator
from .trial import try_apart

__all__ = [
    "WINDOW",
    "EstimatorFileError",
    "LearnedEstimator",
    "LearnedInterpolator",
    "NetworkInput",
    "grids",
    "list_estimators",
    "network_input",
]

WINDOW = 52
"""Active carriers that the network sees at once."""

MAX_STREAMS, MAX_CARRIERS = 4, 256  # of the frames that estimators are trained for

FILE_FORMAT = "gr-kaq channel estimator 1"
SUFFIX = ".onnx"
MAX_FILE_BYTES = 16 << 20  # those that ship have less than 1 MiB
SIGNATURE: dict[str, list[str | int]] = {
    "ls": ["N", WINDOW, len(TRAINING_SYMBOLS)],
    "lmmse": ["N", WINDOW, NUM_SYMBOLS],
    "statistics": [3],
    "refined": ["N", WINDOW, NUM_SYMBOLS],
}
"""Dimensions of the inputs and the output, all float32; N stays open."""


class EstimatorFileError(ValueError):
    """An estimator that cannot be used; the message names the file and what was expected."""


def list_estimators() -> list[str]:
    """Names of the learned estimators that ship with gr-kaq."""
    folder = resources.files(__package__).joinpath("estimators")
    names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


class LearnedEstimator:
    """A network that refines channel estimates.

    Args:
        source: one of `list_estimators()`, or the path of an ONNX file.
        num_threads: that ONNX Runtime shares the work among.

    Raises:
        EstimatorFileError: the file is missing, damaged, or no such network.
        ImportError: ONNX Runtime is missing.

    Attributes:
        name: of the estimator.
        metadata: what the file says of itself: ``description``, ``training`` and ``mse`` (JSON), ``gr_kaq_version``.
        range: lowest and highest statistics that it was trained for, float32 (2, 3).
    """

    def __init__(self, source: str | Path, num_threads: int = 1):
        if num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}; at least 1 expected")
        content, label, ships = _read(source)
        try:
            import onnxruntime  # type: ignore[import-untyped]  # noqa: F401, PLC0415  # optional
        except ImportError as error:
            raise ImportError(
                f"the learned channel estimator {label} needs ONNX Runtime, which is not installed: "
                f"{sys.executable} -m venv --system-site-packages env && env/bin/pip install onnxruntime, then run "
                "with env/bin/python; or take lmmse"
            ) from error
        if not ships and (fault := try_apart(content, label)):
            raise EstimatorFileError(fault)
        self._load(content, label, num_threads)

    @classmethod
    def of_content(cls, content: bytes, label: str) -> LearnedEstimator:
        """The estimator in the content of a file, without a trial: for the process that is the trial.

        Raises:
            EstimatorFileError: it is no such network.
        """
        estimator = cls.__new__(cls)
        estimator._load(content, label, 1)
        return estimator

    def _load(self, content: bytes, label: str, num_threads: int) -> None:
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong with a file becomes an exception here
        if not any("vnni" in name for name in native.instruction_sets()):
            # Sums of 8-bit products would saturate on such an x86 processor. With VNNI this costs a third more time.
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
            values = (*session.get_inputs(), *session.get_outputs())
            signature = {value.name: (value.type, value.shape) for value in values}
        except Exception as error:  # ONNX Runtime has a class for each kind of failure, without a common one
            raise EstimatorFileError(f"{label}: no ONNX file that ONNX Runtime can use: {one_line(error)}") from None
        _check(label, self.metadata, signature)
        self.name = one_line(self.metadata.get("name", label))
        self.range = _range(label, self.metadata)
        self._session = session
        self._try(label)

    def refine(
        self, ls: NDArray[np.float32], lmmse: NDArray[np.float32], statistics: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The refined grids (N, 52, 14) of LS (N, 52, 3), LMMSE (N, 52, 14) and their statistics (3,), N even."""
        return self._session.run(["refined"], {"ls": ls, "lmmse": lmmse, "statistics": statistics})[0]

    def _try(self, label: str) -> None:
        """Run it on few and on more grids, of zeros and of noise: what fails then would fail in a stream."""
        rng = np.random.default_rng(1)
        for count, level in ((4, 0.0), (2, 1.0), (16, 1.0)):
            lmmse = np.float32(level) * rng.standard_normal((count, WINDOW, NUM_SYMBOLS), np.float32)
            try:
                refined = self.refine(lmmse[..., TRAINING_SYMBOLS].copy(), lmmse, self.range.mean(axis=0))
            except Exception as error:  # see above
                raise EstimatorFileError(f"{label}: does not run: {one_line(error)}") from None
            if refined.shape != lmmse.shape:
                raise EstimatorFileError(f"{label}: makes {refined.shape} of {lmmse.shape}; the same shape expected")


class LearnedInterpolator:
    """The interpolator that a learned estimator makes of the linear and the LMMSE one.

    Args:
        frame_format: of the frames.
        estimator: a `LearnedEstimator`, or what it takes.

    Raises:
        ValueError: no estimator is trained for frames of this size.
        EstimatorFileError, ImportError: as `LearnedEstimator`.

    Attributes:
        outside: frames whose statistics the estimator was not trained for, and that got the LMMSE estimate instead.
        fallbacks: likewise, those that it failed on, or whose refined channel was not finite. A warning says so once.
    """

    def __init__(self, frame_format: FrameFormat, estimator: LearnedEstimator | str | Path):
        size = frame_format.num_tx, frame_format.fft_size, frame_format.num_symbols
        if size[0] > MAX_STREAMS or size[1] > MAX_CARRIERS or size[2] != NUM_SYMBOLS:
            raise ValueError(
                f"num_tx is {size[0]}, fft_size {size[1]}, num_symbols {size[2]}; learned estimators are trained for "
                f"up to {MAX_STREAMS} streams, {MAX_CARRIERS} carriers, and {NUM_SYMBOLS} symbols"
            )
        self.estimator = estimator if isinstance(estimator, LearnedEstimator) else LearnedEstimator(estimator)
        self.outside = self.fallbacks = 0
        self._frame_format = frame_format
        self._linear, self._wiener = LinearInterpolator(frame_format), WienerInterpolator(frame_format)

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
        wiener = self._wiener(observation)
        given = network_input(self._frame_format, observation, self._linear.at_training_symbols(observation), wiener)
        lowest, highest = self.estimator.range
        if not ((lowest <= given.statistics) & (given.statistics <= highest)).all():
            self.outside += 1
            return wiener
        try:
            channel, finite = given.channel(self.estimator.refine(given.ls, given.lmmse, given.statistics))
        except Exception as error:  # ONNX Runtime has a class for each kind of failure, without a common one
            return self._fall_back(wiener, one_line(error))
        return channel if finite else self._fall_back(wiener, "its channel is not finite")

    def _fall_back(self, wiener: NDArray[np.complex64], reason: str) -> NDArray[np.complex64]:
        """The LMMSE estimate, for a frame that the estimator failed on."""
        if not self.fallbacks:
            warnings.warn(
                f"the learned channel estimator {self.estimator.name} fails, and leaves frames to LMMSE: {reason}",
                RuntimeWarning,
                stacklevel=3,
            )
        self.fallbacks += 1
        return wiener


@dataclass(frozen=True)
class NetworkInput:
    """A frame as the network sees it: grids of N / 2 windows, real parts, then imaginary parts, scaled.

    Attributes:
        ls: at the training symbols, float32 (N, 52, 3).
        lmmse: float32 (N, 52, 14).
        statistics: float32 (3,).
        scale: what each antenna's channel was multiplied with, (num_rx,).
        num_active, num_tx: of the frame.
    """

    ls: NDArray[np.float32]
    lmmse: NDArray[np.float32]
    statistics: NDArray[np.float32]
    scale: NDArray[np.float32]
    num_active: int
    num_tx: int

    def channel(self, grids: NDArray[np.float32]) -> tuple[NDArray[np.complex64], bool]:
        """The channel (14, num_active, num_rx, num_tx) of grids (N, 52, 14), and whether all of it is finite."""
        return native.extension().join_windows(
            grids=grids, scale=self.scale, num_active=self.num_active, num_tx=self.num_tx
        )


def network_input(
    frame_format: FrameFormat, observation: Observation, linear: NDArray[np.complex64], wiener: NDArray[np.complex64]
) -> NetworkInput:
    """A frame as the network sees it.

    Args:
        frame_format: of the frame.
        observation: of the frame.
        linear: the channel interpolated linearly over the carriers of the training symbols, (3, num_active, num_rx,
            num_tx).
        wiener: interpolated by Wiener filters, (14, num_active, num_rx, num_tx).
    """
    snr = 10 ** (observation.snr_db / 10) / frame_format.num_tx
    # equal noise on all antennas, and mean power 1
    scale = (1 / np.sqrt(np.maximum(observation.noise_var, 1e-30) * snr)).astype(np.float32)
    statistics = np.array([snr, observation.delay_spread / frame_format.fft_size, observation.doppler], np.float32)
    return NetworkInput(
        grids(linear, scale), grids(wiener, scale), statistics, scale, frame_format.num_active, frame_format.num_tx
    )


def grids(channel: NDArray[np.complex64], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """A channel (symbols, num_active, num_rx, num_tx), each antenna multiplied with `scale`, as grids (N, 52, symbols).

    Real parts, then imaginary parts; windows of carriers outermost, then antennas, then streams.
    """
    return native.extension().cut_windows(channel, scale, WINDOW)


def _read(source: str | Path) -> tuple[bytes, str, bool]:
    """Content of the file, what to call it in messages, and whether it is one that ships."""
    if str(source) in list_estimators():
        name = f"{source}{SUFFIX}"
        return resources.files(__package__).joinpath("estimators", name).read_bytes(), name, True
    try:
        return read_file(source, MAX_FILE_BYTES), one_line(source), False
    except OSError as error:
        raise EstimatorFileError(
            f"{source}: cannot be read: {error.strerror}; one of {', '.join([*INTERPOLATORS, *list_estimators()])}, "
            "or the path of an ONNX file expected"
        ) from None


def _check(label: str, metadata: dict[str, str], found: dict[str, tuple[str, list[Any]]]) -> None:
    """Raise EstimatorFileError unless the network has the signature of the module."""
    if metadata.get("format") != FILE_FORMAT:
        raise EstimatorFileError(
            f"{label}: the metadata's format is {_quote(metadata.get('format'))}; {FILE_FORMAT!r} expected, as "
            "`python -m training export` writes it"
        )
    for name, shape in SIGNATURE.items():
        if name not in found:
            raise EstimatorFileError(f"{label}: no input or output {name}; {', '.join(SIGNATURE)} expected")
        if found[name][0] != "tensor(float)" or not _fits(found[name][1], shape):
            raise EstimatorFileError(
                f"{label}: {name} is {found[name][0]} {_quote(found[name][1])}; tensor(float) {shape} expected"
            )
    unknown = sorted(found.keys() - SIGNATURE.keys())
    if unknown:
        raise EstimatorFileError(
            f"{label}: unknown input or output {_quote(unknown[0])}; {', '.join(SIGNATURE)} expected"
        )


def _range(label: str, metadata: dict[str, str]) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # what does not fit becomes Inf, and is refused
            found = np.array(parse_json(metadata["range"].encode()), np.float32)
    except (KeyError, ValueError, TypeError, OverflowError):
        found = np.empty(0, np.float32)
    if found.shape != (2, 3) or not np.isfinite(found).all() or not np.all(found[0] < found[1]):
        raise EstimatorFileError(
            f"{label}: the metadata's range is {_quote(metadata.get('range'))}; lowest and highest SNR, delay spread "
            "and Doppler expected, as JSON [[...], [...]]"
        )
    return found


def _fits(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(
        isinstance(have, str) if isinstance(want, str) else have == want
        for have, want in zip(found, expected, strict=True)
    )


def _quote(value: Any) -> str:
    """What a message repeats of a file, on one line."""
    return repr(value)[:MAX_QUOTED]
