# SPDX-License-Identifier: GPL-3.0-or-later
"""What commands that run for minutes have in common: what is said before, the bar meanwhile, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from .optional import import_optional

__all__ = ["INTERRUPTED", "check_folders", "exit_status", "import_progress"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell has it."""


def import_progress() -> Callable[..., AbstractContextManager[Any]]:
    """What shows tqdm's bar, from its arguments; BLAS has one thread meanwhile, as on small matrices more only fight.

    Raises:
        ImportError: tqdm or threadpoolctl is missing: said now, and not after what comes before the bar.
    """
    tqdm = import_optional("tqdm", "it", "python3-tqdm").tqdm
    limits = import_optional("threadpoolctl", "it", "python3-threadpoolctl").threadpool_limits

    @contextmanager
    def progress(**settings: Any) -> Iterator[Any]:
        with limits(1, "blas"), tqdm(file=sys.stderr, **settings) as bar:
            yield bar

    return progress


def check_folders(*files: Path | None) -> None:
    """Raise ValueError unless the folders are there in which these are to be written; None: it is not wanted."""
    for path in files:
        if path and not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: the folder does not exist")


def exit_status(interrupted: bool) -> int:
    """Of a command that has shown what it measured; if Ctrl-C ended that, it is said."""
    if interrupted:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
