# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations: what the YAML files of all kinds have in common.

A configuration is a dataclass whose fields are the keys of the file. A field's type says what its value may be; a
`Literal` names the options. What types cannot say, each dataclass checks in its own ``__post_init__``. Unknown keys are
errors. The key `kind` says what the file trains.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml

from gr_kaq.files import one_line, read_file

__all__ = [
    "ROOT",
    "SAVED",
    "ConfigError",
    "Configuration",
    "InvalidKey",
    "ascending",
    "at_least",
    "build",
    "find",
    "kind_of",
    "one_of",
    "presets",
    "read_document",
    "set_key",
]

ROOT = Path(__file__).resolve().parents[1]
"""The repository. Paths in a configuration are relative to it."""

MAX_FILE_BYTES = 1 << 16  # those that ship have less than 3 KiB
MAX_INTEGER = 1 << 63

SAVED = "config.yaml"
"""The file in the directory of a run that holds its configuration."""


class ConfigError(ValueError):
    """What was asked for cannot be done; the message names the key, the option or the file."""


class InvalidKey(ConfigError):
    """A key of a configuration that cannot be used.

    Args:
        key: with a dot between nested keys; within the dataclass that found it.
        reason: what is wrong.
    """

    def __init__(self, key: str, reason: str):
        super().__init__(f"key {key}: {reason}")
        self.key, self.reason = key, reason


