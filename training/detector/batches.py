# SPDX-License-Identifier: GPL-3.0-or-later
"""Random batches: channels, symbols and received vectors, in torch.

    y = H x + n, n ~ CN(0, noise_var I), noise_var = num_tx / SNR

Channels have E|h|^2 = 1, so that this is the SNR of `gr_kaq.signals.signal_model` on average. What the laws of a
network see is the SNR of the estimate that a channel belongs to, as in the detector: of the channel itself where
channels are independent, of the packet (over all its subcarriers) where they are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gr_kaq.channels.channel_file import read_packets
from gr_kaq.signals.constellation import Constellation
from gr_kaq.signals.signal_model import db, from_db

from ..config import ROOT, InvalidKey
from .config import Channel, CsiError

__all__ = ["Batch", "draw_batch", "draw_channels", "recorded_packets", "to_real", "training_packets"]


PERFECT = CsiError()


@dataclass(frozen=True)
class Batch:
    """B channels, T vectors for each; n = 2 num_tx real rows, real over imaginary parts.

    Attributes:
        h: complex64 (B, num_rx, num_tx), as estimated.
        y: complex64 (B, T, num_rx).
        x: float32 (B, T, n), the symbols sent.
        noise_var: (B,), as estimated.
        snr_db: (B,), what the laws see.
    """

    h: Tensor
    y: Tensor
    x: Tensor
    noise_var: Tensor
    snr_db: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def to_real(x: Tensor) -> Tensor:
    """(..., m) complex to (..., 2 m), real parts before imaginary parts."""
    return torch.cat([x.real, x.imag], dim=-1)


def complex_normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """CN(0, 1) entries."""
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def recorded_packets(channel: Channel, size: tuple[int, int]) -> Tensor:
    """All recorded channels, complex64 (packets, subcarriers, num_rx, num_tx), see `channel_file`."""
    assert channel.file is not None
    path = ROOT / channel.file
    try:
        return torch.from_numpy(read_packets(path, *size))
    except ValueError as error:
        raise InvalidKey("channel.file", str(error)) from None


def training_packets(channel: Channel, size: tuple[int, int]) -> Tensor:
    """Those of `recorded_packets` that are trained on.

    Raises:
        ConfigError: the recording has not so many.
    """
    assert channel.training_packets is not None
    packets = recorded_packets(channel, size)
    low, high = channel.training_packets
    if not 0 <= low < high <= len(packets):
        raise InvalidKey("channel.training_packets", f"0 to {len(packets)} expected, got {[low, high]}")
    return packets[low:high]


def draw_channels(
    channel: Channel, packets: Tensor | None, count: int, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Draw channels, complex64 (count, num_rx, num_tx) with E|h|^2 = 1.

    Args:
        channel: what kind.
        packets: of `training_packets`, None for the other kinds. Packet and subcarrier are drawn independently.
        count: how many.
        size: (num_rx, num_tx).
        generator: source of randomness.
    """
    if packets is not None:
        packet = torch.randint(len(packets), (count,), generator=generator)
        subcarrier = torch.randint(packets.shape[1], (count,), generator=generator)
        return packets[packet, subcarrier]
    h = complex_normal((count, *size), generator)
    if channel.kind == "kronecker":
        correlation = channel.correlation * torch.rand(2, count, generator=generator)
        h = _exponential_root(correlation[0], size[0]) @ h @ _exponential_root(correlation[1], size[1]).mT
    return h


def _exponential_root(correlation: Tensor, num_antennas: int) -> Tensor:
    """Cholesky factors (count, m, m) of R_ij = correlation^|i-j|: the Kronecker model, H = L_rx W L_tx^T."""
    index = torch.arange(num_antennas)
    exponent = (index[:, None] - index).abs()
    return torch.linalg.cholesky(correlation[:, None, None] ** exponent).to(torch.complex64)


def draw_batch(
    channel: Channel,
    packets: Tensor | None,
    constellation: Constellation,
    shape: tuple[int, int],
    size: tuple[int, int],
    snr_db: tuple[float, float],
    generator: torch.Generator,
    csi_error: CsiError = PERFECT,
) -> Batch:
    """Draw a batch.

    Args:
        channel, packets: see `draw_channels`.
        constellation: what every stream carries.
        shape: (B, T).
        size: (num_rx, num_tx).
        snr_db: lowest and highest, uniform in dB, one for each channel.
        generator: source of randomness.
        csi_error: of the receiver's estimates, as `gr_kaq.links.simulated_link` makes them.
    """
    count, num_vectors = shape
    num_rx, num_tx = size
    h = draw_channels(channel, packets, count, size, generator)
    nominal = snr_db[0] + (snr_db[1] - snr_db[0]) * torch.rand(count, generator=generator)
    noise_var = num_tx / torch.as_tensor(from_db(nominal.numpy()), dtype=torch.float32)
    levels = constellation.half_distance * torch.as_tensor(constellation.levels, dtype=torch.float32)
    index = torch.randint(constellation.num_levels, (count, num_vectors, 2 * num_tx), generator=generator)
    x = levels[index]
    noise = complex_normal((count, num_vectors, num_rx), generator) * noise_var.sqrt()[:, None, None]
    y = torch.complex(x[..., :num_tx], x[..., num_tx:]) @ h.mT + noise
    share = variance = offset = torch.zeros(count)
    if csi_error.channel:
        share = csi_error.channel * torch.rand(count, generator=generator)
        variance = share * noise_var / num_tx
        h = h + variance.sqrt()[:, None, None] * complex_normal((count, num_rx, num_tx), generator)
    low, high = csi_error.snr_bias_db
    if low < high:
        offset = low + (high - low) * torch.rand(count, generator=generator)
    told = noise_var * (1 + share) / 10 ** (offset / 10)
    if packets is not None:  # a packet's power is 1, and what an error adds to it the same on all its subcarriers
        snr = nominal + 10 * torch.log10((1 + variance) / (1 + share)) + offset
    else:
        power = h.abs().square().sum((1, 2)) / num_rx
        snr = torch.as_tensor(db((power / told).numpy()), dtype=torch.float32)
    return Batch(h, y, x, told, snr)
