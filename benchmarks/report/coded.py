# SPDX-License-Identifier: GPL-3.0-or-later
"""Block error rate behind the 5G LDPC code: what the LLRs of a detector are worth to a decoder.

One code word per stream and resource block: k = 576 information bits, n = 1152 coded bits (rate 1/2) of Sionna's
`LDPC5GEncoder` (3GPP TS 38.212: base graph, rate matching and bit interleaver), mapped over subcarriers first and
received vectors then, as 5G does. H is constant over the vectors of a code word and

- independent from one of its 24 subcarriers to the next on the i.i.d. Rayleigh channel;
- that of one drop at 8 subcarriers, 270 kHz apart, on the 3GPP UMi channels of training/data.

The decoder is Sionna's `LDPC5GDecoder`: 20 iterations of belief propagation with the exact check-node rule. That one,
unlike min-sum, is hurt by LLRs that are scaled wrongly, which is the point here. All detectors see the same vectors,
perfect estimates of H and noise_var, and no feedback from the decoder.

    python -m benchmarks.report.coded iid-16x16-16qam --detectors lmmse admm5-16qam sionna-ep10 --snr 14 15 16
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq import BitErrorRate
from gr_kaq.channels.flat import ChannelModel, RayleighChannels, RecordedChannels
from gr_kaq.detection.detector import Detector
from gr_kaq.links.simulated_link import Link, detect
from gr_kaq.signals.constellation import constellation_named

from .exact import MAX_CANDIDATES
from .peers import PeersUnavailableError, sionna_module
from .references import load

__all__ = [
    "CODED_LINKS",
    "CodedLink",
    "calibration",
    "load",
    "measure",
    "mutual_information",
    "snr_at_bler",
]

CODED_BITS = 1152
INFORMATION_BITS = CODED_BITS // 2
DECODER_ITERATIONS = 20
BLOCKS_PER_DRAW = 1024
"""Every drop of either UMi file once: otherwise a point would depend on which drops it got to."""
DATA = Path(__file__).parents[2] / "training" / "data"


@dataclass(frozen=True)
class CodedLink:
    """Where the code words are sent.

    Args:
        channel: ``"iid"`` or ``"umi"``.
        num_rx, num_tx: antennas and streams; UMi: 16x4 or 64x16.
        constellation: what every stream carries.
    """

    channel: str
    num_rx: int
    num_tx: int
    constellation: str

    @property
    def name(self) -> str:
        """As the command line calls it, such as ``iid-16x16-16qam``."""
        return f"{self.channel}-{self.num_rx}x{self.num_tx}-{self.constellation}"

    @property
    def num_subcarriers(self) -> int:
        """Channels that a code word is spread over."""
        return 24 if self.channel == "iid" else 8

    @property
    def num_vectors(self) -> int:
        """Received vectors of a code word per subcarrier."""
        return CODED_BITS // constellation_named(self.constellation).bits_per_symbol // self.num_subcarriers

    @property
    def enumerable(self) -> bool:
        """Whether the candidates of a vector are few enough for `exact`'s posteriors."""
        return constellation_named(self.constellation).bits_per_symbol * self.num_tx <= np.log2(MAX_CANDIDATES)

    def channels(self, seed: np.random.SeedSequence) -> ChannelModel:
        """Each draw is what one code word per stream passes through."""
        if self.channel == "iid":
            return RayleighChannels(self.num_rx, self.num_tx, self.num_subcarriers, seed=seed)
        path = DATA / f"umi_{self.num_rx}x{self.num_tx}.npz"
        return RecordedChannels(path, self.num_rx, self.num_tx, self.num_subcarriers)


CODED_LINKS = {
    link.name: link
    for constellation in ("16qam", "64qam")
    for link in (
        CodedLink("iid", 2, 2, constellation),
        CodedLink("iid", 4, 4, constellation),
        CodedLink("iid", 8, 8, constellation),
        CodedLink("iid", 16, 16, constellation),
        CodedLink("umi", 64, 16, constellation),
        CodedLink("umi", 16, 4, constellation),
    )
}


