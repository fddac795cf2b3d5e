# SPDX-License-Identifier: GPL-3.0-or-later
"""Predictors against the errors that theory gives them, and with estimates that are missing or irregular."""

import numpy as np
import pytest
from scipy.special import j0

from gr_kaq.channels.users import User
from gr_kaq.forecasting.clusters import Clusters, find_clusters
from gr_kaq.forecasting.evaluation import KNOWN, Evaluation
from gr_kaq.forecasting.fading import Fading
from gr_kaq.forecasting.likelihood import likely_noise
from gr_kaq.forecasting.predictors import PREDICTORS, forecast_with, known_doppler, predictor, weights_with
from gr_kaq.forecasting.series import Series
from gr_kaq.forecasting.simulation import Scene
from gr_kaq.forecasting.wiener import (
    FadingFilter,
    Likelihood,
    known_wiener,
    log_likelihoods,
    wiener_error,
)

HORIZONS = np.array([1.0, 2.0, 5.0])
TIMES = np.arange(40.0)


def gaussian(rng, fading, times, count, noise):
    """Estimates (count, N) of series that have exactly this correlation, and the series."""
    covariance = fading.correlation(times[:, None] - times)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draws = rng.standard_normal((4, count, len(times))) * np.sqrt(0.5)
    truth = (draws[0] + 1j * draws[1]) @ root.T
    return truth + np.sqrt(noise) * (draws[2] + 1j * draws[3]), truth


def errors(predict, fading, count=3000, noise=0.01, times=TIMES):
    """Mean squared error of a predictor, and what it expects, (H,)."""
    rng = np.random.default_rng(1)
    all_times = np.concatenate([times, times[-1] + HORIZONS])
    estimates, truth = gaussian(rng, fading, all_times, count, noise)
    forecast = predict(Series(times, estimates[:, : len(times)], noise), HORIZONS)
    return np.mean(np.abs(forecast.values - truth[:, len(times) :]) ** 2, axis=0), forecast.error_var.mean(axis=0)


def db(ratio):
    return 10 * np.log10(ratio)


@pytest.mark.parametrize("doppler", [0.01, 0.1])
def test_hold_errs_as_fading_and_noise_say(doppler):
    found, expected = errors(PREDICTORS["hold"], Fading(doppler))
    analytic = 2 * (1 - j0(2 * np.pi * doppler * HORIZONS)) + 0.01
    np.testing.assert_allclose(db(found), db(analytic), atol=0.3)
    np.testing.assert_allclose(db(expected), db(analytic), atol=0.3)


@pytest.mark.parametrize("fading", [Fading(0.02), Fading(0.15), Fading(0.1, 0.9, 0.04)])
def test_wiener_errs_as_its_bound_says(fading):
    bound = wiener_error(TIMES, HORIZONS, fading.correlation, 0.01)
    found, expected = errors(
        lambda series, horizons: known_wiener(series, horizons, fading.correlation, np.ones(len(series.values))), fading
    )
    np.testing.assert_allclose(db(found), db(bound), atol=0.25)
    np.testing.assert_allclose(db(expected), db(bound), atol=0.01)


@pytest.mark.parametrize("name", ["wiener", "cw-wiener", "wiener-each", "kalman", "ar", "linear", "hold"])
@pytest.mark.parametrize("doppler", [0.01, 0.1])
def test_none_is_below_the_bound_and_estimated_doppler_is_near_it(name, doppler):
    found, expected = errors(PREDICTORS[name], Fading(doppler), count=400)
    bound = wiener_error(TIMES, HORIZONS, Fading(doppler).correlation, 0.01)
    assert (db(found) > db(bound) - 0.5).all()  # 400 series: the interval is about that
    if name in ("wiener", "cw-wiener"):
        assert (db(found) < db(bound) + 1.0).all()
        np.testing.assert_allclose(db(expected), db(found), atol=1.0)


@pytest.mark.parametrize("doppler", [100.0, 193.0])  # the second one is far from all on the grid
def test_estimated_doppler_is_within_half_a_decibel_of_the_known_one_on_delay_lines(doppler):
    ahead = np.array([1, 2, 4, 8])
    scene = Scene(2, [User(doppler)] * 2, history=48)
    evaluation = Evaluation({"wiener": PREDICTORS["wiener"]})
    for seed in range(12):
        evaluation.add(scene.draw(seed, ahead))
    loss, low, _ = evaluation.gain_db(KNOWN, "wiener")
    assert (loss < 0.5).all() and (low > -0.5).all()
    bound = db(np.mean([scene.bound(seed, ahead) for seed in range(4)], axis=0))
    assert (evaluation.nmse_interval_db("wiener")[1] > bound).all()


