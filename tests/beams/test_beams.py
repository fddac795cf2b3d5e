# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays, policies and tracking: what physics says of beams, and what a search does with few pilots or bad rewards."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.beams.beam_search import BeamSearch
from gr_kaq.beams.planar_array import Beam, PlanarArray, rician_channels
from gr_kaq.beams.policies import POLICIES
from gr_kaq.beams.tracking import Tracker
from gr_kaq.beams.trials import SimulatedUsers, is_unimodal, run_searches, run_tracking

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12)).filter(lambda size: size[0] * size[1] > 1)


def powers(array, frequencies, beams, **settings_of_channel):
    h = rician_channels(array, np.array(frequencies), math.inf, np.random.default_rng(0))
    return np.abs(array.weights(np.array(beams)) @ h) ** 2


@given(SIZES, st.data())
def test_a_narrow_beam_has_gain_one_where_it_points_and_none_where_the_others_do(size, data):
    array = PlanarArray(*size)
    beam = data.draw(st.tuples(*(st.integers(0, count - 1) for count in size)))
    got = powers(array, np.array(beam) / size, array.narrow_beams()).reshape(size)
    assert got[beam] == pytest.approx(1, abs=1e-4)
    got[beam] = 0
    assert got.max() < 1e-4
    assert tuple(array.nearest(np.array(beam) / size)) == beam


def test_between_two_beams_both_lose_3_9_db_on_each_axis():
    array = PlanarArray(16, 16)
    got = powers(array, (0.5 / 16, 0.5 / 16), [(0, 0, 1, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1)])
    assert 10 * np.log10(got) == pytest.approx([-7.84] * 4, abs=0.05)


@given(st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 2, 4, 8, 16]))
def test_a_wide_beam_loses_the_elements_that_are_off_and_is_wider_by_as_much(first, second):
    array = PlanarArray(16, 16)
    centre, edge = (4 / 16, 9 / 16), (4 / 16 + first / 32, 9 / 16)
    aligned = powers(array, centre, [(4, 9, first, second)])[0]
    assert aligned == pytest.approx(1 / (first * second), rel=1e-3)
    if first < 16:
        assert 10 * np.log10(powers(array, edge, [(4, 9, first, second)])[0] / aligned) == pytest.approx(-3.9, abs=0.9)


@pytest.mark.parametrize(("bits", "loss_db"), [(1, 3.92), (2, 0.91), (3, 0.22), (4, 0.06)])
def test_phase_states_lose_what_a_uniform_error_of_the_phase_does(bits, loss_db):
    array = PlanarArray(32, 32, phase_bits=bits)
    rng = np.random.default_rng(3)
    # sinc(2^-bits)^2, on the average over beams whose phases are not all states themselves
    beams = rng.choice(np.arange(1, 32, 2), (64, 2))
    gains = [powers(array, beam / 32, [(*beam, 1, 1)])[0] for beam in beams]
    assert -10 * np.log10(np.mean(gains)) == pytest.approx(loss_db, abs=0.35)


def test_spacing_and_angles_give_spatial_frequencies():
    array = PlanarArray(8, 8, spacing=0.5)
    assert array.frequencies(np.array([30.0, -90.0])) == pytest.approx([0.25, -0.5])


def test_rician_channels_have_mean_power_1_and_the_ratio_asked_for():
    array = PlanarArray(8, 8)
    f = np.full((4000, 2), 0.2)
    for rice_db, aligned in ((math.inf, 1.0), (3.0, 0.666 + 0.334 / 64), (-math.inf, 1 / 64)):
        h = rician_channels(array, f, rice_db, np.random.default_rng(1))
        assert np.mean(np.abs(h) ** 2) == pytest.approx(1, abs=0.02)
        gain = np.mean(np.abs(h @ array.steering(f[0]).conj()) ** 2) / 64**2
        assert gain == pytest.approx(aligned, rel=0.08)


def test_along_an_axis_a_plane_wave_is_unimodal_on_the_circle_and_fading_is_not():
    array = PlanarArray(16, 16)
    rng = np.random.default_rng(2)
    f = rng.random((200, 2))
    for rice_db, share in ((math.inf, 1.0), (-math.inf, 0.05)):
        users = SimulatedUsers(array, rician_channels(array, f, rice_db, rng), 20.0)
        unimodal = is_unimodal(users.of_width(1, 16)[:, :, 0])
        assert unimodal.mean() >= share if rice_db > 0 else unimodal.mean() <= share


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "0x4"),
        ((65, 64), "65x64"),
        ((4, 4, 0.0), "spacing is 0.0"),
        ((4, 4, math.nan), "spacing is nan"),
        ((4, 4, 0.5, 5), "phase_bits is 5"),
    ],
)
def test_arrays_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlanarArray(*arguments[:2], **dict(zip(("spacing", "phase_bits"), arguments[2:], strict=False)))


