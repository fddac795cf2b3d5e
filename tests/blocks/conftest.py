# SPDX-License-Identifier: GPL-3.0-or-later
import faulthandler
import sys

import pytest

from gr_kaq.detection import model_file
from tests.detection.models import admm_model


@pytest.fixture(autouse=True)
def end_if_hung():
    """The last resort against a flowgraph that neither ends nor lets itself be stopped."""
    faulthandler.dump_traceback_later(600, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """A quantized 16-QAM detector that takes 64 antennas and num_rx >= num_tx."""
    return model_file.save(admm_model(), tmp_path_factory.mktemp("models"))


@pytest.fixture(params=["native", "reference"])
def backend(request):
    """Both give the block the same to do."""
    return request.param
