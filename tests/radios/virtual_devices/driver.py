# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the drivers are that stand in for radios."""

from pathlib import Path

import pytest

import gr_kaq


def virtual_device(name: str) -> Path:
    """The driver `usrp` or `soapy`; without it, the test is skipped."""
    path = Path(gr_kaq.__file__).parents[1] / f"virtual_{name}.so"
    if not path.exists():
        pytest.skip(f"{path.name} is not built; make test does: cmake -DKAQ_VIRTUAL_DEVICES=ON")
    return path
