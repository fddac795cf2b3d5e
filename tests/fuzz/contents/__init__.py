# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of content that is read. Estimators and configurations need what the training needs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.fuzz.contents import files
from tests.fuzz.contents.kind import Kind, try_content

__all__ = ["CORPUS", "KINDS", "Kind", "try_content"]

CORPUS = Path(__file__).with_name("corpus")
"""What once failed, in a folder for each kind."""

KINDS = dict(files.KINDS)
with contextlib.suppress(ImportError):
    from tests.fuzz.contents import training

    KINDS |= training.KINDS
