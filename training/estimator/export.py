# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished training as two ONNX files: NAME.onnx, quantized, and its full-precision twin NAME-fp.onnx."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

import gr_kaq
from gr_kaq.estimation.learned import FILE_FORMAT, SUFFIX
from gr_kaq.signals.signal_model import from_db

from .config import Config, Data
from .frames import SPACING_HZ, FrameSource
from .network import EstimatorNet, interpolated
from .onnx_model import onnx_model
from .windows import Windows, windows

__all__ = ["error_db", "export", "held_out_windows", "linear", "refined", "statistics_range"]

HELD_OUT_SEED = 1_000_000
CHUNK = 4096
MARGIN = 2**0.5
SYMBOL = 1.25  # of an OFDM symbol with its cyclic prefix, in inverse carrier spacings
DESCRIPTION = (
    "Refines the channel estimate of a gr-kaq frame, after AdaFortiTran (arXiv 2505.09076); {}. "
    "Carrier spacing 31.25 kHz, TDL channels, SNR and statistics as in the training configuration"
)


def export(config: Config, twin: EstimatorNet, network: EstimatorNet, directory: Path) -> list[Path]:
    """Write both files, with the MSE that both have on held-out frames among their metadata."""
    held_out = held_out_windows(config)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    baselines = {"ls": error_db(held_out, linear(held_out)), "lmmse": error_db(held_out, held_out.lmmse)}
    for name, net in ((config.name, network), (f"{config.name}-fp", twin)):
        bits = config.quantizer.bits if net is network else None
        precision = "full precision" if bits is None else f"INT{bits}, step law alpha SNR^(-1/2) + gamma"
        mse = {**baselines, "estimator": error_db(held_out, refined(net, held_out))}
        metadata = {
            "format": FILE_FORMAT,
            "name": name,
            "description": DESCRIPTION.format(precision),
            "training": json.dumps(config.to_dict()),
            "range": json.dumps(statistics_range(config.data)),
            "mse": json.dumps({"frames": config.held_out, "db": mse}),
            "gr_kaq_version": gr_kaq.__version__,
        }
        paths.append(directory / f"{name}{SUFFIX}")
        paths[-1].write_bytes(onnx_model(net, name, metadata).SerializeToString())
    return paths


def statistics_range(data: Data) -> list[list[float]]:
    """Lowest and highest statistics to rely on, as estimated: what frames were drawn from, and `MARGIN` beyond."""
    low, high = (from_db(value) for value in data.snr_db)
    shortest, longest = (1e-9 * SPACING_HZ * value for value in data.delay_spread_ns)
    fastest = data.doppler_hz[1] / SPACING_HZ * SYMBOL
    return [
        [float(low) / max(data.num_tx) / MARGIN, shortest / MARGIN, 0.0],
        [float(high) * MARGIN, longest * MARGIN, fastest * MARGIN],
    ]


def held_out_windows(config: Config) -> Windows:
    """Frames like those of the training, but others."""
    source = FrameSource(config.data.timing, HELD_OUT_SEED)
    return windows(source.random(config.data, config.held_out), config.data.windows, HELD_OUT_SEED)


@torch.no_grad()
def refined(network: EstimatorNet, data: Windows) -> Tensor:
    """What a network makes of windows, complex64 (P, 52, 14)."""
    chunks = []
    for part in torch.arange(len(data.truth)).split(CHUNK):
        ls, lmmse = (torch.cat([x[part].real, x[part].imag]) for x in (data.ls, data.lmmse))
        chunks.append(torch.complex(*network(ls, lmmse, data.statistics[part].repeat(2, 1))[0].chunk(2)))
    return torch.cat(chunks)


def linear(data: Windows) -> Tensor:
    """The LS estimates, interpolated linearly over time as well, complex64 (P, 52, 14)."""
    return torch.complex(interpolated(data.ls.real), interpolated(data.ls.imag))


def error_db(data: Windows, estimate: Tensor) -> float:
    """Squared error over that of each frame's LMMSE estimate, mean over all windows, in dB: 0 for about LMMSE."""
    relative = (estimate - data.truth).abs().square().mean((1, 2)) * data.weight
    return round(10 * float(relative.mean().log10()), 3)
