# SPDX-License-Identifier: GPL-3.0-or-later
"""What configurations of all kinds have in common: presets, kinds, and errors that name the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from training import config as configuration
from training.config import ConfigError, Configuration, InvalidKey, build, find, kind_of, presets
from training.detector.config import Config as DetectorConfig
from training.estimator.config import Config as EstimatorConfig

pytestmark = pytest.mark.training


def test_presets_are_of_their_room_and_each_name_is_one():
    shipped = presets()
    assert list(shipped) == ["detector", "estimator"]
    names = [name for kind in shipped.values() for name in kind]
    assert len(names) == len(set(names))
    for kind, own in shipped.items():
        assert all(kind_of(name) == kind for name in own)


def test_an_unknown_name_lists_the_presets_of_all_kinds():
    with pytest.raises(ConfigError, match=r"no-such-preset: no such file.*detectors: admm5.*estimators: estimator,"):
        find("no-such-preset")


@pytest.mark.parametrize(
    ("cls", "source", "overrides", "said"),
    [
        (DetectorConfig, "estimator", [], "estimator: key kind: detector expected, got estimator"),
        (EstimatorConfig, "admm5-16qam", [], "admm5-16qam: key kind: estimator expected, got detector"),
        (EstimatorConfig, "estimator", ["kind=oven"], "key kind: one of detector, estimator expected, got 'oven'"),
    ],
)
def test_another_kind_is_refused(cls, source, overrides, said):
    with pytest.raises(ConfigError, match=said):
        cls.load(source, overrides)


def test_a_file_has_to_say_its_kind(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("name: x")
    with pytest.raises(ConfigError, match=r"x\.yaml: key kind: missing; one of detector, estimator expected"):
        kind_of(path)


@pytest.mark.parametrize("name", ["admm5-16qam", "estimator"])
def test_a_saved_configuration_is_the_same(name, tmp_path):
    cls = DetectorConfig if name in presets()["detector"] else EstimatorConfig
    config = cls.load(name)
    config.save(tmp_path)
    assert cls.load(tmp_path / configuration.SAVED) == config


@dataclass(frozen=True)
class Shape:
    """Some of every type."""

    colour: Literal["red", "blue"] = "red"
    corners: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if sum(self.corners) > 9:
            raise InvalidKey("corners", "too many")


@dataclass(frozen=True)
class Drawing(Configuration):
    kind: ClassVar[str] = "drawing"

    scale: float
    shape: Shape = Shape()
    sizes: tuple[tuple[int, int], ...] = ()
    note: str | None = None


def test_a_dataclass_is_built_as_its_types_say():
    found = build(Drawing, {"name": "a", "scale": 2, "shape": {"corners": [3, 4]}, "sizes": [[1, 2], [3, 4]]})
    assert found == Drawing("a", 2.0, Shape("red", (3, 4)), ((1, 2), (3, 4)))
    assert isinstance(found.scale, float) and found.to_dict()["sizes"] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": "big"}, "key scale: float expected, got 'big'"),
        ({"scale": True}, "key scale: float expected, got True"),
        ({"shape": {"colour": "green"}}, r"key shape\.colour: one of red, blue expected, got 'green'"),
        ({"shape": {"corners": [5, 6]}}, r"key shape\.corners: too many"),
        ({"shape": {"corners": [5]}}, r"key shape\.corners: a list of 2 expected, got \[5\]"),
        ({"shape": 3}, "key shape: a mapping expected, got 3"),
        ({"shape": {"color": "red"}}, r"key shape\.color: unknown; one of colour, corners expected"),
        ({"sizes": [3]}, "key sizes: a list of 2 expected, got 3"),
        ({"note": 1}, "key note: str expected, got 1"),
    ],
)
def test_what_does_not_fit_is_named(changes, said):
    with pytest.raises(InvalidKey, match=f"^{said}$"):
        build(Drawing, {"name": "a", "scale": 1.0, **changes})


def test_what_is_missing_is_named():
    with pytest.raises(InvalidKey, match="key scale: missing"):
        build(Drawing, {"name": "a"})
