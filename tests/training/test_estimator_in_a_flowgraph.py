# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned estimators that ship, in the receiver's flowgraph. Here, because ONNX Runtime is installed with torch."""

import pytest

from gr_kaq.learned_estimation import list_estimators
from tests.blocks.qa_mimo_receiver import Link


@pytest.mark.parametrize("estimator", list_estimators())
@pytest.mark.parametrize("size", [(2, 2, 64), (4, 4, 256)])
def test_payloads_arrive_by_a_learned_estimate(estimator, size):
    link = Link(*size, channel={"snr_db": 35.0, "doppler": 200.0}, estimator=estimator)
    sent = link.send(4)
    link.run()
    assert link.received() == sent
    stats = link.receiver.stats()["estimator"]
    assert stats["method"] == estimator and stats["frames"] == 4 and stats["internal_errors"] == 0


def test_the_receiver_can_change_to_it_and_back_while_it_runs():
    with Link(idle="zeros", channel={"doppler": 200.0}) as link:
        for count, method in enumerate(["estimator", "lmmse", "estimator"], start=1):
            link.receiver.set_estimator(method)
            link.send(2)
            link.wait_for_pdus(2 * count)
    assert link.receiver.stats()["estimator"]["internal_errors"] == 0
