# SPDX-License-Identifier: GPL-3.0-or-later
"""gr-kaq: low-bit neural MIMO detection for GNU Radio.

The NumPy API (`load_detector`, `list_detectors`, `FrameFormat`) and `gr_kaq.testbed` work without GNU Radio; the blocks
(`detector`, `channel_simulator`, `mimo_receiver`, ...) are loaded when first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from .channels.flat import shipped_recording
from .detection.detector import Detector
from .detection.detectors import list_detectors, load_detector
from .detection.list_detector import ListDetector
from .detection.model_file import ModelFileError
from .detection.result import Detection
from .detection.unfolded_detector import UnfoldedDetector
from .frames.frame_format import FrameFormat
from .signals.bit_errors import BitErrorRate
from .signals.constellation import CONSTELLATIONS, Constellation

__version__ = "0.2.0"

__all__ = [
    "CONSTELLATIONS",
    "BitErrorRate",
    "Constellation",
    "Detection",
    "Detector",
    "FrameFormat",
    "ListDetector",
    "ModelFileError",
    "UnfoldedDetector",
    "arq_receiver",
    "arq_sender",
    "band_noise_source",
    "beam_combiner",
    "beam_search",
    "beam_view",
    "ber_meter",
    "channel_estimator",
    "channel_predictor",
    "channel_simulator",
    "channel_to_pmt",
    "data_aided_decoder",
    "detector",
    "frame_decoder",
    "frame_explainer",
    "frame_synchronizer",
    "frame_transmitter",
    "link_adapter",
    "link_decoder",
    "list_detectors",
    "load_detector",
    "mimo_receiver",
    "pdu_file_sink",
    "pdu_file_source",
    "qam_source",
    "receiver_publisher",
    "receiver_status",
    "shipped_recording",
]

_BLOCKS = (
    "arq_receiver",
    "arq_sender",
    "band_noise_source",
    "beam_combiner",
    "beam_search",
    "beam_view",
    "ber_meter",
    "channel_estimator",
    "channel_predictor",
    "channel_simulator",
    "data_aided_decoder",
    "detector",
    "frame_decoder",
    "frame_explainer",
    "frame_synchronizer",
    "frame_transmitter",
    "link_adapter",
    "link_decoder",
    "mimo_receiver",
    "pdu_file_sink",
    "pdu_file_source",
    "qam_source",
    "receiver_publisher",
    "receiver_status",
)


def __getattr__(name: str) -> Any:
    if name == "channel_to_pmt":  # which needs pmt, a part of GNU Radio
        return importlib.import_module(".blocks.csi_pmt", __name__).channel_to_pmt
    if name in _BLOCKS:
        return getattr(importlib.import_module(f".blocks.{name}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
