# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to know of a detector, out of its model file alone: as facts (JSON), and as a card (Markdown).

`kaq info` shows both; docs/guide/model-cards.md and the table of docs/guide/detectors.md are made of the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..signals.bit_errors import BitErrorRate
from . import list_model_card
from .laws import layer_values
from .list_model import ListModel
from .model_file import DetectorModel, Model

__all__ = [
    "compare_with_lmmse",
    "description",
    "facts",
    "kind",
    "model_card",
    "rate",
    "reference_point",
    "sizes",
    "widths",
]

REFERENCE_BER = 1e-2
FEW_ERRORS = 100
LAW_MEANINGS = {
    "step": "step of the activations, as an amplitude",
    "variance": "variance of the ramp over the linear estimate's error variance",
    "relaxation": "relaxation",
    "dual_step": "dual step",
    "gradient_step": "step of the gradient",
    "threshold": "soft threshold, as an amplitude",
    "regularization": "regularization over the noise variance",
    "output_variance": "variance of the output's error over the linear estimate's",
}


def kind(model: Model) -> str:
    """Such as ``ADMM-Net``."""
    return list_model_card.kind(model) if isinstance(model, ListModel) else f"{model.network.upper()}-Net"


def widths(model: Model) -> str:
    """Such as ``W8A8``: bits of matrix and activations; a list detector has no activations.

    Where layers differ, ``W3A(2, 3, 3, 3, 4)``.
    """
    if isinstance(model, ListModel):
        return f"W{model.matrix_bits}" if model.quantized else "full precision"
    if not model.quantized:
        return "full precision"
    bits = model.activation_bits
    return f"W{model.matrix_bits}A{f'({_listed(bits)})' if isinstance(bits, tuple) else bits}"


def _listed(bits: tuple[int, ...]) -> str:
    return ", ".join(map(str, bits))


def sizes(model: Model) -> str:
    """Antenna counts that the detector accepts, receive x transmit."""
    ratio = f", num_rx >= {model.min_rx_per_tx:g} num_tx" if model.min_rx_per_tx > 1 else ""
    return f"up to {model.max_num_rx}x{model.max_num_tx}{ratio}"


def description(model: Model) -> str:
    """Network, layers, constellation, widths and sizes in a line."""
    layers = f"EP x{len(model.layers)}" if isinstance(model, ListModel) else f"K={len(model.layers)}"
    return f"{kind(model)}, {layers}, {model.constellation.name}, {widths(model)}; {sizes(model)}"


def facts(model: Model) -> dict[str, Any]:
    """Everything that the card says, for a program; JSON types only."""
    own = list_model_card.facts(model) if isinstance(model, ListModel) else _unfolded_facts(model)
    return {
        "name": model.name,
        "network": model.network,
        "layers": len(model.layers),
        "constellation": model.constellation.name,
        **own,
        "max_num_rx": model.max_num_rx,
        "max_num_tx": model.max_num_tx,
        "min_rx_per_tx": model.min_rx_per_tx,
        "snr_range_db": list(model.snr_range_db),
        "training": model.training,
        "measured_ber": [_point_facts(point) for point in model.measured_ber],
    }


def _unfolded_facts(model: DetectorModel) -> dict[str, Any]:
    """What only an unfolded network has."""
    return {
        "activation_bits": list(model.layer_bits)
        if isinstance(model.activation_bits, tuple)
        else model.activation_bits,
        "matrix_bits": model.matrix_bits,
        "matrix_clip": model.matrix_clip,
        "stream_steps": model.stream_steps,
        "midrise": model.midrise,
        "output_spread": model.output_spread,
        "laws": {
            name: [
                {"alpha": float(alpha), "gamma": float(gamma)} if present else None for alpha, gamma, present in table.T
            ]
            for name, table in model.law_tables.items()
        },
    }


def reference_point(model: Model) -> Mapping[str, Any] | None:
    """The measured point that stands for a detector in a list: its first size and channel, BER nearest to 1e-2."""
    if not model.measured_ber:
        return None
    first = _place(model.measured_ber[0])

    def distance(point: Mapping[str, Any]) -> float:
        return abs(float(np.log(max(point["bit_errors"], 0.5) / point["bits"] / REFERENCE_BER)))

    return min((point for point in model.measured_ber if _place(point) == first), key=distance)


def compare_with_lmmse(point: Mapping[str, Any]) -> int:
    """-1 where the measured point is better than LMMSE, 1 where it is worse, 0 where the 95 % intervals overlap."""
    if "lmmse_bit_errors" not in point:
        return 0
    low, high = _own(point).confidence_interval()
    lmmse_low, lmmse_high = _lmmse(point).confidence_interval()
    return -1 if high < lmmse_low else 1 if low > lmmse_high else 0


