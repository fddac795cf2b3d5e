# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Dask worker runs. It travels as code: a scheduler needs no gr_kaq, and a worker without it can say so."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["make_on_worker"]


def make_on_worker() -> Callable[[dict[str, str], str, str, str], tuple[str, str, str]]:
    """A function that no module has, so that it is sent as it is and not by its name."""

    def on_worker(expected: dict[str, str], module: str, name: str, job: str) -> tuple[str, str, str]:
        """Run a unit.

        Args:
            expected: `identity.identity` of the module where the sweep is.
            module, name: of the function.
            job: JSON.

        Returns:
            "result", "unfit" or "failed"; the worker's address and machine; the result as JSON, or what is wrong.
        """
        import importlib  # noqa: PLC0415 - nothing of a module comes along
        import json  # noqa: PLC0415
        import socket  # noqa: PLC0415

        import distributed  # noqa: PLC0415

        worker = f"{distributed.get_worker().address} on {socket.gethostname()}"
        try:
            own = importlib.import_module("gr_kaq.sweeps.identity")
            function = getattr(importlib.import_module(module), name)
            workers = importlib.import_module("gr_kaq.sweeps.workers")
            different = own.difference(own.identity(module), expected)
        except Exception as error:
            return "unfit", worker, " ".join(f"{type(error).__name__}: {error}".split())
        if different:
            return "unfit", worker, different
        try:
            return "result", worker, json.dumps(workers.on_one_thread(function, json.loads(job)))
        except Exception as error:
            return "failed", worker, " ".join(f"{type(error).__name__}: {error}".split())

    return on_worker