def test_beams_that_are_not_in_the_codebook_are_refused():
    array = PlanarArray(4, 2)
    assert array.check((3, 1, 4, 2)) == Beam(3, 1, 4, 2)
    for beam, message in (
        ((4, 0, 1, 1), "first of the beam is 4; 0 to 3"),
        ((0, -1, 1, 1), "second of the beam is -1"),
        ((0, 0, 0, 1), "first_width of the beam is 0"),
        ((0, 0, 1, 3), "second_width of the beam is 3; 1 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            array.check(beam)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25)
@given(size=SIZES, more=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_a_policy_keeps_to_its_budget_and_to_the_codebook_whatever_the_rewards(policy, size, more, seed):
    array = PlanarArray(*size)
    budget = POLICIES[policy].least_budget(array) + more
    search = BeamSearch(array, policy, budget, seed=seed)
    rng = np.random.default_rng(seed)
    pilots = 0
    while not search.done:
        array.check(search.next_beam())
        assert search.next_beam() == search.next_beam()
        array.check(search.recommend())
        search.observe(rng.standard_normal() * 10 ** rng.uniform(-6, 6))
        pilots += 1
    assert pilots <= budget
    found = array.check(search.recommend())
    assert found[2:] == (1, 1) and search.next_beam() == found


@pytest.mark.parametrize("policy", POLICIES)
def test_one_pilot_less_than_a_policy_needs_is_refused(policy):
    array = PlanarArray(8, 4)
    least = POLICIES[policy].least_budget(array)
    BeamSearch(array, policy, least)
    with pytest.raises(ValueError, match=f"budget is {least - 1}; {policy} needs {least} to .* pilots on 8x4"):
        BeamSearch(array, policy, least - 1)


def found_wrong(policy, snr_db, budget, users=200, rice_db=math.inf, size=(16, 16), **of_array):
    array = PlanarArray(*size, **of_array)
    rng = np.random.default_rng(5)
    h = rician_channels(array, rng.random((users, 2)), rice_db, rng)
    return run_searches(SimulatedUsers(array, h, snr_db), policy, budget, 5)


@pytest.mark.parametrize(
    "policy",
    ["exhaustive", "sequential-halving", "hierarchical", "after-holobeam", "parametric", "parametric-coherent"],
)
def test_without_noise_to_speak_of_the_best_beam_is_found(policy):
    outcome = found_wrong(policy, 60.0, 256)
    assert outcome.gain_loss_db < 0.3 and outcome.wrong.mean() < 0.05
    assert outcome.pilots.max() <= 256


@pytest.mark.parametrize("policy", ["separable-scan", "ub3", "osub"])
def test_narrow_lines_see_the_other_axis_through_its_sidelobes(policy):
    assert found_wrong(policy, 20.0, 64).wrong.mean() > 0.5


def test_a_quarter_of_an_exhaustive_search_suffices_at_20_db():
    for policy in ("parametric", "after-holobeam"):
        outcome = found_wrong(policy, 20.0, 64, users=400)
        assert outcome.wrong.mean() <= 0.1 or outcome.gain_loss_db <= 0.5


def test_more_pilots_and_more_snr_help_the_default():
    losses = [found_wrong("parametric", snr, budget).gain_loss_db for snr, budget in ((10, 64), (10, 512), (20, 512))]
    assert losses[0] > 3 > losses[1] > losses[2] - 0.01 and losses[2] < 0.3


@pytest.mark.parametrize(("snr_db", "budget"), [(5, 64), (5, 384), (10, 32), (10, 384), (20, 64)])
def test_the_default_is_at_most_half_a_decibel_behind_any_other(snr_db, budget):
    array = PlanarArray(16, 16)
    others = ["after-holobeam", "separable-scan", "hierarchical", "sequential-halving"]
    losses = [
        found_wrong(policy, snr_db, budget, users=400).gain_loss_db
        for policy in others
        if budget >= POLICIES[policy].least_budget(array)
    ]
    assert found_wrong("parametric", snr_db, budget, users=400).gain_loss_db < min(losses) + 0.5


def test_two_bits_of_phase_are_enough_to_find_a_beam():
    assert found_wrong("parametric", 20.0, 512, phase_bits=2).gain_loss_db < 0.3


def test_an_axis_of_one_element_has_one_beam():
    for size in ((16, 1), (1, 16)):
        outcome = found_wrong("parametric", 20.0, 32, size=size)
        assert outcome.wrong.mean() < 0.3 and outcome.gain_loss_db < 0.5


BAD = st.sampled_from([math.nan, math.inf, -math.inf, 1e40, "3", "NaN", object(), 2j, [1.0]])


@settings(max_examples=50)
@given(st.lists(BAD, min_size=1, max_size=4), st.integers(0, 60), st.booleans())
def test_bad_rewards_are_counted_and_change_nothing(bad, at, tracking):
    array = PlanarArray(4, 4)
    search, undisturbed = (BeamSearch(array, "after-holobeam", 16, tracking=tracking) for _ in range(2))
    rng = np.random.default_rng(0)
    for step in range(80):
        if step == at:
            before = search.next_beam(), search.recommend()
            was_done = search.done
            for reward in bad:
                search.observe(reward)
            given_as_number = sum(reward == "3" for reward in bad)
            if not given_as_number and not was_done:
                assert search.invalid == len(bad)
            if given_as_number:
                return  # "3" is a number
            assert (search.next_beam(), search.recommend()) == before
        reward = rng.exponential(5.0)
        search.observe(reward)
        undisturbed.observe(reward)
        assert search.next_beam() == undisturbed.next_beam()


def test_pilots_that_are_not_heard_count_as_no_power_and_the_search_goes_on():
    array = PlanarArray(4, 4)
    search = BeamSearch(array, "exhaustive", 16)
    best = Beam(2, 1)
    while not search.done:
        search.observe(5.0 if search.next_beam() == best else None)
    assert search.recommend() == best and search.missing == 15
    search.observe(1e9)  # late: nothing changes
    assert search.recommend() == best


def test_a_user_who_moves_is_followed_and_one_who_jumps_is_searched_for():
    array = PlanarArray(16, 16)
    rng = np.random.default_rng(7)
    search = BeamSearch(array, budget=128, tracking=True)

    def pilot(f):
        h = rician_channels(array, np.array(f), math.inf, rng)
        received = 10 * array.weights(np.array([search.next_beam()])) @ h + rng.normal(0, np.sqrt(0.5), 2) @ [1, 1j]
        search.observe(float(np.abs(received[0]) ** 2 - 1))

    f = np.array([0.1, 0.7])
    for _ in range(128):
        pilot(f)
    assert not search.searching
    for _ in range(100):  # over the circle's end
        f += (0.004, 0.008)
        for _ in range(3):
            pilot(f)
        apart = (np.array(search.recommend()[:2]) - f * 16 + 8) % 16 - 8
        assert np.abs(apart).max() < 1.2
    assert search.searches == 1
    for _ in range(400):
        pilot((0.9, 0.1))
    assert search.searches == 2 and search.recommend()[:2] in ((14, 2), (14, 1))


def test_between_rounds_of_tracking_the_beam_in_use_is_held():
    array = PlanarArray(4, 4)
    search = BeamSearch(array, "after-holobeam", 16, tracking=True, hold=5)
    while search.searching:
        search.observe(10.0 if search.next_beam()[:2] == (1, 1) else 0.0)
    asked = []
    for _ in range(16):
        asked.append(search.next_beam())
        search.observe(10.0 if asked[-1][:2] == (1, 1) else 0.0)
    assert asked[:6] == [asked[0]] * 6 and len({*asked[5:8]}) == 3 and asked[8:14] == [asked[0]] * 6


def test_a_tracker_with_one_axis_stays_on_it():
    tracker = Tracker(PlanarArray(16, 1), Beam(15, 0))
    for _ in range(10):
        assert {beam.second for beam in tracker.next_beams()} == {0}
        tracker.observe(np.array([10.0, 8.0, 0.1]))
    assert not tracker.lost


@pytest.mark.parametrize("snr_db", [20.0, 12.0])
def test_one_degree_per_frame_costs_less_than_a_decibel(snr_db):
    result = run_tracking(PlanarArray(16, 16), users=40, frames=60, degrees_per_frame=1.0, snr_db=snr_db, seed=1)
    assert result.loss_db.shape == (40, 60)
    assert result.loss_db.mean() < 1.0 and result.lost.sum() == 0


def test_users_who_are_lost_are_searched_for():
    fast = {"frames": 60, "degrees_per_frame": 20.0, "snr_db": 20.0, "seed": 1}
    result = run_tracking(PlanarArray(8, 8), users=10, **fast)
    assert result.lost.sum() > 5


def test_a_tracker_on_an_array_of_two_beams_has_two_pilots():
    search = BeamSearch(PlanarArray(2, 1), budget=8, tracking=True)
    for _ in range(60):
        search.observe(20.0 if search.next_beam().first == 1 else 0.0)
    assert not search.searching and search.recommend() == Beam(1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "best"}, "unknown policy 'best'; one of exhaustive"),
        ({"hold": -1}, "hold is -1"),
        ({"budget": 1 << 21}, "budget is 2097152"),
        ({"policy": "parametric-coherent", "tracking": True}, "complex rewards"),
    ],
)
def test_searches_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BeamSearch(PlanarArray(4, 4), **arguments)
