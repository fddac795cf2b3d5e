# SPDX-License-Identifier: GPL-3.0-or-later
"""Detectors by name: those that ship with the package, those of one's own, linear baselines, and what chooses.

det = gr_kaq.load_detector("auto", constellation="16qam")
out = det.detect(y, h, snr_db=20)
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from ..native import fastest_backend
from ..signals.constellation import constellation_named
from . import model_file
from .auto_detector import AUTO_DETECTORS, AutoDetector
from .detector import Detector
from .linear_detector import LINEAR_DETECTORS, LinearDetector
from .list_detector import ListDetector
from .list_model import ListModel
from .model_file import Model
from .unfolded_detector import UnfoldedDetector

__all__ = ["fitting_detectors", "list_detectors", "load_detector", "load_model"]

BACKENDS = ("auto", "native", "reference")
PRECISIONS = ("auto", "int8", "fp32")


def list_detectors() -> list[str]:
    """Names of the detectors that choose by size, of those that ship with the package, and of the linear baselines."""
    names = sorted(p.name.removesuffix(model_file.SUFFIX) for p in _models())
    return [*AUTO_DETECTORS, *names, *LINEAR_DETECTORS]


def fitting_detectors(constellation: str, num_rx: int, num_tx: int) -> list[Detector]:
    """LMMSE, and the quantized detectors that ship for this constellation and take this size."""
    detectors = [load_detector("lmmse", constellation=constellation)]
    for name in list_detectors():
        if name in AUTO_DETECTORS or name in LINEAR_DETECTORS:
            continue
        model = load_model(name)
        if model.quantized and model.constellation.name == constellation:
            detectors.append(load_detector(name))
    return [detector for detector in detectors if _takes(detector, num_rx, num_tx)]


def _takes(detector: Detector, num_rx: int, num_tx: int) -> bool:
    try:
        detector.check_size(num_rx, num_tx)
    except ValueError:
        return False
    return True


def load_detector(
    name: str | Path, *, backend: str = "auto", constellation: str | None = None, precision: str = "auto"
) -> Detector:
    """Load a detector.

    Args:
        name: one of `list_detectors()`, or the path of a model file.
        backend: ``"native"`` (the compiled kernel) or ``"reference"`` (the NumPy code that specifies it). ``"auto"``
            is native, or, with a warning, reference where the kernel is not built. Full-precision lists have one
            implementation, and ignore it.
        constellation: needed by ``"auto"``, ``"auto-fast"``, ``"lmmse"`` and ``"zf"``; for a model it has to be the
            model's own.
        precision: ``"int8"`` or ``"fp32"``: what the layers of an unfolded network are computed in. ``"auto"`` is
            int8 for a quantized model, which no machine that was measured runs slower than fp32, and fp32 for the
            others.

    Raises:
        ValueError: no such detector, backend, precision or constellation (`ModelFileError`, a ValueError, for a bad
            file), or GR_KAQ_INSTRUCTION_SET names none that is available.
        ImportError: ``backend="native"``, and the kernel is not built; the detector ``"auto"`` says so when it is
            asked for a size.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; one of {', '.join(BACKENDS)} expected")
    if backend == "auto":
        backend = fastest_backend()
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; one of {', '.join(PRECISIONS)} expected")
    if name in LINEAR_DETECTORS or name in AUTO_DETECTORS:
        if precision != "auto":
            raise ValueError(f"detector {name} has no choice of precision; precision 'auto' expected")
        if constellation is None:
            raise ValueError(f"detector {name} needs a constellation, for example '16qam'")
        carried = constellation_named(constellation)
        if name in LINEAR_DETECTORS:
            return LinearDetector(str(name), carried, backend)
        return AutoDetector(
            str(name), carried, lambda chosen: load_detector(chosen, backend=backend, constellation=carried.name)
        )
    model = load_model(name)
    if constellation is not None and constellation_named(constellation) != model.constellation:
        others = [name for name in list_detectors() if f"-{constellation}" in name and not name.endswith("-fp")]
        raise ValueError(
            f"detector {model.name} is for {model.constellation.name}, not {constellation}; one of auto, "
            f"{', '.join([*others, *LINEAR_DETECTORS])} expected"
        )
    if isinstance(model, ListModel):
        return ListDetector(model, backend, precision)
    return UnfoldedDetector(model, backend, precision)


def load_model(name: str | Path) -> Model:
    """The model of a trained detector, which needs no kernel.

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
    if text in (*AUTO_DETECTORS, *LINEAR_DETECTORS):
        raise ValueError(f"detector {text} has no model file; take it with load_detector")
    if text.endswith(model_file.SUFFIX):
        return Path(text)
    for path in _models():
        if path.name == text + model_file.SUFFIX:
            return path
    known = list_detectors()
    close = difflib.get_close_matches(text, known)
    raise ValueError(
        f"no detector {text!r}; "
        + (
            f"did you mean {' or '.join(close)}? A name that `kaq models` lists"
            if close
            else f"one of {', '.join(known)}"
        )
        + f", or the path of a *{model_file.SUFFIX} file expected"
    )
