# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver tells every section."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gr_kaq.sweeps.workers import Workers, open_workers

__all__ = ["ROOT", "Settings"]

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How, and how thoroughly, to measure.

    Args:
        output: folder of the report.
        quick: tiny budgets that show that everything runs; the numbers mean little.
        jobs: processes.
        cluster: where to run in their place, see `gr_kaq.sweeps.cluster.Cluster`; None: nowhere.
        seed: of everything simulated.
    """

    output: Path
    quick: bool = False
    jobs: int = 2
    cluster: str | None = None
    seed: int = 1

    def pick(self, full: T, quick: T) -> T:
        """One of the two budgets."""
        return quick if self.quick else full

    @functools.cached_property
    def workers(self) -> Workers:
        """What runs the points of all sections."""
        return open_workers(self.jobs, self.cluster)

    def close(self) -> None:
        """End the workers, if any have begun."""
        if "workers" in vars(self):
            self.workers.close()

    @property
    def data(self) -> Path:
        """Folder of the JSON behind the plots."""
        return self.output / "data"

    @property
    def images(self) -> Path:
        """Folder of the plots."""
        return self.output / "images"
