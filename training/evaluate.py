# SPDX-License-Identifier: GPL-3.0-or-later
"""BER of what was trained, measured with gr_kaq itself: the NumPy integer reference, full precision, LMMSE.

All detectors see the same received vectors, so that their differences are known better than their rates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gr_kaq.ber import BitErrorRate
from gr_kaq.constellation import CONSTELLATIONS
from gr_kaq.detectors import Detector, LinearDetector, UnfoldedDetector
from gr_kaq.model_file import DetectorModel
from gr_kaq.signal_model import from_db

from .batches import draw_channels, recorded_packets
from .config import Config

__all__ = ["measure", "with_measured_ber"]

EVALUATION_SEED = 1_000_000
CHANNELS_PER_DRAW = 1000

Estimate = tuple[NDArray[np.complex64], NDArray[np.float64]]
"""Channels (C, num_rx, num_tx), and a noise variance for each (C,) or one for all the subcarriers ()."""


def measure(config: Config, models: list[DetectorModel]) -> list[dict[str, Any]]:
    """Measure LMMSE and `models`.

    Returns:
        One dict per detector, channel, size and SNR: detector, and the keys of `measured_ber` in the model file.
    """
    constellation = CONSTELLATIONS[config.constellation]
    detectors: list[Detector] = [LinearDetector("lmmse", constellation)]
    detectors += [UnfoldedDetector(model, "reference") for model in models]
    results = []
    sizes = dict.fromkeys(config.sizes)
    jobs = [(c, size, snr) for c in _channel_names(config) for size in sizes for snr in config.evaluation.snr_db]
    for number, (channel, size, snr_db) in enumerate(tqdm(jobs, desc=f"{config.name} BER", mininterval=0.5)):
        seed = EVALUATION_SEED + config.seed + number
        for detector, count in zip(detectors, _count(config, detectors, channel, size, snr_db, seed), strict=True):
            results.append(
                {
                    "detector": detector.name,
                    "snr_db": snr_db,
                    "bit_errors": count.errors,
                    "bits": count.bits,
                    "num_rx": size[0],
                    "num_tx": size[1],
                    "channel": channel,
                    "seed": seed,
                }
            )
    return results


def with_measured_ber(model: DetectorModel, results: list[dict[str, Any]]) -> DetectorModel:
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
        return [f"kronecker, exponential, correlation 0 to {channel.correlation:g}"]
    return ["iid rayleigh"]


def _count(
    config: Config, detectors: list[Detector], channel: str, size: tuple[int, int], snr_db: float, seed: int
) -> list[BitErrorRate]:
    """Simulate until every detector has made enough errors."""
    constellation = CONSTELLATIONS[config.constellation]
    # errors come in clusters of bad channels, so that many channels tell more than many vectors; recorded ones are few
    num_vectors = 20 if config.channel.kind == "recorded" else 4
    rng = np.random.default_rng(seed)
    counts = [BitErrorRate() for _ in detectors]
    for estimates in _rounds(config, channel, size, snr_db, seed):
        for h, noise_var in estimates:
            num_bits = size[1] * constellation.bits_per_symbol
            bits = rng.integers(0, 2, (len(h), num_vectors, num_bits), dtype=np.uint8)
            x = constellation.modulate(bits)
            noise = rng.standard_normal((*x.shape[:2], size[0], 2), np.float32) @ np.array([1, 1j], np.complex64)
            scale = np.sqrt(noise_var / 2).astype(np.float32).reshape(-1, 1, 1)
            y = x @ h.swapaxes(-1, -2) + scale * noise
            for i, detector in enumerate(detectors):
                decided = constellation.decide(detector.prepare(h, noise_var=noise_var).detect(y).symbols)
                counts[i] += BitErrorRate(int(np.count_nonzero(decided != bits)), bits.size)
        enough = min(count.errors for count in counts) >= config.evaluation.min_errors
        if enough or counts[0].bits >= config.evaluation.max_bits:
            break
    return counts


def _rounds(config: Config, channel: str, size: tuple[int, int], snr_db: float, seed: int) -> Iterator[list[Estimate]]:
    """Endless rounds of estimates. A round of recorded channels is all packets, so that each counts alike."""
    if config.channel.kind == "recorded":
        assert config.channel.training_packets is not None
        packets = recorded_packets(config.channel, size).numpy()
        if "held out" in channel:
            packets = np.delete(packets, slice(*config.channel.training_packets), axis=0)
        noise_var = np.asarray(size[1] / from_db(snr_db))
        while True:
            yield [(packet, noise_var) for packet in packets]
    generator = torch.Generator().manual_seed(seed)
    while True:
        h = draw_channels(config.channel, None, CHANNELS_PER_DRAW, size, generator).numpy()
        yield [(h, np.full(CHANNELS_PER_DRAW, size[1] / from_db(snr_db)))]