def rate(point: Mapping[str, Any], errors: str = "bit_errors") -> str:
    """BER ± half the width of its 95 % interval, and the number of errors; nothing where it was not measured.

    Args:
        point: an entry of `measured_ber`.
        errors: its key, ``"lmmse_bit_errors"`` for LMMSE on the same vectors.
    """
    if errors not in point:
        return ""
    count = BitErrorRate(point[errors], point["bits"])
    low, high = count.confidence_interval()
    return f"{count.rate:.2e} ± {(high - low) / 2:.0e} ({count.errors})"


def model_card(model: Model, twin: Model | None = None, *, level: int = 2) -> str:
    """The card of a detector as Markdown.

    Args:
        model: what the card is about.
        twin: the full-precision network that it was trained from; where it was measured at the same points, on the
            same received vectors, the table has a column for it.
        level: of the card's heading, 1 to 4.
    """
    heading = "#" * level
    lines = [f"{heading} {model.name}", "", f"{description(model)}.", "", *_properties(model, twin), ""]
    if isinstance(model, ListModel):
        lines += [f"{heading}# Parameters", "", *list_model_card.parameters(model), ""]
    else:
        lines += [f"{heading}# Laws", "", *_laws(model), ""]
    lines += [f"{heading}# Training", "", *_training(model), ""]
    lines += [f"{heading}# Measured BER", "", *_measured(model, twin), ""]
    lines += [f"{heading}# Limits", "", *_limits(model), ""]
    return "\n".join(lines)


def _properties(model: Model, twin: Model | None) -> Iterator[str]:
    """The card's table: network, constellation, widths, sizes."""
    low, high = model.snr_range_db
    yield "| | |"
    yield "|---|---|"
    yield from list_model_card.properties(model) if isinstance(model, ListModel) else _unfolded_properties(model)
    ratio = f", at least {model.min_rx_per_tx:g} receive antennas per stream" if model.min_rx_per_tx > 1 else ""
    yield f"| antennas | 1 to {model.max_num_rx} receive, 1 to {model.max_num_tx} transmit{ratio} |"
    yield f"| SNR that training covered | {low:g} to {high:g} dB |"
    if twin is not None:
        yield f"| full-precision twin | `{twin.name}`, which it was trained from |"


def _unfolded_properties(model: DetectorModel) -> Iterator[str]:
    yield f"| network | {model.network.upper()}-Net, {len(model.layers)} layers ({_proximal(model)}) |"
    yield f"| constellation | {model.constellation.name} on every stream |"
    if model.quantized:
        clip = f", clipped at {model.matrix_clip:g} of its row's largest entry" if model.matrix_clip < 1 else ""
        steps = ", a step per stream" if model.stream_steps else ""
        bits = model.activation_bits
        activations = f"{_listed(bits)} bits, layer by layer" if isinstance(bits, tuple) else f"{bits} bits"
        levels = "; all levels, and no zero (midrise)" if model.midrise else ""
        yield f"| widths | activations {activations}{steps}; matrix {model.matrix_bits} bits{clip}{levels} |"
    else:
        yield "| widths | full precision (single precision in NumPy) |"


def _proximal(model: DetectorModel) -> str:
    kinds = {"threshold": "soft threshold", "variance": "constellation ramp"}
    used = [text for name, text in kinds.items() if name in model.law_tables]
    return used[0] if used else "no nonlinearity"


def _laws(model: DetectorModel) -> Iterator[str]:
    """Each law's values at the ends of the SNR range, layer by layer, with the sign of its alpha."""
    low, high = model.snr_range_db
    yield (
        "Values alpha SNR^(-1/2) + gamma, layer by layer, at the lowest and the highest SNR of training, as used: "
        "clipped to the bounds of the model format. The sign is alpha's: with + the law falls as the SNR rises, with - "
        "it rises, with 0 it is static; · marks a layer without such a law."
    )
    yield ""
    yield f"| law | sign of alpha | at {low:g} dB | at {high:g} dB |"
    yield "|---|---|---|---|"
    ends = [layer_values(model, np.array([snr_db])) for snr_db in (low, high)]
    for name, (alpha, _, present) in model.law_tables.items():
        layers = [k for k in range(len(model.layers)) if present[k]]

        def each(texts: list[str], layers: list[int] = layers) -> str:
            return " ".join(texts[k] if k in layers else "·" for k in range(len(texts)))

        values = [each([f"{value:.3g}" for value in getattr(end, name)[0]]) for end in ends]
        yield f"| {LAW_MEANINGS.get(name, name)} | {each([_sign(a) for a in alpha])} | {' | '.join(values)} |"
    for name, law in (("regularization", model.regularization), ("output_variance", model.output_variance)):
        if law is not None:
            values = [f"{getattr(end, name)[0]:.3g}" for end in ends]
            yield f"| {LAW_MEANINGS[name]} | {_sign(law.alpha)} | {' | '.join(values)} |"
    if model.output_spread:
        yield ""
        yield f"In row i the output's variance is (1 + {model.output_spread:.3g} P_ii^2) times that, P_ii being the"
        yield "diagonal entry of rho (G + rho I)^-1."


def _sign(alpha: float) -> str:
    return "0" if alpha == 0 else "+" if alpha > 0 else "-"


