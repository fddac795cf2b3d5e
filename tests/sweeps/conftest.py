# SPDX-License-Identifier: GPL-3.0-or-later
"""Dask schedulers without workers, as many as a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.dask_processes import DaskProcesses


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Callable[[], DaskProcesses]]:
    """dask(): another one."""
    with ExitStack() as stack:

        def begin() -> DaskProcesses:
            folder = tmp_path / f"dask{len(list(tmp_path.glob('dask*')))}"
            folder.mkdir()
            return stack.enter_context(DaskProcesses(folder))

        yield begin
