# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of a learned estimator as a YAML file: every key, its default and its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from gr_kaq.channels.profiles import PROFILES
from gr_kaq.estimation.learned import MAX_CARRIERS, MAX_STREAMS, WINDOW
from gr_kaq.frames.frame_format import FFT_SIZES, NUM_SYMBOLS

from ..config import Configuration, InvalidKey, ascending, at_least, one_of
from ..optimization import Stage
from ..quantization.laws import LawKind
from ..quantization.mmd import Mmd
from ..quantization.quantizers import Calibration
from ..quantization.recipes import Method

__all__ = ["Config", "Data", "Network", "Quantizer"]


@dataclass(frozen=True)
class Data:
    """The frames that an estimator is trained on, see `frames`.

    Args:
        num_rx, num_tx: numbers of antennas and streams that the frames are drawn from, in equal shares.
        fft_sizes: sizes that the frames are drawn from, in equal shares.
        profiles: of `gr_kaq.channels.profiles.PROFILES`, in equal shares.
        snr_db: lowest and highest SNR, uniform in dB.
        doppler_hz: lowest and highest maximum Doppler shift, uniform; every tenth frame has none at all.
        delay_spread_ns: lowest and highest RMS delay spread, uniform in its logarithm.
        timing: largest shift of the receiver's timing, in samples at 64 carriers, uniform.
        windows: how many of a frame's are kept, chosen at random: those of one frame are alike.
        band_noise: share of the frames whose training symbols have noise in a band of 2 to 13 of 52 carriers, anywhere.
        band_noise_db: lowest and highest power of that noise, relative to the signal on all carriers, uniform in dB.
    """

    num_rx: tuple[int, ...] = (2, 4)
    num_tx: tuple[int, ...] = (1, 2, 4)
    fft_sizes: tuple[int, ...] = (64, 64, 64, 64, 64, 64, 64, 256)
    profiles: tuple[str, ...] = ("tdl-a", "tdl-b", "tdl-c")
    snr_db: tuple[float, float] = (-3.0, 28.0)
    doppler_hz: tuple[float, float] = (100.0, 1100.0)
    delay_spread_ns: tuple[float, float] = (30.0, 350.0)
    timing: float = 1.0
    windows: int = 8
    band_noise: float = 0.0
    band_noise_db: tuple[float, float] = (-30.0, 0.0)

    def __post_init__(self) -> None:
        for key in ("num_rx", "num_tx", "fft_sizes", "profiles"):
            if not getattr(self, key):
                raise InvalidKey(key, "at least one value expected")
        at_least("num_rx", min(self.num_rx), 1)
        for num_tx in self.num_tx:
            one_of("num_tx", num_tx, range(1, MAX_STREAMS + 1))
        for fft_size in self.fft_sizes:
            one_of("fft_sizes", fft_size, [size for size in FFT_SIZES if size <= MAX_CARRIERS])
        for profile in self.profiles:
            one_of("profiles", profile, PROFILES)
        ascending("snr_db", self.snr_db)
        ascending("doppler_hz", self.doppler_hz)
        at_least("doppler_hz", self.doppler_hz[0], 0)
        ascending("delay_spread_ns", self.delay_spread_ns)
        if self.delay_spread_ns[0] <= 0:
            raise InvalidKey("delay_spread_ns", f"positive values expected, got {list(self.delay_spread_ns)}")
        at_least("windows", self.windows, 1)
        if not 0 <= self.band_noise <= 1:
            raise InvalidKey("band_noise", f"0 to 1 expected, got {self.band_noise}")
        ascending("band_noise_db", self.band_noise_db)


