# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters of a list detector: K-best search, expectation propagation, and the fusion of both to LLRs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..signals.constellation import Constellation
from .antenna_counts import AntennaCounts

__all__ = ["Curves", "FusionWeights", "ListModel", "PropagationLayer", "Step"]

LARGEST_ENTRY = 32639
"""The largest integer of two signed bytes, 127 * 256 + 127: a quantized entry has at most 16 bits."""


@dataclass(frozen=True)
class Step:
    """Quantization step of a row of the factor: the smaller of alpha and gamma * (largest entry of the row).

    The rows are those of H over the noise's standard deviation: `alpha` follows the noise, as SNR^(-1/2) does in KAQ's
    law alpha SNR^(-1/2) + gamma (arXiv 2505.12736), and `gamma` the channel alone. With gamma = 1 / 127, a row has 8
    bits, and more where alpha of the noise asks for more.
    """

    alpha: float
    gamma: float


@dataclass(frozen=True)
class PropagationLayer:
    """One unfolded layer of expectation propagation.

    Args:
        damping: how far a site moves towards its new value, 0 to 1.
        least_variance: of a symbol's posterior, over the symbol's energy.
    """

    damping: float
    least_variance: float


Curves = tuple[tuple[float, ...], ...]
"""(bits_per_dimension, knots): for each bit of a dimension, the weights of an odd curve, see `FusionWeights`."""


@dataclass(frozen=True)
class FusionWeights:
    """What makes a bit's LLR of those by the list and by the propagation, for some numbers of streams.

    The LLR is the sum over both sources and all knots of weight * clip(llr, -knot, knot). The weights lie between those
    for a narrow list, whose paths are about as likely as its best one, and those for a wide one; see
    `list_reference.fuse`.

    Args:
        max_num_tx: largest number of streams that they are for.
        list_narrow, list_wide: weights of the LLRs by the list.
        propagation_narrow, propagation_wide: weights of those by the propagation.
    """

    max_num_tx: int
    list_narrow: Curves
    list_wide: Curves
    propagation_narrow: Curves
    propagation_wide: Curves


@dataclass(frozen=True)
class ListModel(AntennaCounts):
    """A trained list detector.

    Args:
        name: the file is NAME.kaq.json.
        constellation: what the streams carry.
        survivors: K, paths that each level of the search keeps: 8 or 16.
        matrix_bits: width of the factor's entries, 2 to 16; None: full precision.
        step: their step.
        layers: of expectation propagation, at most 4.
        knots: where the fusion's curves bend, in LLRs, ascending.
        fusion: weights by the number of streams, ascending; the last ones are for max_num_tx at least.
        max_num_rx, max_num_tx, min_rx_per_tx: antenna counts that the detector accepts.
        snr_range_db: SNR that training covered.
        training: what it was trained on, free form.
        measured_ber: BER when it was exported, see docs/internals/model-format.md.
    """

    name: str
    constellation: Constellation
    survivors: int
    matrix_bits: int | None
    step: Step
    layers: tuple[PropagationLayer, ...]
    knots: tuple[float, ...]
    fusion: tuple[FusionWeights, ...]
    max_num_rx: int = 64
    max_num_tx: int = 16
    min_rx_per_tx: float = 1.0
    snr_range_db: tuple[float, float] = (-10.0, 50.0)
    training: dict[str, Any] = field(default_factory=dict)
    measured_ber: tuple[dict[str, Any], ...] = ()

    network = "list"

    @property
    def quantized(self) -> bool:
        """Whether the factor is quantized."""
        return self.matrix_bits is not None

    @property
    def largest_entry(self) -> int:
        """The largest integer that an entry of the factor becomes."""
        assert self.matrix_bits is not None
        return min(2 ** (self.matrix_bits - 1) - 1, LARGEST_ENTRY)

    def fusion_weights(self, num_tx: int) -> FusionWeights:
        """Those for a number of streams."""
        return next(weights for weights in self.fusion if num_tx <= weights.max_num_tx)
