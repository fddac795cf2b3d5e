# SPDX-License-Identifier: GPL-3.0-or-later
import signal

import pytest
from hypothesis import settings

settings.register_profile("kaq", deadline=None)  # no test asserts a time: the machine may be busy
settings.load_profile("kaq")


@pytest.fixture()
def control_c():
    """A test that uses it can interrupt the processes that it starts.

    They inherit it if this one ignores SIGINT, as it does in the background of a shell: `make test &`, nohup.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if before is not None:  # which is a handler that Python has not set
        signal.signal(signal.SIGINT, before)
