# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of docs/guide/csi-contract.md that need no GNU Radio: what is valid, and what wins."""

import warnings

import numpy as np
import pytest

from gr_kaq.signals.csi import ChannelEstimate, CsiState, InvalidCsi
from gr_kaq.signals.signal_model import noise_var_from_snr, snr_from_noise_var

SHAPE = (2, 3, 2)
H = (np.arange(12) + 1j).reshape(SHAPE).astype(np.complex64)
COVARIANCE = (np.array([[[3, 1j, 0], [-1j, 2, 0.5], [0, 0.5, 1]]])).astype(np.complex64)


def state_after(*updates):
    state = CsiState(SHAPE)
    for estimate, snr_db in updates:
        state.update(estimate, snr_db)
    return state


def test_valid_once_channel_and_noise_are_known():
    """Neither an H nor an SNR alone says how to detect."""
    assert not state_after().valid
    assert not state_after((ChannelEstimate(H), None)).valid
    assert not state_after((None, 10.0)).valid
    assert state_after((None, 10.0), (ChannelEstimate(H), None)).valid
    assert state_after((ChannelEstimate(H), None), (None, 10.0)).valid
    assert state_after((ChannelEstimate(H, noise_var=0.1), None)).valid
    assert state_after((ChannelEstimate(H, snr_db=3.0), None)).valid


def test_noise_var_and_snr_follow_from_each_other():
    """There is one definition of SNR, in signal_model."""
    state = state_after((ChannelEstimate(H, noise_var=0.1), None))
    assert state.noise_var == 0.1
    assert state.snr_db == pytest.approx(float(snr_from_noise_var(H, 0.1)))
    state.update(snr_db=7.0)
    assert state.snr_db == 7.0
    assert state.noise_var == pytest.approx(float(noise_var_from_snr(H, 7.0)))


def test_unknown_values_are_nan():
    """A getter has to say something before the first estimate."""
    assert np.isnan(state_after().snr_db) and np.isnan(state_after().noise_var)
    assert state_after((None, 4.0)).snr_db == 4.0
    assert np.isnan(state_after((None, 4.0)).noise_var)


@pytest.mark.parametrize(
    "updates, given",
    [
        # one after the other: the newest wins
        ([(ChannelEstimate(H, noise_var=0.1), None), (None, 5.0)], {"snr_db": 5.0}),
        ([(None, 5.0), (ChannelEstimate(H, noise_var=0.1), None)], {"noise_var": 0.1}),
        ([(None, 5.0), (ChannelEstimate(H, snr_db=6.0), None)], {"snr_db": 6.0}),
        ([(ChannelEstimate(H, noise_var=0.1), None), (None, 5.0), (ChannelEstimate(H), None)], {"snr_db": 5.0}),
        ([(ChannelEstimate(H, noise_var=0.1), None), (ChannelEstimate(H), None)], {"noise_var": 0.1}),
        # together
        ([(ChannelEstimate(H, noise_var=0.1), 5.0)], {"noise_var": 0.1}),
        ([(ChannelEstimate(H, noise_var=0.1, snr_db=6.0), None)], {"noise_var": 0.1}),
        ([(ChannelEstimate(H, snr_db=6.0), 5.0)], {"snr_db": 5.0}),
    ],
)
def test_what_wins(updates, given):
    assert state_after(*updates).given == given


def test_noise_that_is_not_white_is_given_until_something_else_is():
    """A covariance counts before the noise variance beside it, which is its mean diagonal."""
    state = state_after((None, 7.0), (ChannelEstimate(H, 2.0, noise_cov=COVARIANCE), 5.0))
    assert list(state.given) == ["noise_cov"] and state.given["noise_cov"] is COVARIANCE
    assert state.valid and state.noise_var == pytest.approx(2.0)
    assert state.snr_db == pytest.approx(float(snr_from_noise_var(H, 2.0)))
    of_both = np.array([0.1, 0.3])
    state.update(ChannelEstimate(H, of_both))
    assert list(state.given) == ["noise_var"] and state.given["noise_var"] is of_both
    assert state.noise_var == pytest.approx(0.2)
    state.update(snr_db=3.0)
    assert state.given == {"snr_db": 3.0}