@dataclass(frozen=True)
class Configuration:
    """What a configuration of any kind has.

    Attributes:
        kind: of what is trained, which the key `kind` names.
        name: of what is exported.
    """

    kind: ClassVar[str]

    name: str

    @classmethod
    def load(cls, source: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a configuration.

        Args:
            source: path of a YAML file, or the name of a preset.
            overrides: KEY=VALUE, a dot between nested keys, the value in YAML.

        Raises:
            ConfigError: the file is missing or no YAML, a key is unknown or missing, or a value does not fit.
        """
        document = read_document(find(source), overrides)
        try:
            return cls.from_document(document)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The configuration that a mapping holds.

        Raises:
            ConfigError: it is of another kind, a key is unknown or missing, or a value does not fit.
        """
        kind = _kind(document)
        if kind != cls.kind:
            raise InvalidKey("kind", f"{cls.kind} expected, got {kind}")
        return build(cls, {key: value for key, value in document.items() if key != "kind"})

    def to_dict(self) -> dict[str, Any]:
        """The keys, without the kind, as JSON-compatible values."""
        return _plain(dataclasses.asdict(self))

    def save(self, directory: Path) -> None:
        """Write the file that says what a run's directory holds."""
        document = {"kind": self.kind, **self.to_dict()}
        (directory / SAVED).write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")


def presets() -> dict[str, dict[str, Path]]:
    """The configurations that ship, training/KIND/configs/NAME.yaml: paths by kind and name."""
    found: dict[str, dict[str, Path]] = {}
    paths = Path(__file__).parent.glob("*/configs/*.yaml")
    for path in sorted(paths, key=lambda path: (path.parts[-3], path.stem)):
        found.setdefault(path.parents[1].name, {})[path.stem] = path
    return found


def find(source: str | Path) -> Path:
    """The path of a preset or of a file.

    Raises:
        ConfigError: there is neither; the message lists the presets.
    """
    shipped = presets()
    path = next((names[str(source)] for names in shipped.values() if str(source) in names), Path(source))
    if not path.exists():
        lists = "; ".join(f"{kind}s: {', '.join(names)}" for kind, names in shipped.items())
        raise ConfigError(f"{source}: no such file, and no preset of that name ({lists})")
    return path


def kind_of(source: str | Path, overrides: Sequence[str] = ()) -> str:
    """What a configuration trains; see `Configuration.load`.

    Raises:
        ConfigError: it cannot be read, or does not say.
    """
    document = read_document(find(source), overrides)
    try:
        return _kind(document)
    except InvalidKey as error:
        raise ConfigError(f"{source}: {error}") from None


def _kind(document: dict[str, Any]) -> str:
    if "kind" not in document:
        raise InvalidKey("kind", f"missing; one of {', '.join(presets())} expected")
    one_of("kind", document["kind"], presets())
    return document["kind"]


def read_document(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The YAML of a file with keys changed, without a check of its keys; see `Configuration.load`."""
    try:
        content = read_file(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    document = _yaml(content, str(path))
    changes = {key: _yaml(value, f"--set {key}") for key, _, value in (text.partition("=") for text in overrides)}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a mapping of keys expected")
    for key, value in changes.items():
        set_key(document, key, value)
    return document


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, of which a few lines make more than a memory holds, and without endless numbers."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor}; none expected", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def whole_number(self, node: Any) -> int:
        value = self.construct_yaml_int(node)
        if abs(value) > MAX_INTEGER:
            raise yaml.MarkedYAMLError(problem="a whole number is out of range", problem_mark=node.start_mark)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.whole_number)


def _yaml(text: str | bytes, origin: str) -> Any:
    try:
        return yaml.load(text if isinstance(text, str) else text.decode("utf-8"), Loader=_PlainLoader)
    except Exception as error:  # PyYAML's conversions raise whatever those of Python do, the parser RecursionError
        raise ConfigError(f"{origin}: not valid YAML: {one_line(error)}") from None


def quote(value: Any) -> str:
    """What a message repeats of a value."""
    return one_line(repr(value))


def set_key(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a key, a dot between nested ones. A mapping changes what it names and leaves the other keys."""
    *parents, last = key.split(".")
    inner = document
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise InvalidKey(key, f"{parent} has no keys of its own")
    if isinstance(value, dict) and isinstance(inner.get(last), dict):
        for name, item in value.items():
            set_key(inner[last], str(name), item)
    else:
        inner[last] = value


def one_of(key: str, value: Any, allowed: Collection[Any]) -> None:
    """Raise `InvalidKey` unless the value is allowed."""
    if value not in list(allowed):  # which may be a mapping, and the value a list
        raise InvalidKey(key, f"one of {', '.join(map(str, allowed))} expected, got {quote(value)}")


def at_least(key: str, value: float, least: float) -> None:
    """Raise `InvalidKey` where a number is too small."""
    if value < least:
        raise InvalidKey(key, f"at least {least} expected, got {value}")


def ascending(key: str, bounds: tuple[float, float]) -> None:
    """Raise `InvalidKey` where the first of two bounds is above the second."""
    if bounds[0] > bounds[1]:
        raise InvalidKey(key, f"the first value has to be at most the second, got {list(bounds)}")


def build(cls: type, document: dict[str, Any]) -> Any:
    """A dataclass from a mapping, checked against its type hints.

    Raises:
        InvalidKey: a key is unknown or missing, or a value does not fit.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in document:
        if key not in fields:
            raise InvalidKey(one_line(key), f"unknown; one of {', '.join(fields)} expected")
    for key, field in fields.items():
        if key not in document and field.default is field.default_factory is dataclasses.MISSING:
            raise InvalidKey(key, "missing")
    return cls(**{key: _convert(key, hints[key], value) for key, value in document.items()})


def _convert(key: str, hint: Any, value: Any) -> Any:
    """A value as its type hint wants it."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        listed = isinstance(value, list | tuple)
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        hint = next((option for option in options if (typing.get_origin(option) is tuple) == listed), options[0])
    if dataclasses.is_dataclass(hint):
        return _nested(key, typing.cast(type, hint), value)
    if typing.get_origin(hint) is Literal:
        one_of(key, value, typing.get_args(hint))
        return value
    if typing.get_origin(hint) is tuple:
        return _items(key, typing.get_args(hint), value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise InvalidKey(key, f"a finite number expected, got {value}")
        return float(value)
    if not isinstance(value, hint) or isinstance(value, bool):
        raise InvalidKey(key, f"{hint.__name__} expected, got {quote(value)}")
    return value


def _nested(key: str, cls: type, value: Any) -> Any:
    if not isinstance(value, dict):
        raise InvalidKey(key, f"a mapping expected, got {quote(value)}")
    try:
        return build(cls, value)
    except InvalidKey as error:
        raise InvalidKey(f"{key}.{error.key}", error.reason) from None


def _items(key: str, hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    any_length = hints[-1] is Ellipsis
    if not isinstance(value, list | tuple) or (not any_length and len(value) != len(hints)):
        raise InvalidKey(key, f"a list{'' if any_length else f' of {len(hints)}'} expected, got {quote(value)}")
    each = hints[:1] * len(value) if any_length else hints
    return tuple(_convert(key, hint, item) for hint, item in zip(each, value, strict=True))


def _plain(value: Any) -> Any:
    """Lists for tuples, as in JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
