# SPDX-License-Identifier: GPL-3.0-or-later
"""The fuzz harness itself: some hundred cases, those that once failed, and that it notices what it is there for."""

import json
import signal

import pytest

from tests.blocks.flowgraphs import names_of_blocks
from tests.fuzz.__main__ import CORPUS
from tests.fuzz.campaign import Campaign, Job, load_corpus, load_known
from tests.fuzz.targets import TARGETS

CASES = 192
SEED = 2026


def run(jobs, limit=60.0):
    campaign = Campaign(2, limit, known=load_known(CORPUS))
    campaign.run(jobs)
    assert campaign.count == len(jobs)
    return campaign


def test_all_blocks_are_here():
    assert names_of_blocks() | {"mimo_receiver", "link", "consumer"} == set(TARGETS)


def test_some_cases_of_every_block():
    names = list(TARGETS)
    campaign = run([Job(names[case % len(names)], SEED, case) for case in range(CASES)])
    assert set(campaign.cases) == set(TARGETS)
    assert not campaign.num_failed, campaign.table()


def test_what_once_failed():
    campaign = run(load_corpus(CORPUS))
    assert not campaign.num_failed, campaign.table()


@pytest.mark.parametrize(
    ("case", "limit", "symptom"),
    [
        ("crash", 20, f"crash: signal {signal.SIGSEGV.value}"),
        ("hang", 1, "hang: "),
        ("exit", 20, "crash: exit status 3"),
        ("raise", 20, "exception"),
        ("forge", 20, "in the log: 'FORGED'"),
        ("fill", 20, "memory: "),
        ("burn", 60, "slow: "),
    ],
)
def test_what_goes_wrong_is_put_down_to_its_case(case, limit, symptom, tmp_path, monkeypatch):
    """And the next case runs all the same."""
    monkeypatch.setenv("KAQ_FUZZ_SELF_TEST", case)
    monkeypatch.setenv("KAQ_FUZZ_CPU_S", "1" if case == "burn" else "60")
    outcomes = []
    campaign = Campaign(1, limit)
    campaign.run([Job("self-test", 1, 0), Job("qam_source", 1, 0)], outcomes.append)
    assert [outcome.job.block for outcome in outcomes if outcome.failures] == ["self-test"]
    assert any(failure.startswith(symptom) for failure in outcomes[0].failures), outcomes[0].failures
    corpus = tmp_path / "corpus.json"
    assert campaign.add_to(corpus) == len(json.loads(corpus.read_text())) > 0
    assert campaign.add_to(corpus) == 0
    assert set(load_corpus(corpus)) == {Job("self-test", 1, 0)}


def test_an_open_fault_fails_nothing(monkeypatch):
    monkeypatch.setenv("KAQ_FUZZ_SELF_TEST", "exit")
    campaign = Campaign(1, known={("self-test", "crash: exit status #")})
    campaign.run([Job("self-test", 1, 0)])
    assert not campaign.num_failed
    assert campaign.known.total() == 1


def test_the_same_seed_gives_the_same_case():
    outcomes = []
    campaign = Campaign(1)
    campaign.run([Job("frame_decoder", 5, 3)] * 2, outcomes.append)
    assert outcomes[0].did == outcomes[1].did
