# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of frames in double precision and in single steps: what `gr_kaq.estimation.frame_memory` has to do.

`lib/frames/frame_track.h` says what it is about; here is each step as a formula. Names are those of the kernel.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from gr_kaq.estimation.delay_profile import profile_fit
from gr_kaq.estimation.frame_memory import FIRST_STEPS, MORE_STEPS
from gr_kaq.estimation.observation import DELAY_MODELS, DOPPLERS, Arrival, j0
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS

SYMBOLS, TRAINING = np.arange(NUM_SYMBOLS), np.array(TRAINING_SYMBOLS)
WITHIN = TRAINING[-1] - TRAINING[0]


LINES = np.array([0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])  # shares of the strongest mode that do not fade


def correlation(doppler, lags, line=0.0):
    """Of a fading process over time, of which a share does not fade."""
    turn = 2 * np.pi * doppler * np.abs(lags)
    near = np.minimum(turn, 19.0)  # where the formula of j0 ends
    return line + (1 - line) * np.where(turn < 19.0, j0(near), 0) * np.exp(-((turn / 5) ** 2))


def time_filters(doppler, known, wanted, noise, line=0.0):
    """Filters (K, wanted, known) for processes of variance 1, and their error variances (K, wanted)."""
    covariance = correlation(doppler, known[:, None] - known, line) + noise[:, None, None] * np.eye(len(known))
    across = correlation(doppler, wanted[:, None] - known, line)
    filters = np.linalg.solve(covariance, across.T[None]).swapaxes(1, 2)
    return filters, np.maximum(1 - np.sum(filters * across, axis=2), 0)


def align(products, carriers):
    """Phase and delay that make the sum of the products greatest, or nearly."""
    phase, delay = np.angle(products.sum()), 0.0
    for _ in range(2):
        turned = products * np.exp(-1j * (phase - 2 * np.pi * delay * carriers))
        line = np.polynomial.Polynomial.fit(
            carriers.ravel(), np.angle(turned).ravel(), 1, w=np.sqrt(np.abs(turned)).ravel(), domain=[-1, 1]
        )
        phase, delay = phase + line.coef[0], delay - line.coef[1] / (2 * np.pi)
    return phase, delay


class OscillatorTrack:
    """A Kalman filter for phase and offset."""

    def __init__(self, time, phase, offset, variance):
        self.time, self.state, self.variance = time, np.array([phase, offset]), np.diag([0.0, variance])

    def advance(self, time, offset, variance):
        passed, self.time = time - self.time, time
        step = np.array([[1.0, 2 * np.pi * passed], [0.0, 1.0]])
        self.state = step @ self.state
        self.variance = step @ self.variance @ step.T + np.diag([1e-6 * passed, 1e-12 * passed])
        away = offset - self.state[1]
        if away**2 > 25 * (self.variance[1, 1] + variance):
            return False
        self._take(1, away, variance)
        return True

    def take_phase(self, phase, variance):
        away = phase - self.state[0]
        away -= 2 * np.pi * np.rint(away / (2 * np.pi))
        if self.variance[0, 0] < 1:
            self._take(0, away, variance)
        else:
            self.state[0] += away
            self.variance = np.diag([variance, self.variance[1, 1]])

    def _take(self, which, away, variance):
        gain = self.variance[:, which] / (self.variance[which, which] + variance)
        self.state = self.state + gain * away
        self.variance = self.variance - np.outer(gain, self.variance[which])


class DopplerTrack:
    """Log-likelihoods of a stream's strongest mode (lines, Dopplers, num_tx) and of its others (Dopplers, num_tx)."""

    def __init__(self, num_tx, doppler):
        away = np.arange(len(DOPPLERS)) - np.argmin(np.abs(DOPPLERS - doppler))
        self.others = np.tile(-0.5 * (away / 4)[:, None] ** 2, num_tx)
        self.prior = np.where(LINES > 0, -0.5, 0)[:, None, None]
        self.strongest = self.others + self.prior

    @property
    def fading(self):
        """(line, Doppler of the strongest mode, of the others) of each stream."""
        best = np.argmax(self.strongest.reshape(-1, self.strongest.shape[-1]), axis=0)
        lines, dopplers = np.divmod(best, len(DOPPLERS))
        return list(zip(LINES[lines], DOPPLERS[dopplers], DOPPLERS[np.argmax(self.others, axis=0)], strict=True))

    def take(self, lags, earlier, later, noise):
        """Pairs of values (num_tx, L, K, num_rx)."""
        energies = (np.abs(earlier) ** 2 + np.abs(later) ** 2).sum(axis=3).T  # (K, L, num_tx)
        products = 2 * (earlier * later.conj()).real.sum(axis=3).T

        def likelihood(modes, line):  # (Dopplers, num_tx)
            variance = 1 + noise[modes, None, None]
            share = np.minimum(correlation(DOPPLERS[:, None], np.array(lags), line) / variance, 0.9999)
            energy = 1 / (variance * (1 - share**2))  # (K, Dopplers, L)
            found = (share * energy) @ products[modes] - energy @ energies[modes]
            found -= earlier.shape[3] * np.log(1 - share**2).sum(axis=2)[:, :, None]
            return found.sum(axis=0) / len(lags)

        others, strongest = slice(0, -1), slice(-1, None)
        self.others += likelihood(others, 0.0) - self.others / 16
        found = np.stack([likelihood(strongest, line) for line in LINES])
        self.strongest += found - (self.strongest - self.prior) / 16