def _training(model: Model) -> Iterator[str]:
    if not model.training:
        yield "The file does not say what the detector was trained on."
        return
    for key, value in _flat(model.training):
        yield f"- {key}: {value}"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Free-form training facts, one line each; what is unset (null) says nothing."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        if value and all(isinstance(x, list) for x in value):  # sizes, of which some are drawn more often
            counts = Counter("x".join(map(str, x)) for x in value)
            some_often = len(counts) < len(value)
            return ", ".join(f"{x} ({n} of {len(value)})" if some_often else x for x, n in counts.items())
        return ", ".join(map(str, value))
    return str(value).replace("\n", " ").replace("|", "\\|")


def _measured(model: Model, twin: Model | None) -> Iterator[str]:
    """Bit error rates at the points where the model was measured, beside LMMSE's and its twin's."""
    if not model.measured_ber:
        yield "None in the file."
        return
    twins = {(*_place(p), p["snr_db"], p.get("seed")): p for p in (twin.measured_ber if twin else ())}
    columns = ["size, channel", "SNR [dB]", "this detector", *(["full precision"] if twins else []), "LMMSE"]
    yield (
        "BER ± half the width of its 95 % interval (for independent errors), and the number of bit errors; "
        "all detectors over the same received vectors."
    )
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for point in model.measured_ber:
        row = [
            f"{point['num_rx']}x{point['num_tx']}, {_text(point['channel'])}",
            f"{point['snr_db']:g}",
            rate(point),
        ]
        if twins:
            full = twins.get((*_place(point), point["snr_db"], point.get("seed")))
            row.append(rate(full) if full else "")
        row.append(rate(point, "lmmse_bit_errors"))
        yield f"| {' | '.join(row)} |"


def _limits(model: Model) -> Iterator[str]:
    """Where the detector is refused, where it was worse than LMMSE, and where few errors were counted."""
    low, high = model.snr_range_db
    beyond = (
        "." if isinstance(model, ListModel) else f". Below {low:g} dB and above {high:g} dB the laws keep their values."
    )
    yield f"- Other numbers of antennas are refused{beyond}"
    yield from _hard_channels(model)
    compared = [p for p in model.measured_ber if "lmmse_bit_errors" in p]
    if compared:
        better, worse = ([p for p in compared if compare_with_lmmse(p) == sign] for sign in (-1, 1))
        yield (
            f"- Of {len(compared)} measured points, it is better than LMMSE at {len(better)}, worse at {len(worse)}; "
            "at the others, the 95 % intervals overlap."
        )
        if worse:
            yield f"- Worse than LMMSE at {_places(worse)}."
    few = [p for p in model.measured_ber if p["bit_errors"] < FEW_ERRORS]
    if few:
        yield f"- Fewer than {FEW_ERRORS} bit errors were counted at {_places(few)}."
    yield "- Errors of one channel cluster, so the true intervals are wider."


def _hard_channels(model: Model) -> Iterator[str]:
    """What unequal powers and correlation do to a network of this kind."""
    if model.network == "pgd":
        yield (
            "- It inverts nothing, so it needs streams of about equal power and antennas without correlation. In its "
            "few layers, a weak stream does not get rid of the strong ones: `pgd8-16qam` at 32x16, SNR 16 dB, with 8 "
            "streams 3, 6 and 10 dB weaker, has a BER of 0.03, 0.15 and 0.34 on these, in full precision, too, where "
            "LMMSE makes no errors. At correlation 0.5 (Kronecker) it is 0.4."
        )
    elif isinstance(model, DetectorModel) and model.matrix_bits == 2:
        yield (
            "- With 2 bits, power differences up to 30 dB: `admm5-16qam-w2` at 8x8, with two streams 40 dB weaker and "
            "noise 34 dB below them, has a BER of 1.0e-3 on these, LMMSE 4.7e-4. Between streams whose channels are "
            "nearly equal, too, LMMSE is better: 6.1e-2 against 6.7e-2."
        )


def _places(points: Iterable[Mapping[str, Any]]) -> str:
    by_place: dict[tuple[Any, ...], list[str]] = {}
    for point in points:
        by_place.setdefault(_place(point), []).append(f"{point['snr_db']:g}")
    return "; ".join(
        f"{rx}x{tx}, {_text(channel)}: {', '.join(snrs)} dB" for (rx, tx, channel), snrs in by_place.items()
    )


def _place(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return point["num_rx"], point["num_tx"], point["channel"]


def _own(point: Mapping[str, Any]) -> BitErrorRate:
    return BitErrorRate(point["bit_errors"], point["bits"])


def _lmmse(point: Mapping[str, Any]) -> BitErrorRate:
    return BitErrorRate(point["lmmse_bit_errors"], point["bits"])


def _point_facts(point: Mapping[str, Any]) -> dict[str, Any]:
    out = {**point, "ber": _own(point).rate, "confidence_interval": list(_own(point).confidence_interval())}
    if "lmmse_bit_errors" in point:
        out["lmmse_ber"] = _lmmse(point).rate
    return out
