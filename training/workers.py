# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cells of a comparison run on, as the options of `training compare` say."""

from __future__ import annotations

from gr_kaq.sweeps.workers import Workers, open_workers

from .config import ConfigError

__all__ = ["opened"]


def opened(jobs: int, cluster: str | None, cells: int) -> Workers:
    """Workers for so many cells, at least one; see `gr_kaq.sweeps.workers.open_workers`.

    Raises:
        ConfigError: there can be none.
        OSError, ImportError: the cluster cannot be reached.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs is {jobs}; at least 1 expected")
    try:
        return open_workers(jobs if cluster else min(jobs, cells), cluster)
    except ValueError as error:
        raise ConfigError(str(error)) from None
