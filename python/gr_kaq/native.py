# SPDX-License-Identifier: GPL-3.0-or-later
"""The C++ kernel behind the NumPy API."""

from __future__ import annotations

from .detection import PreparedChannels
from .model_file import DetectorModel


class NativeChannels(PreparedChannels):
    def __init__(self, model: DetectorModel, *args: object):
        raise NotImplementedError("the native kernel is being written; use backend='reference'")