@dataclass
class Placed:
    """A frame in the phase and timing of a track, and how it came."""

    sample: int
    training: np.ndarray  # (3, num_tx, P, num_rx)
    phase: float = 0.0
    offset: float = 0.0
    delay: float = 0.0
    modes: np.ndarray | None = None  # (3, num_tx, K, num_rx)


class FrameTrack:
    """A channel that is followed from frame to frame."""

    def __init__(self, frame_format, frames, observation, arrival):
        self.format, self.symbol = frame_format, frame_format.symbol_length
        self.carriers = frame_format.active_carriers
        self.trained = self.carriers[frame_format.training_indices]
        middle = frame_format.preamble_length + frame_format.cp_length - frame_format.timing_advance
        self.lead = (middle + frame_format.fft_size / 2) / self.symbol
        self.fit = profile_fit(frame_format)
        self.past = deque(maxlen=frames - 1)
        self.count = 0
        self.take_noise(observation.noise_var)
        self.doppler = DopplerTrack(frame_format.num_tx, observation.doppler)
        self.time, self.surprised = arrival.sample / self.symbol, False
        offset = arrival.carrier_offset * self.symbol + observation.carrier_offset
        phase = -2 * np.pi * observation.carrier_offset * self.lead
        self.oscillators = OscillatorTrack(self.time, phase, offset, offset_variance(observation))
        self.newest = Placed(arrival.sample, values(observation))

    def is_old(self, arrival):
        return arrival.sample / self.symbol - self.time > 4000

    def place(self, observation, arrival):
        """A later frame; False: it does not fit to those before."""
        time, taken = arrival.sample / self.symbol, arrival.carrier_offset * self.symbol
        if time <= self.time or not self.is_usual(observation.noise_var):
            return False
        self.time = time
        while self.past and time - self.past[0].sample / self.symbol > 4000:
            self.past.popleft()
        if not self.oscillators.advance(time, taken + observation.carrier_offset, offset_variance(observation)):
            return False
        left = self.oscillators.state[1] - taken
        offset = left - observation.carrier_offset
        training = values(observation) * np.exp(-2j * np.pi * offset * TRAINING)[:, None, None, None]
        self.newest = Placed(arrival.sample, training)
        predicted, errors = self.filtered(list(self.past), TRAINING)
        seen = self.modes.seen @ predicted
        expected = 1 / self.format.comb + np.einsum("jks,k->sj", errors, self.modes.energies)
        weight = self.weights**2 / expected[:, :, None, None]
        power = (np.abs(seen) ** 2 * weight).sum()
        if not power > 0:
            return False
        products = (seen.conj() * training * weight).sum(axis=3)
        phase, delay = align(products, self.trained)
        match = (products * np.exp(-1j * (phase - 2 * np.pi * delay * self.trained))).real.sum() / power
        independent = self.modes.energies.sum() ** 2 / (self.modes.energies**2).sum()
        lead = 2 * np.pi * left * self.lead
        variance = self.oscillators.variance.copy()
        own_offset = self.oscillators.state[1]
        self.oscillators.take_phase(phase - lead, 3 * self.trained.shape[2] / independent / (2 * power))
        phase = self.oscillators.state[0] + lead
        turn = np.exp(-1j * (phase - 2 * np.pi * delay * self.trained))
        self.newest = Placed(arrival.sample, training * turn[..., None], phase, offset, delay)
        deviation = np.abs(self.modes.analysis @ self.newest.training - predicted) ** 2
        deviation = deviation / (errors.transpose(2, 0, 1) + self.modes.noise)[..., None]
        pairs = (np.mean(deviation, axis=(0, 2)) * self.weights**2)[:, self.weights > 0]  # (num_tx, alive)
        self.surprised = any(pairs.mean(axis=axis).max() > 1 + 3 / np.sqrt(pairs.shape[axis]) for axis in (0, 1))
        if self.surprised and not match > 0.5:
            self.oscillators.state = np.array([-lead, own_offset])
            self.oscillators.variance = np.diag([0.0, variance[1, 1]])
            self.newest = Placed(arrival.sample, training, offset=offset)
        if self.surprised:
            self.past.clear()
        return True

    def is_usual(self, noise_var):
        alive = self.weights > 0
        if not np.array_equal(alive, noise_var > 1e-30 * noise_var.max()):
            return False
        ratio = noise_var[alive] / self.noise_var[alive]
        if max(ratio.max(), 1 / ratio.min()) > 2.5:
            return False
        self.take_noise(self.noise_var + (noise_var - self.noise_var) / min(self.count + 1, 16))
        return True

    def take_noise(self, noise_var):
        alive = noise_var > 1e-30 * noise_var.max()
        self.noise_var = noise_var
        self.weights = np.where(alive, 1 / np.sqrt(np.where(alive, noise_var, 1)), 0)

    def estimate(self, observation):
        """The channel (14, num_active, num_rx, num_tx), and the error variance (14,) of an entry."""
        self.learn_profile(observation)
        self.newest.modes = self.modes.analysis @ self.newest.training
        self.learn_doppler()
        modes, errors = self.filtered([*self.past, self.newest], SYMBOLS)
        placed = self.newest
        self.used, self.delay = 1 + len(self.past), observation.delay + placed.delay * self.format.fft_size
        self.past.append(placed)
        self.count += 1
        modes = modes * np.exp(1j * (placed.phase + 2 * np.pi * placed.offset * SYMBOLS))[:, None, None, None]
        waves = self.modes.frequency * np.exp(-2j * np.pi * placed.delay * self.carriers)[:, None]
        channel = np.einsum("fk,tjkr->tfrj", waves, modes)
        return channel, np.einsum("jks,k->s", errors, self.modes.energies) / 10 ** (observation.snr_db / 10)

    def since(self, frame):
        return np.rint(10 * (frame.sample - self.newest.sample) / self.symbol) / 10

    def filtered(self, frames, wanted):
        """Modes (wanted, num_tx, K, num_rx) at these symbols, and their error variances (num_tx, K, wanted)."""
        known = np.concatenate([self.since(frame) + TRAINING for frame in frames])
        of_frames = np.concatenate([frame.modes for frame in frames])  # (known, num_tx, K, num_rx)
        found, errors = [], []
        for stream, (line, strongest, others) in enumerate(self.doppler.fading):
            parts = [
                time_filters(others, known, wanted, self.modes.noise[:-1]),
                time_filters(strongest, known, wanted, self.modes.noise[-1:], line),
            ]
            filters, of_stream = (np.concatenate(part) for part in zip(*parts, strict=True))
            found.append(np.einsum("kwn,nkr->wkr", filters, of_frames[:, stream]))
            errors.append(of_stream)
        return np.stack(found, axis=1), np.stack(errors)

    def learn_profile(self, observation):
        scaled = self.newest.training * self.weights
        products = scaled @ scaled.conj().swapaxes(2, 3) / np.count_nonzero(self.weights)  # (3, num_tx, P, P)
        covariance = np.stack([products[self.fit.sets == i].mean(axis=0) for i in range(self.fit.sets.max() + 1)])
        if not self.count:
            model = observation.delay_spread / self.format.fft_size, observation.diffuse
            nearest = np.argmin(np.abs(np.array(DELAY_MODELS) - model).sum(axis=1))
            self.covariance = covariance
            self.powers = self.fit.fit(covariance, self.fit.start(nearest, covariance), FIRST_STEPS)
        else:
            self.covariance = self.covariance + (covariance - self.covariance) / min(self.count + 1, 32)
            if self.count % 16 and self.count & (self.count - 1):
                return
            self.powers = self.fit.fit(self.covariance, self.powers, MORE_STEPS)
        self.modes = self.fit.modes(self.powers)
        for frame in self.past:
            frame.modes = self.modes.analysis @ frame.training

    def learn_doppler(self):
        first, last = ([frame.modes[i] * self.weights for frame in [*self.past, self.newest]] for i in (0, -1))
        now, lags = len(self.past), [WITHIN, *(-self.since(frame) for frame in self.past)]
        earlier, later = [first[now], *first[:now]], [last[now], *[first[now]] * now]
        if self.past:
            earlier, later, lags = [*earlier, last[now - 1]], [*later, first[now]], [*lags, lags[-1] - WITHIN]
        self.doppler.take(lags, np.stack(earlier, axis=1), np.stack(later, axis=1), self.modes.noise)


class FrameMemory:
    """As `gr_kaq.estimation.frame_memory.FrameMemory`."""

    def __init__(self, frame_format, frames=8):
        self.format, self.frames, self.track, self.lost = frame_format, frames, None, 0

    def __call__(self, observation):
        """The channel, and the error variance of each symbol."""
        track, self.track = self.track, None
        arrival = observation.arrival
        placed = False
        if track is not None and arrival is not None and not track.is_old(arrival):
            placed = track.place(observation, arrival)
            self.lost += not placed or track.surprised
        if not placed:
            track = FrameTrack(self.format, self.frames, observation, arrival or Arrival(0, 0.0))
        found = track.estimate(observation)
        if self.frames > 1 and arrival is not None:
            self.track = track
        return found


def values(observation):
    """(3, num_tx, P, num_rx)."""
    return observation.training.transpose(0, 2, 3, 1).astype(np.complex128)


def offset_variance(observation):
    snr, pairs = 10 ** (observation.snr_db / 10), observation.training.shape[1] * observation.training.shape[2]
    return (observation.doppler**2 + 8e-4 / snr) / pairs + 5e-4**2
