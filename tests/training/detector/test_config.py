# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations: the presets load, and mistakes are named."""

from __future__ import annotations

import pytest

from training.config import ROOT, ConfigError, presets
from training.detector.config import Channel, Config, Quantizer

pytestmark = pytest.mark.training


@pytest.mark.parametrize("name", [name for name in presets()["detector"] if not name.startswith("list")])
def test_presets_load(name):
    loaded = Config.load(name)
    assert loaded.to_dict()["name"] == loaded.name
    if loaded.channel.file is not None:
        assert (ROOT / loaded.channel.file).exists()


def test_paper_preset_is_as_published():
    paper = Config.load("paper")
    assert (paper.network, paper.layers, paper.constellation, paper.sizes) == ("pgd", 5, "16qam", ((16, 16),))
    assert (paper.proximal, paper.laws, paper.quantizer.law, paper.mmd.bandwidth) == (
        "soft_threshold", "static", "dynamic", "descent"
    )  # fmt: skip
    epochs = paper.quantized.iterations * paper.batch[0] * paper.batch[1] / 5e4
    assert epochs == pytest.approx(50, abs=0.1)
    assert paper.quantized.halve_every * 5 == paper.quantized.iterations


def test_overrides():
    loaded = Config.load(
        "admm5-16qam", ["mmd.epsilon=1", "sizes=[[8, 4]]", "channel={kind: kronecker, correlation: 0.5}"]
    )
    assert loaded.mmd.epsilon == 1.0
    assert loaded.sizes == ((8, 4),)
    assert loaded.channel == Channel("kronecker", 0.5)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("layerz=5", "layerz"),
        ("layers=five", "layers"),
        ("layers=0", "layers"),
        ("layers=true", "layers"),
        ("mmd.epsilom=1", r"mmd\.epsilom"),
        ("mmd.bandwidth=up", r"mmd\.bandwidth"),
        ("mmd.samples=matrix", r"mmd\.samples"),
        ("mmd.estimator=cubic", r"mmd\.estimator"),
        ("quantizer.step=sometimes", r"quantizer\.step"),
        ("quantizer.start=best", r"quantizer\.start"),
        ("quantizer.law=negative", r"quantizer\.law"),
        ("quantizer.step=fixed", r"quantizer\.law"),
        ("step_law=static", "step_law"),
        ("csi_error.channel=-1", r"csi_error\.channel"),
        ("full_precision.iterations=0", r"full_precision\.iterations"),
        ("quantized.iterations=-1", r"quantized\.iterations"),
        ("activation_bits=9", "activation_bits"),
        ("activation_bits=1", "activation_bits"),
        ("quantizer.levels=midrise", "activation_bits: one of 1, 2, 3, 4, 5, 6, 7 expected, got 8"),
        ("activation_bits=[2, 3, 3, 3, 9]", "activation_bits"),
        ("activation_bits=[2, 3]", "activation_bits: a width for each of the 5 layers expected, got 2"),
        ("activation_bits=[2, 3, a, 3, 3]", "activation_bits"),
        ("activation_bits=a", "activation_bits"),
        ("network=mlp", "network"),
        ("proximal=soft_threshold", "proximal"),
        ("snr_db=[20, 10]", "snr_db"),
        ("snr_db=[10]", "snr_db"),
        ("channel.kind=recorded", r"channel\.file"),
        ("channel.file=x.npz", r"channel\.file"),
        ("sizes=[]", "sizes"),
        (
            "sizes=[[4, 8]]",
            "sizes: 4x8 is not among what accepts allows: up to 64 receive antennas and 16 streams, at least 1",
        ),
        ("sizes=[[128, 4]]", "sizes: 128x4 is not among"),
        ("name.x=1", "name"),
        ("evaluation=3", "evaluation"),
    ],
)
def test_mistakes_name_the_key(override, named):
    with pytest.raises(ConfigError, match=f"key {named}"):
        Config.load("admm5-16qam", [override])


@pytest.mark.parametrize(("text", "said"), [("name: [", "not valid YAML"), ("- 1", "mapping"), ("name: x", "missing")])
def test_bad_files(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        Config.load(path)


def test_missing_file_lists_presets():
    with pytest.raises(ConfigError, match="admm5-16qam"):
        Config.load("no-such-preset")


def test_a_mapping_changes_what_it_names():
    loaded = Config.load("admm5-16qam", ["quantized={iterations: 7}", "quantizer={law: static}"])
    assert (loaded.quantized.iterations, loaded.quantized.learning_rate) == (7, 0.01)
    assert loaded.quantizer == Quantizer(law="static")