def test_clusters_of_two_users_are_found_and_worth_a_decibel():
    scene = Scene(2, [User(5.0), User(200.0)], history=48)
    ahead = np.array([1, 2, 4, 8])
    evaluation = Evaluation({name: PREDICTORS[name] for name in ("wiener", "cw-wiener")})
    for seed in range(10):
        evaluation.add(scene.draw(seed, ahead))
    gain = evaluation.gain_db("cw-wiener", "wiener")[0]
    oracle = evaluation.gain_db(KNOWN, "wiener")[0]
    assert (gain > 1.0).all() and (gain > 0.8 * oracle).all()
    clusters = find_clusters(scene.draw(3, ahead).series)
    dopplers = np.array([fading.doppler for fading in clusters.fadings])
    assert np.logical_or(dopplers < 10, (dopplers > 180) & (dopplers < 220)).all()
    slow = clusters.memberships[:, dopplers < 10].sum(axis=1).reshape(scene.shape)
    assert slow[:, :, 0].mean() > 0.9 and slow[:, :, 1].mean() < 0.1


def test_a_line_of_sight_is_found_and_forecast():
    rng = np.random.default_rng(2)
    fading = Fading(0.2, 0.97, 0.13)
    scattered, _ = gaussian(rng, Fading(0.2), TIMES, 30, 0.3)
    turns = rng.random((30, 1)) + 0.13 * TIMES
    estimates = np.sqrt(0.97) * np.exp(2j * np.pi * turns) + np.sqrt(0.03) * scattered
    clusters = find_clusters(Series(TIMES, estimates, 0.01))
    shares = clusters.memberships.mean(axis=0)
    assert all(abs(found.shift - 0.13) < 0.004 for found in clusters.fadings)
    assert 0.9 < np.sum(shares * [found.line for found in clusters.fadings]) < 1
    near, _ = errors(PREDICTORS["cw-wiener"], fading, count=60)
    pooled, _ = errors(PREDICTORS["wiener"], fading, count=60)
    assert (db(near) < db(pooled) - 3).all()


@pytest.mark.parametrize("fading", [Fading(0.05), Fading(0.1, 0.8, -0.06), Fading(0.0)])
def test_the_fast_filter_and_likelihood_are_the_formula(fading):
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0, 30, 20))
    estimates, _ = gaussian(rng, fading, times, 5, 0.1)
    series = Series(times, estimates, [0.1, 0.2, 0.05, 1.0, 0.1])
    one, other = FadingFilter(fading, times, HORIZONS)(series), known_wiener(series, HORIZONS, fading.correlation)
    np.testing.assert_allclose(one.values, other.values, atol=1e-8)
    np.testing.assert_allclose(one.error_var, other.error_var, atol=1e-8)
    shifts = [fading.shift] if fading.line else ()
    np.testing.assert_allclose(
        Likelihood(series, fading.doppler, shifts).of(fading.line)[:, 0], log_likelihoods(series, fading), rtol=1e-6
    )


def test_weights_give_what_clusters_forecast():
    """Of series that are of one cluster, of two or of three."""
    memberships = np.array([[1.0, 0.0, 0.0], [0.25, 0.0, 0.75], [0.2, 0.3, 0.5]])
    clusters = Clusters([Fading(0.02), Fading(0.2), Fading(0.1, 0.8, -0.06)], memberships, memberships.mean(axis=0))
    estimates, _ = gaussian(np.random.default_rng(4), Fading(0.1), TIMES, 3, 0.1)
    series = Series(TIMES, estimates, 0.1)
    weights, error_var = weights_with(clusters, series, HORIZONS)
    forecast = forecast_with(clusters, series, HORIZONS)
    np.testing.assert_allclose(np.einsum("shn,sn->sh", weights, estimates), forecast.values, atol=1e-8)
    np.testing.assert_allclose(error_var, forecast.error_var, atol=1e-8)


