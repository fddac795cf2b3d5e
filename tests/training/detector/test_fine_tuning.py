# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine-tuning: training that starts from a detector, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import yaml

from gr_kaq import load_detector
from gr_kaq.channels.flat import shipped_recording
from gr_kaq.detection import model_file
from tests.training.detector.configs import small_config
from training.__main__ import main
from training.config import ConfigError
from training.detector.config import Accepts, Channel, Config
from training.detector.export import detector_model
from training.detector.initial_model import initial_model
from training.detector.train import Run, train
from training.optimization import Stage

pytestmark = pytest.mark.training


def fine_tuning_config(**changes):
    return small_config(**{"initial_model": "admm5-16qam", "layers": 5, "snr_db": (5.0, 28.0), **changes})


def shipped(name):
    return load_detector(name, backend="reference").model


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("admm5-16qam", {}),
        ("admm5-16qam-fp", {}),
        ("admm5-64qam", {"constellation": "64qam"}),
        ("pgd8-16qam", {"network": "pgd", "layers": 8, "sizes": ((8, 4),)}),
        ("paper-pgd5-16qam", {"network": "pgd", "proximal": "soft_threshold"}),
    ],
)
def test_the_twin_starts_as_the_detector(name, changes):
    """Every law of the file, but for the steps, which full precision has none of."""
    model = shipped(name)
    run = Run.start(fine_tuning_config(initial_model=name, **changes))
    twin = detector_model(run.config, run.twin)
    expected = {law: table for law, table in model.law_tables.items() if law != "step"}
    assert twin.law_tables.keys() == expected.keys()
    for law, table in expected.items():
        assert twin.law_tables[law] == pytest.approx(table, abs=3e-6), law
    for own, wanted in ((twin.output_variance, model.output_variance), (twin.regularization, model.regularization)):
        assert own == wanted or (own(10.0), own(1e6)) == pytest.approx((wanted(10.0), wanted(1e6)), abs=3e-6)
    assert twin.output_spread == pytest.approx(model.output_spread, abs=3e-6)


def test_a_model_file_is_read_relative_to_the_repository_or_absolute(tmp_path):
    model = dataclasses.replace(shipped("admm5-16qam"), name="mine")
    path = model_file.save(model, tmp_path)
    for name in (str(path), "python/gr_kaq/detection/models/admm5-16qam.kaq.json"):
        assert initial_model(fine_tuning_config(initial_model=name)).layers == model.layers
    assert initial_model(small_config()) is None


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path):
    config = fine_tuning_config(full_precision=Stage(10, 0.003), quantized=Stage(5, 0.003))
    whole = Run.start(config)
    train(whole, tmp_path / "whole", progress=False)
    run = Run.start(config)
    for _ in range(4):
        run.step()
    run.save(tmp_path / "parts")
    parts = Run.resume(tmp_path / "parts", config)
    train(parts, tmp_path / "parts", progress=False)
    assert whole.history == parts.history
    assert detector_model(config, whole.network) == detector_model(config, parts.network)
    with pytest.raises(ConfigError, match="initial_model"):
        Run.resume(tmp_path / "parts", dataclasses.replace(config, initial_model="admm5-16qam-fp"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"initial_model": "nothing"}, "no detector 'nothing'"),
        ({"initial_model": "nowhere/nothing.kaq.json"}, "nothing.kaq.json: cannot be read"),
        ({"initial_model": "lmmse"}, "needs a constellation"),
        ({"initial_model": "list8-16qam"}, "list8-16qam is no unfolded network"),
        ({"network": "pgd"}, "admm5-16qam has network admm, and the configuration pgd"),
        ({"layers": 6}, "has layers 5, and the configuration 6"),
        ({"constellation": "qpsk"}, "has constellation 16qam, and the configuration qpsk"),
        ({"initial_model": "pgd8-16qam", "network": "pgd", "layers": 8}, "num_rx >= 2"),
        (
            {"initial_model": "paper-pgd5-16qam", "network": "pgd"},
            "has proximal soft_threshold, and the configuration ramp",
        ),
        ({"sizes": ((32, 32),), "accepts": Accepts(64, 32)}, "1 to 16 transmit"),
    ],
)
def test_another_architecture_is_refused(changes, named):
    with pytest.raises(ConfigError, match=f"key initial_model: .*{named}"):
        Run.start(fine_tuning_config(**changes))


def test_laws_that_follow_the_snr_do_not_become_static():
    with pytest.raises(ConfigError, match="key laws: static, but output_variance of admm5-16qam follows the SNR"):
        Run.start(fine_tuning_config(laws="static"))


@pytest.mark.parametrize("name", ["admm5-16qam", "admm5-16qam-fp"])
def test_the_result_has_a_name_of_its_own(name):
    """Or its BER and the initial detector's could not be told apart."""
    with pytest.raises(ConfigError, match="key name: admm5-16qam"):
        Run.start(fine_tuning_config(name="admm5-16qam", initial_model=name))


def test_fine_tuning_on_a_recording_from_the_command_line(tmp_path, capsys):
    """A detector and an archive as `kaq record` writes it: BER before and after, and a model file at the end."""
    packets = 40
    with np.load(shipped_recording("measured_csi_3x2")) as archive:
        parts = archive["h"][:packets, ::8].astype(np.float32)
    recording = tmp_path / "own.npz"
    np.savez(recording, h=parts[..., 0] + 1j * parts[..., 1], snr_db=np.full(packets, 20.0))
    config = fine_tuning_config(
        name="own",
        sizes=((3, 2),),
        accepts=Accepts(3, 2),
        channel=Channel("recorded", file=str(recording), training_packets=(0, 20)),
        full_precision=Stage(10, 0.003),
        quantized=Stage(5, 0.003),
    )
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"kind": "detector", **config.to_dict()}))
    assert main(["train", str(path), "--output", str(tmp_path)]) == 0
    assert "admm5-16qam" in capsys.readouterr().out
    measured = json.loads((tmp_path / "own" / "summary.json").read_text())["ber"]
    assert {r["detector"] for r in measured} == {"lmmse", "admm5-16qam", "own", "own-fp"}
    assert {r["channel"] for r in measured} == {
        "own.npz, packets held out (all but 0 to 19)",
        "own.npz, all packets",
    }
    assert main(["export", str(tmp_path / "own")]) == 0
    model = model_file.load(tmp_path / "own" / "own.kaq.json")
    assert model.training["initial_model"] == "admm5-16qam" and len(model.measured_ber) == 2


def test_the_shipped_configuration_starts_and_holds_packets_out():
    config = Config.load("finetune-measured-3x2-16qam")
    run = Run.start(config)
    assert initial_model(config).name == "admm5-16qam" and len(run.packets) == 200
    scratch = Config.load("measured-3x2-16qam")
    for key in ("channel", "sizes", "snr_db", "evaluation", "seed"):  # measured on the same transmissions
        assert getattr(config, key) == getattr(scratch, key)
