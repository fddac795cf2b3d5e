# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished training as two ONNX files: NAME.onnx, quantized, and its full-precision twin NAME-fp.onnx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gr_kaq
from gr_kaq.estimation.learned import FILE_FORMAT, SUFFIX
from gr_kaq.signals.signal_model import from_db

from ..quantization.quantizers import limits
from .config import Config, Data, Quantizer
from .frames import SPACING_HZ, FrameSource
from .network import EstimatorNet, interpolated
from .onnx_model import onnx_model
from .windows import Windows, windows

__all__ = ["error_db", "export", "held_out_windows", "linear", "quantization", "refined", "statistics_range"]

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
        quantizer = config.quantizer if net is network else None
        precision = "full precision"
        if quantizer is not None:
            widths = sorted(set(quantizer.widths or (quantizer.bits,)))
            precision = f"INT{'/'.join(map(str, widths))}, step law alpha SNR^(-1/2) + gamma"
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
        if quantizer is not None:
            metadata["quantization"] = json.dumps(quantization(quantizer, net))
        paths.append(directory / f"{name}{SUFFIX}")
        paths[-1].write_bytes(onnx_model(net, name, metadata).SerializeToString())
    return paths


def quantization(quantizer: Quantizer, network: EstimatorNet) -> dict[str, Any]:
    """What `kaq info` shows of a quantized network: method, and of each product its widths and its range at 20 dB."""
    root = torch.tensor([0.1])
    products = {}
    for name, product in network.products().items():
        assert product.step is not None and product.activation_bits is not None
        low, high = limits(product.activation_bits, product.unsigned)
        step = float(product.step(root).detach())
        products[name] = {
            "weight_bits": product.weight_bits,
            "activation_bits": product.activation_bits,
            "range": [round(low * step, 4), round(high * step, 4)],
            "law": {"alpha": round(float(product.step.alpha), 6), "gamma": round(float(product.step.gamma), 6)},
        }
    return {"method": quantizer.method, "law": quantizer.law, "products": products}


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
    chunks, device = [], network.positions.device
    for part in torch.arange(len(data.truth)).split(CHUNK // network.rows):
        ls, lmmse = (torch.cat([x[part].real, x[part].imag]).to(device) for x in (data.ls, data.lmmse))
        statistics = data.statistics[part].repeat(2, 1).to(device)
        chunks.append(torch.complex(*network(ls, lmmse, statistics)[0].cpu().chunk(2)))
    return torch.cat(chunks)


def linear(data: Windows) -> Tensor:
    """The LS estimates, interpolated linearly over time as well, complex64 (P, 52, 14)."""
    return torch.complex(interpolated(data.ls.real), interpolated(data.ls.imag))


def error_db(data: Windows, estimate: Tensor) -> float:
    """Squared error over that of each frame's LMMSE estimate, mean over all windows, in dB: 0 for about LMMSE."""
    relative = (estimate - data.truth).abs().square().mean((1, 2)) * data.weight
    return round(10 * float(relative.mean().log10()), 3)
