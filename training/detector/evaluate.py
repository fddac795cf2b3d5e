# SPDX-License-Identifier: GPL-3.0-or-later
"""BER of what was trained, measured with gr_kaq itself: the integer detectors, full precision, LMMSE.

All detectors see the same received vectors, so that their differences are known better than their rates.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import ChannelModel, RayleighChannels
from gr_kaq.commands.long_run import progress_bar
from gr_kaq.detection.detector import Detector
from gr_kaq.detection.linear_detector import LinearDetector
from gr_kaq.detection.list_model import ListModel
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from gr_kaq.links.simulated_link import Link, count_bit_errors
from gr_kaq.native import fastest_backend
from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.constellation import CONSTELLATIONS

from .batches import recorded_packets
from .config import Config

__all__ = ["EVALUATION_SEED", "measure", "measure_again", "row", "with_measured_ber"]

EVALUATION_SEED = 1_000_000
ESTIMATES_PER_DRAW = 500

M = TypeVar("M", DetectorModel, ListModel)


class PacketChannels(ChannelModel):
    """Given packets, complex64 (packets, subcarriers, num_rx, num_tx), one after the other, over and over."""

    def __init__(self, packets: NDArray[np.complex64]):
        self._packets = packets
        self._next = 0

    def draw(self, count: int) -> NDArray[np.complex64]:
        index = (self._next + np.arange(count)) % len(self._packets)
        self._next = (self._next + count) % len(self._packets)
        return self._packets[index]


def measure(
    config: Config, models: Sequence[DetectorModel], *, seed: int | None = None, progress: bool = True
) -> list[dict[str, Any]]:
    """Measure LMMSE and `models`, until all have made enough errors.

    Args:
        config: what they were trained for.
        models: what to measure.
        seed: of the transmissions; None: one that follows from the configuration's.
        progress: show a progress bar.

    Returns:
        One dict per detector, channel, size and SNR: detector, and the keys of `measured_ber` in the model file.
    """
    seed = EVALUATION_SEED + config.seed if seed is None else seed
    sizes = dict.fromkeys(config.sizes)
    places = [(c, size, snr) for c in _channel_names(config) for size in sizes for snr in config.evaluation.snr_db]
    detectors = [LinearDetector("lmmse", CONSTELLATIONS[config.constellation], "reference"), *_detectors(models)]
    results = []
    bar = progress_bar(places, desc=f"{config.name} BER", mininterval=0.5, disable=not progress)
    for number, (channel, (num_rx, num_tx), snr_db) in enumerate(bar):
        place = {"snr_db": snr_db, "num_rx": num_rx, "num_tx": num_tx, "channel": channel, "seed": seed + number}
        measured = _count(config, detectors, place, config.evaluation.min_errors, config.evaluation.max_bits)
        results += measured
        if progress:
            bar.write("\n".join(map(row, measured)), file=sys.stderr)
    return results


def row(result: dict[str, Any]) -> str:
    """A line of the table: SNR, size, detector, BER."""
    rate = BitErrorRate(result["bit_errors"], result["bits"])
    size = f"{result['num_rx']}x{result['num_tx']}"
    return f"  {result['snr_db']:5g} dB  {size:<6} {result['detector']:<28} {rate}"


def measure_again(
    config: Config, models: Sequence[DetectorModel], results: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Measure `models` on exactly the transmissions of earlier results for this configuration's channels."""
    detectors = _detectors(models)
    places = {r["seed"]: r for r in results}
    return [r for place in places.values() for r in _count(config, detectors, place, None, place["bits"])]


def with_measured_ber(model: M, results: list[dict[str, Any]]) -> M:
    """The model with its part of `measure`'s results."""

    def place(r: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(r[key] for key in ("snr_db", "num_rx", "num_tx", "channel"))

    lmmse = {place(r): r["bit_errors"] for r in results if r["detector"] == "lmmse"}
    own = [
        {k: v for k, v in r.items() if k != "detector"} | {"lmmse_bit_errors": lmmse[place(r)]}
        for r in results
        if r["detector"] == model.name
    ]
    return dataclasses.replace(model, measured_ber=tuple(own))


def _channel_names(config: Config) -> list[str]:
    channel = config.channel
    if channel.kind == "recorded":
        assert channel.training_packets is not None and channel.file is not None
        low, high = channel.training_packets
        name = channel.file.rsplit("/", 1)[-1]
        return [f"{name}, packets held out (all but {low} to {high - 1})", f"{name}, all packets"]
    if channel.kind == "kronecker":
        return [f"kronecker, exponential, correlation {channel.correlation:g}"]
    return ["iid rayleigh"]


def _detectors(models: Sequence[DetectorModel]) -> list[Detector]:
    backend = fastest_backend()
    return [UnfoldedDetector(model, backend) for model in models]


def _count(
    config: Config, detectors: Sequence[Detector], place: dict[str, Any], min_errors: int | None, max_bits: int
) -> list[dict[str, Any]]:
    """Results of all detectors at a place: the keys snr_db, num_rx, num_tx, channel and seed.

    Without `min_errors`, `max_bits` are simulated.
    """
    channel_seed, link_seed = np.random.SeedSequence(place["seed"]).spawn(2)
    size = place["num_rx"], place["num_tx"]
    channels: ChannelModel
    if config.channel.kind == "recorded":
        assert config.channel.training_packets is not None
        packets = recorded_packets(config.channel, size).numpy()
        if "held out" in place["channel"]:
            packets = np.delete(packets, slice(*config.channel.training_packets), axis=0)
        channels = PacketChannels(packets)
        # a draw is all packets, so that each counts alike; they are few, so that each carries more vectors
        estimates_per_draw, num_vectors = len(packets), 20
    else:
        correlation = config.channel.correlation  # 0 but for kind: kronecker
        channels = RayleighChannels(*size, rx_correlation=correlation, tx_correlation=correlation, seed=channel_seed)
        # errors come in clusters of bad channels, so that many channels tell more than many vectors
        estimates_per_draw, num_vectors = ESTIMATES_PER_DRAW, 4
    constellation = CONSTELLATIONS[config.constellation]
    counts = count_bit_errors(
        detectors,
        Link(channels, constellation, place["snr_db"], num_vectors=num_vectors, seed=link_seed),
        min_errors=max_bits if min_errors is None else min_errors,  # there are no more errors than bits
        max_bits=max_bits,
        estimates_per_draw=estimates_per_draw,
    )
    where = {key: place[key] for key in ("num_rx", "num_tx", "channel", "seed")}
    return [
        {
            "detector": detector.name,
            "snr_db": place["snr_db"],
            "bit_errors": count.errors,
            "bits": count.bits,
            **where,
        }
        for detector, count in zip(detectors, counts, strict=True)
    ]
