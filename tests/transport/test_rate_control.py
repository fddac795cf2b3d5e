# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that follows the rate of a link it does not know."""

import pytest

from gr_kaq.transport.rate_control import RateControl


def follow(control, capacity, seconds, queue=0.0, delivered=0.0, began=0.0):
    """A source at the advised rate, and a link of `capacity`; what waits and has arrived then."""
    waits = []
    for step in range(int(100 * seconds)):
        now = began + step / 100
        rate = control.update(now, int(delivered), queue / capacity)
        queue += rate / 100
        sent = min(queue, capacity / 100)
        queue, delivered = queue - sent, delivered + sent
        waits.append(queue / capacity)
    return queue, delivered, max(waits[len(waits) // 2 :])


def test_finds_the_capacity_and_follows_it_down():
    control = RateControl(10_000, 1_000_000, 0.06)
    queue, delivered, wait = follow(control, 100_000, 20)
    assert 70_000 < control.rate < 120_000 and wait < 0.2
    queue, _, wait = follow(control, 30_000, 20, queue, delivered, 20.0)
    assert 20_000 < control.rate < 36_000 and wait < 0.2


def test_stays_between_its_ends_and_does_not_grow_unused():
    control = RateControl(10_000, 50_000, 0.06)
    follow(control, 1_000_000, 20)
    assert control.rate == 50_000
    idle = RateControl(10_000, 50_000, 0.06)
    for step in range(1000):
        idle.update(step / 10, 0, 0.0)
    assert idle.rate == 10_000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((0, 1, 1), "low is 0 and high 1; 0 < low <= high"), ((1, 2, 0), "target_wait_s is 0; a number above 0")],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        RateControl(*arguments)
