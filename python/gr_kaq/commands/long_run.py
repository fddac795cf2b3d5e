# SPDX-License-Identifier: GPL-3.0-or-later
"""What commands that run for minutes have in common: what is said before, the bar meanwhile, and how they end.

`python/gr_kaq/commands`, `examples`, `benchmarks` and `training` show all of their progress by `progress_bar`.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ..sweeps.units import Progress
from .optional import import_optional

__all__ = [
    "INTERRUPTED",
    "PointsProgress",
    "check_folders",
    "check_picture",
    "exit_status",
    "import_progress",
    "one_blas_thread",
    "progress_bar",
    "units_progress",
]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell has it."""

PICTURES = (".png", ".pdf", ".svg")

LINE_INTERVAL_S = 10.0
"""Between two lines where there is no terminal: a log file has no use for a bar that is drawn a thousand times."""


def progress_bar(*arguments: Any, **settings: Any) -> Any:
    """tqdm's bar on stderr, from its arguments; a line now and then where stderr is no terminal.

    Raises:
        ImportError: tqdm is missing.
    """
    terminal = sys.stderr.isatty()
    return (_bar() if terminal else _lines())(*arguments, file=sys.stderr, **settings)


@contextmanager
def units_progress(title: str) -> Iterator[Callable[[Progress], None]]:
    """A bar of `sweeps.units.run_series`: units that are finished, of those that will be needed; and the time left."""
    with progress_bar(unit="unit", total=0, mininterval=0.5) as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(title, refresh=False)
            bar.total = progress.planned
            workers = f"{progress.workers} worker{'s' if progress.workers > 1 else ''}"
            bar.set_postfix_str(workers, refresh=False)
            bar.update(progress.finished - bar.n)

        yield show


def one_blas_thread() -> AbstractContextManager[Any]:
    """BLAS has one thread meanwhile: on small matrices more only fight.

    Raises:
        ImportError: threadpoolctl is missing.
    """
    limits: AbstractContextManager[Any] = import_optional(
        "threadpoolctl", "it", "python3-threadpoolctl"
    ).threadpool_limits(1, "blas")
    return limits


def import_progress() -> Callable[..., AbstractContextManager[Any]]:
    """What shows `progress_bar`, from its arguments, with `one_blas_thread`.

    Raises:
        ImportError: tqdm or threadpoolctl is missing: said now, and not after what comes before the bar.
    """
    _bar()
    import_optional("threadpoolctl", "it", "python3-threadpoolctl")

    @contextmanager
    def progress(**settings: Any) -> Iterator[Any]:
        with one_blas_thread(), progress_bar(**settings) as bar:
            yield bar

    return progress


def _bar() -> Any:
    return import_optional("tqdm", "it", "python3-tqdm").tqdm


@functools.cache
def _lines() -> Any:
    """A tqdm that writes a line when it knows what to say, every `LINE_INTERVAL_S`, and at the end."""

    class Lines(_bar()):  # type: ignore[misc]
        last_line_s = -LINE_INTERVAL_S
        last_line = ""

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            now = time.monotonic()
            is_closing = self.disable
            if not is_closing and (self.n or self.desc) and now - self.last_line_s >= LINE_INTERVAL_S:
                self._write_line(now)
            return True

        def clear(self, nolock: bool = False) -> None:
            pass  # there is nothing on a line that is not complete

        def close(self) -> None:
            if self.disable:
                return
            self.leave, leave = False, self.leave  # tqdm then writes nothing of its own but a carriage return
            self.fp, fp = _Nowhere(), self.fp
            super().close()
            self.fp = fp
            if leave:
                self._write_line(time.monotonic())

        def _write_line(self, now: float) -> None:
            line = str(self).strip()
            if line != self.last_line:
                print(line, file=self.fp, flush=True)
            self.last_line_s, self.last_line = now, line

    return Lines


class _Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


class PointsProgress:
    """Progress through points that each end at so many errors or, at the latest, at so many bits.

    How many bits a point takes is known only when it ends, so the time that is left is said as an upper bound: that of
    the point in work from how far it is, and `max_bits` for each that follows, at the speed so far.

    Args:
        total: points.
        min_errors, max_bits: where a point ends.
        title: stands before the point's name.
    """

    def __init__(self, total: int, min_errors: int, max_bits: int, title: str = ""):
        self._total, self._min_errors, self._max_bits, self._title = total, min_errors, max_bits, title
        self._index, self._bits_before, self._bits = -1, 0, 0
        self._start = self._point_start = time.monotonic()
        bar_format = "{desc} |{bar}| {elapsed}{postfix}" if sys.stderr.isatty() else "{desc}, {elapsed}{postfix}"
        self._bar = progress_bar(total=100 * total, bar_format=bar_format)

    def __enter__(self) -> PointsProgress:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._bar.update(100 * self._total - self._bar.n)
            self._bar.set_postfix_str("", refresh=False)
        self._bar.close()

    def begin(self, name: str) -> None:
        """The next point begins."""
        self._index += 1
        self._bits_before += self._bits
        self._bits, self._point_start = 0, time.monotonic()
        self._name = name
        self.update(0, 0)
        self._bar.refresh()

    def update(self, errors: int, bits: int) -> None:
        """What the point in work has counted."""
        done = min(1.0, max(errors / self._min_errors, bits / self._max_bits))
        self._bits = bits
        self._bar.set_description_str(
            f"{self._title}{self._name} ({self._index + 1} of {self._total}): {errors} of {self._min_errors} errors, "
            f"{bits:.3g} of at most {self._max_bits:.3g} bits",
            refresh=False,
        )
        left = self._left(done)
        text = "" if left is None else f"at most {self._bar.format_interval(left)} left"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(max(0, round(100 * (self._index + done)) - self._bar.n))

    def write(self, text: str) -> None:
        """Text on stdout, above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def _left(self, done: float) -> float | None:
        now = time.monotonic()
        total_bits = self._bits_before + self._bits
        if not done or not total_bits:
            return None
        following = (self._total - self._index - 1) * self._max_bits * (now - self._start) / total_bits
        return (now - self._point_start) * (1 - done) / done + following


def check_folders(*files: Path | None) -> None:
    """Raise ValueError unless these can be written; None: it is not wanted. Said before minutes of work, not after."""
    for path in files:
        if path is None:
            continue
        folder = path.absolute().parent
        if not folder.is_dir():
            raise ValueError(f"{path}: the folder does not exist")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; the name of a file expected")
        if str(path) == "-" or not os.access(path if path.exists() else folder, os.W_OK):
            raise ValueError(f"{path}: cannot be written; the name of a file expected")


def check_picture(path: Path | None) -> None:
    """The same of a picture, which needs Matplotlib and one of the `PICTURES` as its suffix.

    Raises:
        ImportError: Matplotlib is missing.
    """
    check_folders(path)
    if path is None:
        return
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"{path}: a name that ends in {', '.join(PICTURES)} expected")
    import_optional("matplotlib.figure", "--plot", "python3-matplotlib")


def exit_status(interrupted: bool) -> int:
    """Of a command that has shown what it measured; if Ctrl-C ended that, it is said."""
    if interrupted:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