def with_value(value):
    h = H.copy()
    h[1, 2, 0] = value
    return h


@pytest.mark.parametrize(
    "estimate, kind",
    [
        (ChannelEstimate(H[:1], 0.1), "shape"),
        (ChannelEstimate(H.swapaxes(1, 2), 0.1), "shape"),
        (ChannelEstimate(H[0], 0.1), "shape"),
        (ChannelEstimate(with_value(np.nan), 0.1), "not finite"),
        (ChannelEstimate(with_value(1j * np.nan), 0.1), "not finite"),
        (ChannelEstimate(with_value(-np.inf), 0.1), "not finite"),
        (ChannelEstimate(with_value(1e38), 0.1), "range"),
        (ChannelEstimate(with_value(-1e38j), 0.1), "range"),
        (ChannelEstimate(H * np.float32(1e-24), 0.1), "weak"),
        (ChannelEstimate(H * np.float32(1e-45), 0.1), "weak"),
        (ChannelEstimate(H, -1e-9), "noise_var"),
        (ChannelEstimate(H, np.nan), "noise_var"),
        (ChannelEstimate(H, np.inf), "noise_var"),
        (ChannelEstimate(H, 1e300), "noise_var"),
        (ChannelEstimate(H, np.full(3, 0.1)), "noise_var shape"),
        (ChannelEstimate(H, np.array([0.1, np.nan])), "noise_var"),
        (ChannelEstimate(H, np.array([0.1, -0.1])), "noise_var"),
        (ChannelEstimate(H, noise_cov=COVARIANCE[:, :2, :2]), "noise_cov shape"),
        (ChannelEstimate(H, noise_cov=np.concatenate([COVARIANCE] * 3)), "noise_cov shape"),
        (ChannelEstimate(H, noise_cov=COVARIANCE[0]), "noise_cov shape"),
        (ChannelEstimate(H, noise_cov=COVARIANCE * np.nan), "noise_cov"),
        (ChannelEstimate(H, noise_cov=-COVARIANCE), "noise_cov"),
        (ChannelEstimate(H, noise_cov=0 * COVARIANCE), "noise_cov"),
        (ChannelEstimate(H, noise_cov=COVARIANCE - 3 * np.eye(3)), "noise_cov"),
        (ChannelEstimate(H, noise_cov=COVARIANCE + np.triu(np.ones((3, 3)), 1)), "noise_cov"),
        (ChannelEstimate(H, noise_cov=1e30 * COVARIANCE), "noise_var"),
        (ChannelEstimate(H, snr_db=1000), "snr"),
        (ChannelEstimate(H, snr_db=-1000), "snr"),
        (ChannelEstimate(H, snr_db=np.nan), "snr"),
    ],
)
def test_an_invalid_estimate_changes_nothing(estimate, kind):
    """Neither its good part nor an SNR that came with it is taken; and no NumPy warning on the way."""
    state = state_after((ChannelEstimate(H, noise_var=0.5), None))
    with warnings.catch_warnings(), pytest.raises(InvalidCsi) as error:
        warnings.simplefilter("error")
        state.update(estimate, 5.0)
    assert error.value.kind == kind
    assert state.given == {"noise_var": 0.5} and state.estimate.h is H


@pytest.mark.parametrize("snr_db", [1000, -1000, np.nan, np.inf, -np.inf, -40.1, 100.1])
def test_an_invalid_snr_changes_nothing(snr_db):
    state = state_after((None, 5.0))
    with pytest.raises(InvalidCsi):
        state.update(snr_db=snr_db)
    assert state.given == {"snr_db": 5.0}


def test_limits_and_zeros_are_valid():
    """An all-zero H is what a receiver sees when the transmitter is off."""
    for snr_db in (-40, 100):
        assert state_after((ChannelEstimate(H, snr_db=snr_db), None)).valid
    state = state_after((ChannelEstimate(np.zeros_like(H), noise_var=0.0), None))
    assert state.valid and state.snr_db == -np.inf
    assert state_after((ChannelEstimate(np.zeros_like(H)), 10.0)).noise_var == 0.0