class LdpcCode:
    """Sionna's 5G LDPC code at rate 1/2, over NumPy arrays.

    Raises:
        PeersUnavailableError: Sionna is not installed.
    """

    def __init__(self, bits_per_symbol: int):
        ldpc = sionna_module("fec.ldpc")
        self._torch = importlib.import_module("torch")
        self._encoder = ldpc.LDPC5GEncoder(
            INFORMATION_BITS, CODED_BITS, num_bits_per_symbol=bits_per_symbol, device="cpu"
        )
        self._decoder = ldpc.LDPC5GDecoder(self._encoder, num_iter=DECODER_ITERATIONS, device="cpu")

    def encode(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Information bits (blocks, 576) to coded bits (blocks, 1152)."""
        with self._torch.no_grad():
            return self._encoder(self._torch.from_numpy(bits.astype(np.float32))).numpy().astype(np.uint8)

    def decode(self, llrs: NDArray[np.float32]) -> NDArray[np.uint8]:
        """LLRs ln P(b=1)/P(b=0) (blocks, 1152) to information bits (blocks, 576)."""
        decoded = np.empty((len(llrs), INFORMATION_BITS), np.uint8)
        with self._torch.no_grad():
            for start in range(0, len(llrs), 256):  # the messages of so many blocks stay in the caches
                part = self._torch.from_numpy(np.ascontiguousarray(llrs[start : start + 256]))
                decoded[start : start + 256] = self._decoder(part).numpy()
        return decoded


def measure(
    detectors: Sequence[Detector],
    link: CodedLink,
    snr_db: float,
    *,
    min_block_errors: int,
    max_blocks: int,
    seed: int,
    llr_factors: Sequence[float] = (1.0,),
) -> list[dict[str, Any]]:
    """Block error rate of several detectors on the same transmissions.

    Args:
        detectors: for the link's constellation.
        link: where the code words are sent.
        snr_db: SNR in dB as everywhere here, num_tx / noise_var for mean |h|^2 = 1, per coded symbol.
        min_block_errors: stop once every row has so many block errors, or
        max_blocks: after so many blocks, rounded up to a multiple of BLOCKS_PER_DRAW.
        seed: of channels, bits and noise.
        llr_factors: what the LLRs are multiplied by before decoding; one row per detector and factor.

    Returns:
        Rows with detector, channel, constellation, num_rx, num_tx, snr_db, llr_factor, blocks, block_errors, seed.

    Raises:
        PeersUnavailableError: Sionna, whose code it is, is not installed.
    """
    code = LdpcCode(constellation_named(link.constellation).bits_per_symbol)
    errors = np.zeros((len(detectors), len(llr_factors)), np.int64)
    blocks = 0
    for information, _, all_llrs in _transmissions(detectors, link, snr_db, seed, code):
        for i, llrs in enumerate(all_llrs):
            for j, factor in enumerate(llr_factors):
                wrong = code.decode(np.float32(factor) * llrs) != information
                errors[i, j] += np.count_nonzero(wrong.any(axis=-1))
        blocks += len(information)
        if blocks >= max_blocks or errors.min() >= min_block_errors:
            break
    common = {
        "channel": link.channel,
        "constellation": link.constellation,
        "num_rx": link.num_rx,
        "num_tx": link.num_tx,
        "snr_db": float(snr_db),
        "blocks": blocks,
        "seed": seed,
    }
    return [
        {"detector": detector.name, **common, "llr_factor": float(factor), "block_errors": int(errors[i, j])}
        for i, detector in enumerate(detectors)
        for j, factor in enumerate(llr_factors)
    ]


def _transmissions(
    detectors: Sequence[Detector], link: CodedLink, snr_db: float, seed: int, code: LdpcCode
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], Iterable[NDArray[np.float32]]]]:
    """Endless draws of BLOCKS_PER_DRAW blocks: information bits, coded bits, and the LLRs of one detector after the
    other, (blocks, 576), (blocks, 1152) and (blocks, 1152)."""
    constellation = constellation_named(link.constellation)
    channel_seed, link_seed, bit_seed = np.random.SeedSequence([seed, round(1000 * (snr_db + 100))]).spawn(3)
    source = Link(link.channels(channel_seed), constellation, snr_db, num_vectors=link.num_vectors, seed=link_seed)
    rng = np.random.default_rng(bit_seed)
    estimates = BLOCKS_PER_DRAW // link.num_tx
    shape = (estimates, link.num_tx, link.num_vectors, link.num_subcarriers, constellation.bits_per_symbol)

    while True:
        information = rng.integers(0, 2, (BLOCKS_PER_DRAW, INFORMATION_BITS), dtype=np.uint8)
        coded = code.encode(information)
        # (E, stream, vector, subcarrier, bit) -> (E, subcarrier, vector, stream, bit), and the same way back
        bits = coded.reshape(shape).transpose(0, 3, 2, 1, 4)
        sent = source.draw(estimates, bits.reshape(*bits.shape[:3], -1))
        all_llrs = (
            detect(detector, sent).llrs.transpose(0, 3, 2, 1, 4).reshape(BLOCKS_PER_DRAW, CODED_BITS)
            for detector in detectors
        )
        yield information, coded, all_llrs


def snr_at_bler(rows: Sequence[dict[str, Any]], bler: float = 0.1) -> float | None:
    """SNR in dB at a block error rate: linear in dB, logarithmic in the rate, between the points on either side.

    Args:
        rows: of one detector and link, as from `measure`.

    Returns:
        None if the points do not enclose it.
    """
    points = sorted((row["snr_db"], max(row["block_errors"], 0.5) / row["blocks"]) for row in rows)
    for (low, above), (high, below) in itertools.pairwise(points):
        if above >= bler > below:
            return float(low + (high - low) * np.log(above / bler) / np.log(above / below))
    return None


def mutual_information(llrs: NDArray[np.float32], bits: NDArray[np.uint8], factor: float = 1.0) -> float:
    """Generalised mutual information: bits that a coded bit carries to a decoder that believes `factor` times the LLRs.

    It is largest at factor 1 where the LLRs are what they claim to be, ln P(b=1)/P(b=0). See Martinez, Guillén i
    Fàbregas, Caire and Willems, "Bit-interleaved coded modulation revisited: a mismatched decoding perspective", 2009.
    """
    agreement = factor * np.where(bits.astype(bool), llrs, -llrs).astype(np.float64)
    return 1 - float(np.mean(np.logaddexp(0, -agreement))) / np.log(2)


def calibration(detector: Detector, link: CodedLink, snr_db: float, *, seed: int, draws: int = 1) -> dict[str, Any]:
    """How far the LLRs of a detector are what they claim to be.

    Returns:
        dict with detector, snr_db, seed, `mutual_information` as they are, `best_factor` that the LLRs would have to be
        multiplied by, `best_mutual_information` then, and `bins`: rows with the mean absolute LLR `claimed`, `measured`
        log odds that the sign of such an LLR is right, and `count`.
    """
    code = LdpcCode(constellation_named(link.constellation).bits_per_symbol)
    parts = [
        (next(iter(all_llrs)).ravel(), coded.ravel())
        for _, (_, coded, all_llrs) in zip(
            range(draws), _transmissions([detector], link, snr_db, seed, code), strict=False
        )
    ]
    llrs, bits = (np.concatenate(part) for part in zip(*parts, strict=True))
    factors = np.geomspace(0.25, 4, 81)
    information = [mutual_information(llrs, bits, factor) for factor in factors]
    best = int(np.argmax(information))

    magnitude, right = np.abs(llrs), (llrs > 0) == bits.astype(bool)
    edges = [0.0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, np.inf]
    bins = []
    for low, high in itertools.pairwise(edges):
        inside = (magnitude >= low) & (magnitude < high)
        count, wrong = int(np.count_nonzero(inside)), int(np.count_nonzero(inside & ~right))
        if count:
            odds = float(np.log((count - wrong + 0.5) / (wrong + 0.5)))
            bins.append({"claimed": float(magnitude[inside].mean()), "measured": odds, "count": count})
    return {
        "detector": detector.name,
        "snr_db": float(snr_db),
        "seed": seed,
        "mutual_information": mutual_information(llrs, bits),
        "best_factor": float(factors[best]),
        "best_mutual_information": information[best],
        "bins": bins,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("link", choices=CODED_LINKS)
    parser.add_argument("--detectors", nargs="+", required=True, metavar="NAME", help="ours, sionna-..., or exact-...")
    parser.add_argument("--snr", type=float, nargs="+", required=True, metavar="DB")
    parser.add_argument("--llr-factors", type=float, nargs="+", default=[1.0], metavar="F", help="default: 1")
    parser.add_argument("--min-block-errors", type=int, default=100)
    parser.add_argument("--max-blocks", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibration", action="store_true", help="compare the LLRs with measured odds instead")
    options = parser.parse_args()
    link = CODED_LINKS[options.link]
    try:
        detectors = [load(name, link.constellation) for name in options.detectors]
        if options.calibration:
            for snr_db in options.snr:
                for detector in detectors:
                    _print_calibration(calibration(detector, link, snr_db, seed=options.seed))
            return 0
        rows: list[dict[str, Any]] = []
        for snr_db in options.snr:
            new = measure(
                detectors,
                link,
                snr_db,
                min_block_errors=options.min_block_errors,
                max_blocks=options.max_blocks,
                seed=options.seed,
                llr_factors=options.llr_factors,
            )
            for row in new:
                rate = BitErrorRate(row["block_errors"], row["blocks"])
                print(f"{snr_db:6g} dB  {row['detector']:<24} x{row['llr_factor']:<5g} {rate}", flush=True)
            rows += new
    except (ValueError, PeersUnavailableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for detector in detectors:
        for factor in options.llr_factors:
            own = [row for row in rows if (row["detector"], row["llr_factor"]) == (detector.name, factor)]
            snr = snr_at_bler(own)
            found = "not enclosed" if snr is None else f"{snr:.2f} dB"
            print(f"SNR at 10 % block error rate: {detector.name} x{factor:g}: {found}")
    return 0


def _print_calibration(result: dict[str, Any]) -> None:
    print(
        f"{result['snr_db']:g} dB {result['detector']}: {result['mutual_information']:.4f} bits per coded bit, "
        f"{result['best_mutual_information']:.4f} with LLRs x {result['best_factor']:.2f}"
    )
    for row in result["bins"]:
        print(f"    claimed {row['claimed']:7.2f}  measured {row['measured']:6.2f}  ({row['count']} bits)")


if __name__ == "__main__":
    sys.exit(main())
