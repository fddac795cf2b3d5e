# SPDX-License-Identifier: GPL-3.0-or-later
"""BER and mutual information of list detectors, measured with gr_kaq itself; all see the same received vectors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import ChannelModel, RayleighChannels
from gr_kaq.commands.long_run import progress_bar
from gr_kaq.detection.detector import Detector
from gr_kaq.detection.linear_detector import LinearDetector
from gr_kaq.detection.list_detector import ListDetector
from gr_kaq.detection.list_model import ListModel
from gr_kaq.links.simulated_link import Link, detect
from gr_kaq.native import fastest_backend
from gr_kaq.signals.constellation import CONSTELLATIONS

from ..evaluate import EVALUATION_SEED, row
from .config import ListConfig, Place

__all__ = ["channel_name", "measure"]

ESTIMATES_PER_DRAW = 250
VECTORS = 4


class WeakerStreams(ChannelModel):
    """Channels with the second half of the streams weaker by `spread_db`."""

    def __init__(self, channels: ChannelModel, spread_db: float):
        self._channels, self._spread_db = channels, spread_db

    def draw(self, count: int) -> NDArray[np.complex64]:
        h = self._channels.draw(count)
        gains = np.ones(h.shape[-1], np.float32)
        gains[(h.shape[-1] + 1) // 2 :] = 10 ** (-self._spread_db / 20)
        return h * gains


def channel_name(place: Place) -> str:
    """What the channel is called in the model file. The SNR is that of streams which are not weaker."""
    name = f"kronecker, exponential, correlation {place.correlation:g}" if place.correlation else "iid rayleigh"
    return name + (f", half of the streams {place.power_spread_db:g} dB weaker" if place.power_spread_db else "")


def measure(config: ListConfig, models: Sequence[ListModel], *, progress: bool = True) -> list[dict[str, Any]]:
    """Measure LMMSE and `models`, until all models have made enough errors.

    Args:
        config: says where.
        models: what to measure.
        progress: show a progress bar.

    Returns:
        One dict per detector and point: detector, the keys of `measured_ber` in the model file but for LMMSE's errors,
        and information: mutual information per coded bit, from the LLRs.
    """
    backend = fastest_backend()
    constellation = CONSTELLATIONS[config.constellation]
    detectors = [LinearDetector("lmmse", constellation, backend), *(ListDetector(model, backend) for model in models)]
    points = [(place, snr_db) for place in config.evaluation.places for snr_db in place.snr_db]
    results = []
    bar = progress_bar(points, desc=f"{config.name} BER", mininterval=0.5, disable=not progress)
    for number, (place, snr_db) in enumerate(bar):
        measured = _count(config, detectors, place, snr_db, EVALUATION_SEED + config.seed + number)
        results += measured
        if progress:
            bar.write("\n".join(map(row, measured)), file=sys.stderr)
    return results


def _count(
    config: ListConfig, detectors: Sequence[Detector], place: Place, snr_db: float, seed: int
) -> list[dict[str, Any]]:
    channel_seed, link_seed = np.random.SeedSequence(seed).spawn(2)
    rho = place.correlation
    channels: ChannelModel = RayleighChannels(*place.size, rx_correlation=rho, tx_correlation=rho, seed=channel_seed)
    if place.power_spread_db:
        channels = WeakerStreams(channels, place.power_spread_db)
    link = Link(channels, CONSTELLATIONS[config.constellation], snr_db, num_vectors=VECTORS, seed=link_seed)
    errors, entropy, bits = np.zeros(len(detectors), np.int64), np.zeros(len(detectors)), 0
    while bits < config.evaluation.max_bits and errors[1:].min() < config.evaluation.min_errors:
        sent = link.draw(ESTIMATES_PER_DRAW)
        bits += sent.bits.size
        for i, detector in enumerate(detectors):
            out = detect(detector, sent)
            decided = link.constellation.decide(out.symbols)
            errors[i] += np.count_nonzero(decided != sent.bits)
            llrs = out.llrs.reshape(sent.bits.shape).astype(np.float64)
            entropy[i] += np.logaddexp(0, np.where(sent.bits, -llrs, llrs)).sum()
    where = {"num_rx": place.size[0], "num_tx": place.size[1], "channel": channel_name(place), "seed": seed}
    return [
        {
            "detector": detector.name,
            "snr_db": snr_db,
            "bit_errors": int(errors[i]),
            "bits": bits,
            **where,
            "information": round(float(1 - entropy[i] / bits / np.log(2)), 4),
        }
        for i, detector in enumerate(detectors)
    ]
