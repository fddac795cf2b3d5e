# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned estimators that ship, in the receiver's flowgraph. Here, because ONNX Runtime is installed with torch."""

import pytest

from gr_kaq.estimation.learned import list_estimators
from tests.blocks.qa_mimo_receiver import Link

TRAINED_FOR = {"snr_db": 25.0, "delay_spread": 200e-9, "doppler": 100.0}


@pytest.mark.parametrize("estimator", list_estimators())
@pytest.mark.parametrize("size", [(2, 2, 64), (4, 4, 256)])
def test_payloads_arrive_by_a_learned_estimate(estimator, size):
    link = Link(*size, channel=TRAINED_FOR, estimator=estimator)
    sent = link.send(4)
    link.run()
    assert link.received() == sent
    stats = link.receiver.stats()["estimator"]
    assert stats["method"] == estimator and stats["frames"] == 4 and stats["internal_errors"] == 0
    assert stats["unrefined_frames"] == 0


def test_frames_that_it_was_not_trained_for_are_counted_and_said_once(capfd):
    link = Link(2, 2, 64, channel={"snr_db": 45.0}, estimator="estimator")
    sent = link.send(4)
    link.run()
    assert link.received() == sent
    assert link.receiver.stats()["estimator"]["unrefined_frames"] == 4
    out, err = capfd.readouterr()
    assert (out + err).count("estimator leaves frames to LMMSE that it was not trained for: SNR 4") == 1


def test_the_receiver_can_change_to_it_and_back_while_it_runs():
    still = TRAINED_FOR | {"doppler": 0.0}  # a frame sent into a fade, which is a matter of timing, would be lost
    with Link(idle="zeros", channel=still) as link:
        for count, method in enumerate(["estimator", "lmmse", "estimator"], start=1):
            link.receiver.set_estimator(method)
            link.send(2)
            link.wait_for_pdus(2 * count)
    stats = link.receiver.stats()["estimator"]
    assert stats["internal_errors"] == stats["unrefined_frames"] == 0