@pytest.mark.parametrize("name", PREDICTORS)
def test_whatever_is_missing_there_is_a_forecast_with_an_error_variance(name):
    rng = np.random.default_rng(4)
    estimates, _ = gaussian(rng, Fading(0.03), TIMES, 8, 0.01)
    estimates[0] = np.nan  # dead
    estimates[1, :30] = np.nan  # begins
    estimates[2, 20:] = np.nan  # ends
    estimates[3, 5] = np.inf  # damaged
    estimates[4, :-1] = np.nan  # one estimate only
    forecast = PREDICTORS[name](Series(TIMES, estimates, 0.01), HORIZONS)
    assert np.isfinite(forecast.values).all() and (forecast.error_var[1:] > 0).all()
    assert np.isinf(forecast.error_var[0]).all() and not forecast.values[0].any()
    assert np.isfinite(forecast.error_var[1:]).all()


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_estimates_are_held(name, count):
    values = np.arange(1, count + 1) + 0j
    forecast = PREDICTORS[name](Series(np.arange(count), [values], 0.01), HORIZONS)
    assert np.isfinite(forecast.values).all() and (forecast.error_var > 0).all()
    if name != "linear":
        assert (np.abs(forecast.values) <= count).all()


def test_missing_estimates_cost_what_the_formula_says():
    rng = np.random.default_rng(5)
    fading = Fading(0.03)
    estimates, truth = gaussian(rng, fading, np.arange(45.0), 500, 0.01)
    estimates = estimates[:, :40]
    estimates[:, 36:39] = np.nan
    found = known_doppler(0.03)(Series(TIMES, estimates, 0.01), HORIZONS)
    np.testing.assert_allclose(
        db(np.mean(np.abs(found.values - truth[:, [40, 41, 44]]) ** 2, axis=0)),
        db(found.error_var.mean(axis=0)),
        atol=1,
    )


def test_times_decide_and_not_counts():
    rng = np.random.default_rng(6)
    fading = Fading(0.05)
    times = np.cumsum(rng.uniform(0.3, 1.7, 40))
    for name in ("wiener", "cw-wiener", "kalman", "hold"):
        found, expected = errors(PREDICTORS[name], fading, count=300, times=times)
        counted, _ = errors(
            lambda series, horizons, name=name: PREDICTORS[name](
                Series(np.arange(40.0), series.values, series.noise_var), horizons
            ),
            fading,
            count=300,
            times=times,
        )
        if name in ("wiener", "cw-wiener"):
            assert found[0] < 0.5 * counted[0]
            np.testing.assert_allclose(db(expected), db(found), atol=1.5)


def test_an_autoregressive_process_is_forecast_by_its_recursion():
    rng = np.random.default_rng(7)
    pole = 0.95 * np.exp(0.3j)
    values = np.zeros((1, 4000), complex)
    for n in range(1, 4000):
        values[0, n] = pole * values[0, n - 1] + 0.1 * (rng.standard_normal() + 1j * rng.standard_normal())
    forecast = PREDICTORS["ar"](Series(np.arange(4000.0), values, 1e-6), HORIZONS)
    np.testing.assert_allclose(forecast.values[0], values[0, -1] * pole**HORIZONS, atol=0.05)
    np.testing.assert_allclose(forecast.error_var[0, 0], 0.02, rtol=0.1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0, 1], np.zeros((2, 3)), 1.0), "values .* expected"),
        (([0, 0], np.zeros((2, 2)), 1.0), "do not ascend"),
        (([0, np.nan], np.zeros((2, 2)), 1.0), "do not ascend"),
        (([0, 1], np.zeros((2, 2)), 0.0), "noise_var"),
        (([0, 1], np.zeros((2, 2)), [1.0, 1.0, 1.0]), "noise_var"),
    ],
)
def test_series_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Series(*arguments)


def test_an_unknown_predictor_is_named():
    with pytest.raises(ValueError, match="'magic'; one of hold, linear"):
        predictor("magic")


def test_errors_of_phase_and_gain_are_not_taken_for_fast_fading():
    """A tap far above the noise has more of them than of noise; they turn all series alike."""
    rng = np.random.default_rng(8)
    fading, powers = Fading(0.02), 10.0 ** np.repeat([0, -1, -2, -3], 8)
    times = np.arange(44.0)
    _, truth = gaussian(rng, fading, times, 32, 0.0)
    jitter = 1 + 0.05 * (rng.standard_normal(40) + 1j * rng.standard_normal(40))
    noise = 1e-4 * (rng.standard_normal((32, 40)) + 1j * rng.standard_normal((32, 40)))
    seen = np.sqrt(powers)[:, None] * truth[:, :40] * jitter + noise
    series = likely_noise(Series(TIMES, seen, 2e-8))
    assert np.median(series.noise_var / powers) == pytest.approx(5e-3, rel=0.7)
    found = PREDICTORS["cw-wiener"](series, np.array([1.0, 4.0]))
    errors = np.sum(np.abs(found.values - np.sqrt(powers)[:, None] * truth[:, [40, 43]]) ** 2, axis=0)
    assert (errors < [0.01 * powers.sum(), 0.06 * powers.sum()]).all()
