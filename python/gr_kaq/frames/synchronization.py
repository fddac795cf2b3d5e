# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds frames in the samples of several antennas: one detection, one start and one carrier offset for all of them.

Signal model, with a carrier offset of f cycles per sample that all antennas share, and a frame s that begins at d:

    r_a[n] = exp(2 pi i f n) sum_t sum_l h_at[l] s_t[n - d - l] + w_a[n]

Three steps, all on all antennas, each of which counts in units of its own power or noise, so that gains do not matter:

1. Narrow interference is taken out of what is searched in. Preamble and data are flat over the active carriers when
   their spectrum is smoothed to a sixteenth of the sample rate; a tone is not. Where the spectrum of a preamble's
   length of samples stands out of its median by more than 6 dB, it is cut down by a filter without delay, which is
   that of the prediction error, forwards and backwards (Milstein, "Interference rejection techniques in spread spectrum
   communications", Proc. IEEE 76(6), 1988). Where nothing stands out, samples stay what they are. The windows are cut
   from what was received.

2. Schmidl and Cox ("Robust frequency and timing synchronization for OFDM", IEEE Trans. Commun. 45(12), 1997): the
   preamble equals itself a period P later. Over the W samples that have a successor within the preamble,

       M(d) = |1/num_rx sum_a C_a(d) / E_a(d)|^2,    C_a(d) = sum_m conj(r_a[d+m]) r_a[d+m+P]

   with E_a the greater of the energies of the two factors. Means are taken away first: an offset at 0 Hz repeats itself
   as well. In white noise C_a / E_a has variance 1/W, so that M is about exponential, with mean 1 / (W num_rx), and
   exceeds -ln(p) / (W num_rx) with probability p.

3. What passes is compared with what every stream sends, preamble and first training symbol. What differs from one
   period of the preamble to the next is noise: antennas are combined so that it is white, and an interferer from one
   direction drops out. With r_a of unit power (mean of all antennas), s_t of unit energy and the carrier offset
   removed,

       Q(d) = sum_a sum_t |sum_m conj(s_t[m]) r_a[d+m]|^2

   is Gamma(num_rx num_tx) in noise, and up to num_rx times the number of samples compared where a frame begins. It has
   to exceed what noise reaches. Preamble and training symbol each have to explain some of the received power, because
   other training symbols resemble one of them. And more has to be periodic than a preamble's length before or after,
   because tones go on. The preamble tells carrier offsets apart that are less than 1/P, four carrier spacings, from
   each other; how much preamble and training explain tells which of three it is, so that the range is six spacings
   either way. Q tells which period is the first; the training symbol alone, in which the streams are orthogonal, tells
   the sample. A start that is more than a period away from where M is greatest is looked at again, as training looks
   alike half a symbol and less later.

The steps themselves are in C++ with their constants: lib/frames/frame_search.cc, and under it spectral_excision.cc for
step 1, repetition_metric.cc for step 2, antenna_whitening.cc and known_correlation.cc for step 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..native import extension
from .frame_format import PREAMBLE_PERIODS, FrameFormat

__all__ = ["FoundFrame", "Synchronizer", "carrier_offset"]


class FoundFrame(NamedTuple):
    """A frame, cut into the windows of the receiver's Fourier transforms.

    Attributes:
        start: its first sample, counted from the first that was pushed.
        carrier_offset: in cycles per sample.
        metric: M at the detection, 0 to 1; about (SNR / (1 + SNR))^2.
        windows: (14, num_rx, fft_size) complex64. No cyclic prefix, `timing_advance` samples early, carrier offset
            removed: the phase is that of the received frame at its first sample, and goes on through the frame.
        overlapping: whether it begins before the frame in front of it has ended.
        dead: (num_rx,) bool: antennas that received nothing: no power, or 30 dB less than the mean of the others.
        saturated: (num_rx,) bool: antennas of which 0.5 % of the samples or more have the same greatest amplitude, or
            the same greatest real or imaginary part, and fewer have one that is little less: integers of a gain that is
            too low do not count.
    """

    start: int
    carrier_offset: float
    metric: float
    windows: NDArray[np.complex64]
    overlapping: bool
    dead: NDArray[np.bool_]
    saturated: NDArray[np.bool_]

    @property
    def faulty(self) -> bool:
        """Whether an antenna is dead or saturated."""
        return any(self.dead) or any(self.saturated)


class Synchronizer:
    """Finds the frames of a stream that arrives in pieces. What it finds does not depend on how the stream is cut.

    It goes on searching inside a frame, so that one whose preamble lies in another is found as well, unless it is more
    than some 4 dB weaker.

    Args:
        frame_format: the frames; their constellation does not matter.
        num_rx: antennas, at least 1.

    Raises:
        ValueError: `num_rx` is out of range.
        ImportError: the native kernel is not built.
    """

    def __init__(self, frame_format: FrameFormat, num_rx: int):
        if num_rx < 1:
            raise ValueError(f"num_rx is {num_rx}; at least 1 expected")
        self.frame_format, self.num_rx = frame_format, num_rx
        self.invalid_samples = 0  # NaN or Inf, taken as 0
        known = frame_format.known_samples[:, : frame_format.preamble_length + frame_format.symbol_length]
        self._search = extension().FrameSearch(
            num_rx=num_rx,
            known=known / np.linalg.norm(known, axis=-1, keepdims=True),
            fft_size=frame_format.fft_size,
            cp_length=frame_format.cp_length,
            timing_advance=frame_format.timing_advance,
            delay_window=frame_format.delay_window,
            num_symbols=frame_format.num_symbols,
            period=frame_format.preamble_period,
            num_periods=PREAMBLE_PERIODS,
        )

    @property
    def position(self) -> int:
        """How many samples have been pushed."""
        return int(self._search.position)

    def push(self, samples: Sequence[NDArray[np.complexfloating]] | NDArray[np.complexfloating]) -> list[FoundFrame]:
        """Take the next samples.

        Args:
            samples: (num_rx, any number), or as many samples of each antenna.

        Returns:
            The frames whose last window is complete now, in the order of their starts.

        Raises:
            ValueError: the shape is wrong.
        """
        if len(samples) != self.num_rx or any(np.ndim(of) != 1 or len(of) != len(samples[0]) for of in samples):
            shapes = ", ".join(str(np.shape(of)) for of in samples)
            raise ValueError(
                f"samples have shapes {shapes}; as many samples of each of {self.num_rx} antennas expected"
            )
        found, invalid = self._search.push([_single_precision(of) for of in samples])
        self.invalid_samples += invalid
        return [FoundFrame(*frame) for frame in found]

    def interrupt(self) -> int:
        """Say that samples are missing between those pushed so far and the next: a frame does not reach across.

        Returns:
            How many frames had been found and lack their end.
        """
        return int(self._search.interrupt())


def carrier_offset(preamble: NDArray[np.complexfloating], period: int) -> float:
    """Carrier offset in cycles per sample, from -1 / (2 period) to 1 / (2 period).

    The phase from one period to the next says which of the many offsets it can be that the phase over five periods,
    with a variance near the least possible, allows. The antennas are added in the ratio of their SNR.

    Args:
        preamble: (num_rx, ten periods, or at least six).
        period: samples after which it repeats itself.

    Raises:
        ValueError: there are too few samples.
    """
    return float(extension().carrier_offset(_single_precision(preamble), period))


def _single_precision(samples: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
    with np.errstate(over="ignore"):  # what does not fit becomes Inf
        return np.ascontiguousarray(samples, np.complex64)