@dataclass(frozen=True)
class Network:
    """Shape of the network, see `network.EstimatorNet`.

    Args:
        base: the estimate that the network corrects: ``"lmmse"`` (it sees by how much LS differs), or ``"ls"``, as
            published.
        unit: of corrections, and of the difference of LS and LMMSE: ``"noise"`` (SNR^(-1/2)) or ``"channel"`` (1).
        entry: how training symbols become tokens: ``"patches"`` (one product interpolates to all of them at once) or
            ``"grid"`` (one interpolates to the grid, another one embeds each patch of it), as published.
        patch: carriers and symbols of a patch. Of the last carriers, what is beyond the window is left out.
        width: of a token.
        heads: of the attention.
        layers: of the encoder.
        hidden: width of the feed-forward part.
    """

    base: Literal["lmmse", "ls"] = "lmmse"
    unit: Literal["noise", "channel"] = "noise"
    entry: Literal["patches", "grid"] = "patches"
    patch: tuple[int, int] = (4, 14)
    width: int = 48
    heads: int = 1
    layers: int = 1
    hidden: int = 96

    def __post_init__(self) -> None:
        for key in ("width", "heads", "layers", "hidden"):
            at_least(key, getattr(self, key), 1)
        if self.width % self.heads:
            raise InvalidKey("heads", f"has to divide the width, {self.width}, got {self.heads}")
        carriers, symbols = self.patch
        if not 1 <= carriers <= WINDOW or symbols < 1 or NUM_SYMBOLS % symbols:
            raise InvalidKey(
                "patch",
                f"1 to {WINDOW} carriers, and symbols that divide {NUM_SYMBOLS}, expected, got {list(self.patch)}",
            )

    @property
    def num_products(self) -> int:
        """Products with weights."""
        return (3 if self.entry == "grid" else 2) + 4 * self.layers


@dataclass(frozen=True)
class Quantizer:
    """How the quantized network comes about from its full-precision twin.

    Args:
        bits: of weights and activations.
        law: ``"dynamic"`` (alpha SNR^(-1/2) + gamma) or ``"static"`` (alpha = 0).
        start: calibration of the activations' steps, see `training.quantization.quantizers.calibrated_step`.
        method: what is folded and calibrated first, see `training.quantization.recipes`.
        strength: of the folded scales, 0 to 1.
        widths: bits of each product, in the order of the network; empty: `bits` of all of them.
    """

    bits: int = 8
    law: LawKind = "dynamic"
    start: Calibration = "mse"
    method: Method = "plain"
    strength: float = 1.0
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for key, bits in [("bits", self.bits), *(("widths", width) for width in self.widths)]:
            one_of(key, bits, range(2, 9))
        if not 0 <= self.strength <= 1:
            raise InvalidKey("strength", f"0 to 1 expected, got {self.strength}")


@dataclass(frozen=True)
class Config(Configuration):
    """One training.

    Args:
        name: of the exported estimator; its full-precision twin is NAME-fp.
        full_precision: the stage that trains the twin.
        quantized: the stage that trains the quantized network; 0 iterations are post-training quantization.
        frames: to be trained on.
        held_out: frames to measure on.
        data: what they are drawn from.
        network: its shape.
        quantizer: of the quantized network.
        mmd: distribution match.
        batch: grids of a batch, a pair's real and imaginary part being two.
        seed: of everything random.
        start: estimator whose full-precision twin the training starts from, see `sources.load_twin`; empty: none.
    """

    kind: ClassVar[str] = "estimator"

    full_precision: Stage
    quantized: Stage
    frames: int = 24000
    held_out: int = 1000
    data: Data = Data()
    network: Network = Network()
    quantizer: Quantizer = Quantizer()
    mmd: Mmd = field(default_factory=Mmd)
    batch: int = 256
    seed: int = 1
    start: str = ""

    def __post_init__(self) -> None:
        at_least("frames", self.frames, 1)
        at_least("held_out", self.held_out, 1)
        at_least("batch", self.batch, 2)
        at_least("full_precision.iterations", self.full_precision.iterations, 1)
        if self.quantizer.widths and len(self.quantizer.widths) != self.network.num_products:
            raise InvalidKey(
                "quantizer.widths",
                f"{self.network.num_products} expected, one of each product, got {len(self.quantizer.widths)}",
            )
