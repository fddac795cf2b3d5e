# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials of policies: the channel is that of `RadioChannel`, the same seed gives the same, and all is counted."""

import numpy as np
import pytest

from gr_kaq.adaptation.block_error_curves import shipped_curves
from gr_kaq.adaptation.calibration import calibrate
from gr_kaq.adaptation.choices import Choices
from gr_kaq.adaptation.combining import combining_thresholds
from gr_kaq.adaptation.simulation import (
    FEEDBACK_BYTES,
    Scenario,
    SimulatedLink,
    expected_goodputs,
    run_policies,
)
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader
from gr_kaq.frames.modulation_coding import transport_block_bytes

FRAME = FrameFormat(2)


def scenario(snr_db=15.0, **arguments):
    return Scenario(FRAME, 2, snr_db, **arguments)


def test_a_frame_is_what_a_radio_channel_makes_of_its_samples():
    """Samples through `RadioChannel` with the same fading give the same grid, but for what it interpolates."""
    link = SimulatedLink(scenario(200.0, doppler=50.0), 3)
    frame = link.frame(0)
    header = FrameHeader(5, 2)
    data = link.receiver.frame.data_symbols(header, link.code_word(5, 2)[1])
    ours = frame._receive(FRAME.fill_grid(data))
    fading = np.random.SeedSequence([3, 0])
    channel = RadioChannel(
        2, 2, sample_rate=2e6, profile="tdl-a", delay_spread=100e-9, doppler=50.0, snr_db=np.inf, seed=fading
    )
    channel._fading = link._line  # RadioChannel spawns the seed of its fading
    channel._group = -1
    channel._make_filters(0)
    samples = np.pad(FRAME.modulate(data), ((0, 0), (0, 200)))
    theirs = FRAME.demodulate(channel.process(samples), channel.latency)
    error = np.mean(np.abs(ours - theirs) ** 2) / np.mean(np.abs(ours) ** 2)
    assert 10 * np.log10(error) < -30


def test_the_same_seed_gives_the_same_and_another_something_else():
    def run(seed):
        return [o.delivered_bits for o in run_policies(scenario(), ["both", "arf"], seeds=[seed], num_frames=30)]

    assert run(5) == run(5) != run(6)


def test_what_is_sent_is_counted():
    outcome, fixed = run_policies(scenario(40.0), ["both"], seeds=[1, 2], num_frames=20, fixed=[(3, 2)])
    assert outcome.frames == fixed.frames == 40 and len(fixed.goodputs) == 2
    assert fixed.policy == "fixed qpsk 3/4 x2" and fixed.used == {(3, 2): 40}
    assert fixed.first == fixed.blocks == 36, "the last two of each channel have not been answered"
    assert (fixed.first_errors, fixed.lost) == (0, 0)
    assert fixed.delivered_bits == 40 * 8 * transport_block_bytes(FRAME, 3, 2)
    period = 1536 / 2e6
    assert fixed.seconds == pytest.approx(40 * period)
    assert fixed.goodput == pytest.approx(8 * (transport_block_bytes(FRAME, 3, 2) - FEEDBACK_BYTES) / period)
    assert outcome.goodput > 1.5 * fixed.goodput


def test_repeats_bring_what_single_frames_cannot():
    """Below the threshold of an MCS, on channels that stay as they are: many blocks fail at once, few with repeats."""
    for chase in (True, False):
        (outcome,) = run_policies(
            scenario(13.0, doppler=0.0), [], seeds=range(6), num_frames=40, fixed=[(6, 2)], chase=chase
        )
        assert outcome.block_error_rate > 0.4 and outcome.residual_loss < 0.25
        assert 0.2 < outcome.delivered_bits / (outcome.frames * 8 * transport_block_bytes(FRAME, 6, 2)) < 0.9


def test_a_fade_that_outlasts_three_repeats_costs_no_blocks():
    """One antenna each; with all four transmissions in a row, four blocks were lost here."""
    (outcome,) = run_policies(Scenario(FrameFormat(1), 1, 10.0), ["both"], seeds=[1003], num_frames=150)
    assert outcome.lost == 0 and outcome.first_errors > 15


def test_answers_that_are_lost_cost_repeats_but_no_blocks():
    (outcome,) = run_policies(scenario(40.0, feedback_loss=0.3), [], seeds=[1], num_frames=300, fixed=[(3, 2)])
    assert outcome.lost == 0 and 0.2 < outcome.block_error_rate < 0.4
    assert outcome.delivered_bits < 0.8 * 300 * 8 * transport_block_bytes(FRAME, 3, 2)


def test_bounds_are_above_policies_and_inner_loops_above_what_never_changes():
    outcomes = run_policies(
        scenario(15.0, doppler=20.0), ["both", "illa", "olla", "oracle", "genie"], seeds=range(4), num_frames=150
    )
    goodput = {outcome.policy: outcome.goodput for outcome in outcomes}
    assert goodput["genie"] > goodput["oracle"] > 0.97 * goodput["illa"]
    assert goodput["both"] > 0.75 * goodput["genie"] and goodput["both"] > goodput["olla"]
    both = outcomes[0]
    assert both.block_error_rate == pytest.approx(0.1, abs=0.04)


def test_only_the_rank_that_is_asked_for_is_sent():
    outcomes = run_policies(scenario(rank=1), ["both", "genie", "oracle", "arf"], seeds=[1], num_frames=20)
    assert all(rank == 1 for outcome in outcomes for _, rank in outcome.used)
    expected = expected_goodputs(scenario(rank=1), [1], 20, Choices(FRAME, ranks=[1]))
    assert np.all(expected[1] == 0) and np.all(expected[0] > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delay": 0}, "delay is 0; at least 1 frame"),
        ({"interval": 1e-6}, "interval is 1e-06 s; at least 0.00064"),
        ({"rank": 3}, "rank is 3; 1 to 2"),
    ],
)
def test_impossible_links_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenario(**arguments)


def test_calibration_finds_about_what_ships():
    curves = calibrate(FRAME, 2, num_frames=150, seed=7)
    shipped = shipped_curves()
    for index in (1, 5, 9):
        assert curves[index]["threshold_db"] == pytest.approx(shipped.thresholds_db[index], abs=0.7)


def test_two_copies_save_three_decibels_and_new_bits_more():
    single, chase, incremental, *_ = combining_thresholds(3, num_blocks=150, seed=1)
    assert single.snr_db - chase.snr_db == pytest.approx(3.0, abs=0.35)
    assert incremental.snr_db < chase.snr_db


@pytest.mark.long
def test_two_copies_save_three_decibels_exactly():
    single, chase, incremental, *_ = combining_thresholds(3, num_blocks=3000, seed=1)
    assert single.snr_db - chase.snr_db == pytest.approx(3.0, abs=0.1)
    assert incremental.snr_db < chase.snr_db


def test_who_sees_more_sends_more():
    outcomes = run_policies(scenario(12.0), ["oracle", "channel", "genie"], seeds=[1, 2], num_frames=25)
    oracle, channel, genie = (outcome.goodput for outcome in outcomes)
    assert 0.97 * oracle < channel < genie


def test_forecasts_are_worth_much_where_the_feedback_is_late():
    fast = {"doppler": 100.0, "delay": 2}
    policies = ["both", "olla"]
    without = run_policies(scenario(**fast), policies, seeds=[1, 2], num_frames=150)
    with_forecasts = run_policies(scenario(**fast, forecasts=True), policies, seeds=[1, 2], num_frames=150)
    assert with_forecasts[0].goodput > 1.15 * without[0].goodput
    assert with_forecasts[0].goodput > with_forecasts[1].goodput
