# SPDX-License-Identifier: GPL-3.0-or-later
"""What priorities are worth to those who cannot wait: PDUs of a base layer that come too late, over the load.

    python -m benchmarks.priorities --load 0.6 0.7 0.8 0.9 1.0 1.1 --seeds 8 --seconds 30

Three flows share a `benchmarks.lossy_link`: a base layer (15 % of the load) and an enhancement (45 %) send a picture's
worth of PDUs every 20 ms, which are of use for 150 ms; a bulk transfer (40 %) sends when it likes. A load of 1 is what
the link carries when there is always something to send, measured over the same fading. All three ways of scheduling
see the same fading, the same flows and the same repetition:

    fifo        first come, first served
    edf         the earliest deadline first, and what is too late is given up; the bulk has no deadline, so it is last
    priorities  base layer before enhancement before bulk, which has a minimum share of 5 %; else as edf

A PDU that was not there 150 ms after it came is a miss. Misses come in groups, so the interval is that of the seeds'
means: twice their standard error.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lossy_link import LossyLink
from benchmarks.units import add_unit_options, run_groups, settings_of
from gr_kaq.commands.long_run import check_folders, check_picture
from gr_kaq.sweeps.results import Job, Result
from gr_kaq.transport.arq_receiver import ArqReceiver
from gr_kaq.transport.arq_sender import ArqSender
from gr_kaq.transport.scheduler import TrafficClass

FIFO, EDF, PRIORITIES = "fifo", "edf", "priorities"
POLICIES = (FIFO, EDF, PRIORITIES)
BASE, ENHANCEMENT, BULK = "base", "enhancement", "bulk"
SHARES = {BASE: 0.15, ENHANCEMENT: 0.45, BULK: 0.40}
PERIOD_S, LIFETIME_S = 0.02, 0.15
MAX_PDU, BULK_PDU = 1200, 1200
BULK_SHARE = 0.05


class Flows:
    """What is offered, and what of it comes in time.

    Args:
        sender: takes it.
        policy: one of `POLICIES`.
        rate: bytes per second of all flows.
        seed: of the bulk's times.
    """

    def __init__(self, sender: ArqSender, policy: str, rate: float, seed: int):
        self._sender, self._policy, self._rate = sender, policy, rate
        self._rng = np.random.default_rng([seed, 1])
        self._next_picture = self._next_bulk = 0.0
        self._number = 0
        self.times: dict[int, tuple[str, float]] = {}  # flow and arrival of each PDU
        self.refused = 0

    def submit(self, now: float) -> None:
        """Offer what there is now."""
        while self._next_picture <= now:
            for flow in (BASE, ENHANCEMENT):
                left = round(SHARES[flow] * self._rate * PERIOD_S)
                while left > 0:
                    self._offer(flow, min(left, MAX_PDU), self._next_picture, now)
                    left -= MAX_PDU
            self._next_picture += PERIOD_S
        while self._next_bulk <= now:
            self._offer(BULK, BULK_PDU, self._next_bulk, now)
            self._next_bulk += self._rng.exponential(BULK_PDU / (SHARES[BULK] * self._rate))

    def _offer(self, flow: str, length: int, arrived: float, now: float) -> None:
        self.times[self._number] = (flow, arrived)
        data = self._number.to_bytes(4, "big") + bytes(max(0, length - 4))
        traffic_class = {BASE: 0, ENHANCEMENT: 1, BULK: 2}[flow] if self._policy == PRIORITIES else 0
        deadline = math.inf if self._policy == FIFO or flow == BULK else arrived + LIFETIME_S
        self.refused += not self._sender.submit(data, traffic_class, now, deadline)
        self._number += 1


def run(job: Job) -> Result:
    """Misses of base layer and enhancement, and how much of the bulk arrived, for one seed.

    Args:
        job: policy, load, seconds, snr_db, doppler and seed.
    """
    policy, load, seconds, snr_db, doppler, seed = (
        job[name] for name in ("policy", "load", "seconds", "snr_db", "doppler", "seed")
    )
    link = LossyLink(seconds, snr_db, doppler=doppler, seed=seed)
    bulk_share = BULK_SHARE if policy == PRIORITIES else 0.0
    sender = ArqSender(1 + seed, [TrafficClass(), TrafficClass(), TrafficClass(min_share=bulk_share)])
    flows = Flows(sender, policy, load * carried(seconds, snr_db, doppler, seed), seed)
    came: dict[int, float] = {}
    for now, delivered in link.run(sender, ArqReceiver(1 + seed), flows.submit):
        for pdu in delivered:
            came[int.from_bytes(pdu.data[:4], "big")] = now
    end = seconds - LIFETIME_S  # later ones are not decided
    results: dict[str, Any] = {}
    for flow in (BASE, ENHANCEMENT):
        of_flow = [number for number, (name, arrived) in flows.times.items() if name == flow and arrived < end]
        late = [number for number in of_flow if came.get(number, math.inf) > flows.times[number][1] + LIFETIME_S]
        results[flow] = {"pdus": len(of_flow), "misses": len(late)}
    bulk = [number for number, (name, _) in flows.times.items() if name == BULK]
    results[BULK] = {"pdus": len(bulk), "delivered": sum(number in came for number in bulk)}
    return results


@functools.cache
def carried(seconds: float, snr_db: float, doppler: float, seed: int) -> float:
    """Bytes per second that arrive when there is always something to send."""
    sender, receiver = ArqSender(1 + seed), ArqReceiver(1 + seed)

    def submit(now: float) -> None:
        while sender.queued_bytes()[0] < 100_000:
            sender.submit(bytes(BULK_PDU), 0, now)

    link = LossyLink(seconds, snr_db, doppler=doppler, seed=seed)
    return sum(len(pdu.data) for _, pdus in link.run(sender, receiver, submit) for pdu in pdus) / seconds


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all seeds: counts, and the share of misses with twice its standard error."""
    results: dict[str, Any] = {}
    for flow in (BASE, ENHANCEMENT):
        shares = np.array([run[flow]["misses"] / run[flow]["pdus"] for run in runs])
        error = 2 * shares.std(ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else math.nan
        results[flow] = {
            "pdus": sum(run[flow]["pdus"] for run in runs),
            "misses": sum(run[flow]["misses"] for run in runs),
            "share": float(shares.mean()),
            "interval": float(error),
        }
    results[BULK] = {name: sum(run[BULK][name] for run in runs) for name in ("pdus", "delivered")}
    return results


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Misses of the base layer over the load."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # only who wants a picture

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, flow in zip(figure.subplots(1, 2, sharey=True), (BASE, ENHANCEMENT), strict=True):
        for policy, style in zip(POLICIES, ("s:", "^--", "o-"), strict=True):
            points = [point for point in results if point["policy"] == policy]
            loads = [point["load"] for point in points]
            counts = [point[flow] for point in points]
            shares = [max(count["share"], 0.5 / count["pdus"]) for count in counts]
            axes.errorbar(loads, shares, [count["interval"] for count in counts], fmt=style, label=policy, capsize=3)
        axes.set(xlabel="load", title=f"{flow}: PDUs that miss their 150 ms", yscale="log")
        axes.grid(True, alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--load", type=float, nargs="+", default=[0.7, 0.8, 0.9, 1.0, 1.1], help="offered over carried bytes")
    add("--seeds", type=int, default=8, help="how many fading channels (default: %(default)s)")
    add("--seconds", type=float, default=30.0, help="of each (default: %(default)g)")
    add("--snr-db", type=float, default=15.0, help="mean (default: %(default)g)")
    add("--doppler", type=float, default=5.0, help="largest Doppler shift in Hz (default: %(default)g)")
    add("--output", type=Path, help="JSON")
    add("--plot", type=Path, help="picture")
    add_unit_options(parser)
    options = parser.parse_args()
    if options.seeds < 1 or options.seconds <= 1 or min(options.load) <= 0:
        parser.error("--seeds of 1 or more, --seconds above 1 and a --load above 0 expected")
    return options


def main() -> int:
    """Measure and show; the exit status."""
    options = parse_options()
    try:
        check_folders(options.output)
        check_picture(options.plot)
    except (ValueError, ImportError) as error:
        print(f"priorities: {error}", file=sys.stderr)
        return 1
    channel = {"seconds": options.seconds, "snr_db": options.snr_db, "doppler": options.doppler}
    points = [{"load": load, "policy": policy} for load in options.load for policy in POLICIES]
    seeds = range(options.seeds)
    results: list[dict[str, Any]] = []
    print("load  policy      base misses of PDUs    share            enhancement      bulk delivered")

    def show(number: int, runs: list[Result]) -> None:
        results.append(point := points[number] | summary(runs))
        base, more, bulk = point[BASE], point[ENHANCEMENT], point[BULK]
        print(
            f"{point['load']:4.2f}  {point['policy']:10}  {base['misses']:6} of {base['pdus']:6}  "
            f"{base['share']:.5f} +- {base['interval']:.5f}  {more['share']:.4f} +- {more['interval']:.4f}  "
            f"{bulk['delivered'] / bulk['pdus']:.3f}",
            flush=True,
        )

    run_groups(options, "runs", run, [[{**point, **channel, "seed": seed} for seed in seeds] for point in points], show)
    if options.output:
        settings = settings_of(options)
        options.output.write_text(json.dumps({"settings": settings, "results": results}, indent=1) + "\n")
    if options.plot:
        plot(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
