# SPDX-License-Identifier: GPL-3.0-or-later
"""What configurations of all kinds have in common: presets, kinds, and errors that name the key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest

from tests.mutations import mutated
from tests.refusals import refusals
from training import config as configuration
from training.config import ConfigError, Configuration, InvalidKey, build, find, kind_of, presets
from training.detector.config import Config as DetectorConfig
from training.detector.list_detector.config import ListConfig
from training.estimator.config import Config as EstimatorConfig
from training.forecaster.config import Config as ForecasterConfig

pytestmark = pytest.mark.training


def test_presets_are_of_their_room_and_each_name_is_one():
    shipped = presets()
    assert list(shipped) == ["detector", "estimator", "forecaster"]
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
        (
            EstimatorConfig,
            "estimator",
            ["kind=oven"],
            "key kind: one of detector, estimator, forecaster expected, got 'oven'",
        ),
    ],
)
def test_another_kind_is_refused(cls, source, overrides, said):
    with pytest.raises(ConfigError, match=said):
        cls.load(source, overrides)


def test_a_file_has_to_say_its_kind(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("name: x")
    with pytest.raises(
        ConfigError, match=r"x\.yaml: key kind: missing; one of detector, estimator, forecaster expected"
    ):
        kind_of(path)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(DetectorConfig, "admm5-16qam"), (EstimatorConfig, "estimator"), (ForecasterConfig, "forecaster")],
)
def test_a_saved_configuration_is_the_same(cls, name, tmp_path):
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


HOSTILE = {
    "aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nkind: *b", r"alias \*a; none expected"),
    "itself": ("kind: &a [*a]", r"alias \*a; none expected"),
    "deep": ("kind: " + "[" * 60_000, "not valid YAML: maximum recursion"),
    "deep mapping": ("kind: " + "{a: " * 10_000, "not valid YAML"),
    "large": ("a: [" + "1, " * 3_000_000 + "]", "cannot be read: larger than 65536 bytes"),
    "Latin 1": (b"kind: d\xe9tector", "not valid YAML: 'utf-8' codec"),
    "null character": ("kind: \0", "not valid YAML"),
    "5000 digits": ("kind: " + "9" * 5000, "not valid YAML"),
    "400 digits": ("kind: " + "9" * 400, "not valid YAML: a whole number is out of range"),
    "base 60": ("kind: " + ":".join(["59"] * 20_000), "not valid YAML: a whole number is out of range"),
    "no date": ("kind: 2001-99-99", "not valid YAML: month"),
    "no float": ("kind: !!float abc", "not valid YAML"),
    "no integer": ('kind: !!int ""', "not valid YAML"),
    "no boolean": ("kind: !!bool maybe", "not valid YAML"),
    "no time": ("kind: !!timestamp x", "not valid YAML"),
    "call": ("kind: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "list": ("kind: [detector]", "key kind: one of detector, estimator, forecaster expected"),
    "set": ("kind: !!set {a, b}", "key kind: one of detector, estimator, forecaster expected"),
    "control codes": ('kind: "\\e[31m\\n"', "key kind: one of detector, estimator, forecaster expected"),
    "key of control codes": ('kind: detector\n"\\e[31m\\n": 1', None),
}
READ = """
from training.config import kind_of
def read(path):
    kind_of(path)
"""


def test_hostile_files_cost_little(tmp_path):
    """An alias bomb did not end; others were tracebacks."""
    paths = [tmp_path / f"{number}.yaml" for number in range(len(HOSTILE))]
    for path, (content, _) in zip(paths, HOSTILE.values(), strict=True):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said, grown = refusals(READ, [*paths, "/dev/zero"])
    for path, message, (_, expected) in zip(paths, said, HOSTILE.values(), strict=False):
        if expected is None:
            assert message == ""
        else:
            assert re.search(f"{path.name}: .*{expected}", message) and message.isprintable() and len(message) < 700
    assert "not a regular file" in said[-1]
    assert grown < 200


@pytest.mark.parametrize("override", ["a=&a [*a]", "name=" + "9" * 5000, "name=!!float x", "name=[", "layers=.inf"])
def test_hostile_overrides_are_errors_too(override):
    with pytest.raises(ConfigError) as error:
        DetectorConfig.load("admm5-16qam", [override])
    assert str(error.value).isprintable()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(value):
    with pytest.raises(InvalidKey, match="key scale: a finite number expected"):
        build(Drawing, {"name": "a", "scale": value})


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (DetectorConfig, "admm5-16qam"),
        (ListConfig, "list8-16qam"),
        (EstimatorConfig, "estimator"),
        (ForecasterConfig, "forecaster"),
    ],
)
def test_mutated_files_are_read_or_refused(tmp_path, cls, name, count):
    whole = find(name).read_bytes()
    path = tmp_path / "mutated.yaml"
    for content in mutated(whole, count, np.random.default_rng(1)):
        path.write_bytes(content)
        try:
            cls.load(path)
        except ConfigError as error:
            assert str(path) in str(error) and str(error).isprintable() and len(str(error)) < 1000, str(error)
