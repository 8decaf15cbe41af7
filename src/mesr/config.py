"""YAML files with `key=value` overrides into plain dataclasses; an unknown key is an error with a suggestion."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .errors import UsageError

Config = TypeVar("Config")

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def load(kind: type[Config], path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """A dataclass from a YAML file and overrides such as `optimiser.rate=1e-4`.

    Raises:
        UsageError: the file cannot be read, a key is unknown or a value is of the wrong type.
    """
    values: Any = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            raise UsageError("config", "There is no such configuration file.", path=path) from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise UsageError("config", "The configuration is not a readable YAML file.", path=path) from None
    if not isinstance(values, dict):
        raise UsageError("config", "The configuration must be a mapping of keys to values.", path=path)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UsageError("config", f"An override reads key=value, found {override[:60]!r}.")
        _set(values, key.split("."), _value(text))
    return build(kind, values)


def build(kind: type[Config], values: Mapping[str, Any], where: str = "") -> Config:
    """A dataclass from nested mappings, checked against its annotations."""
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {where}{close[0]}?" if close else f"Known are: {', '.join(sorted(known))}."
            raise UsageError("config", f"The configuration has no key {where}{str(key)[:60]}.", hint)
        arguments[key] = _checked(hints[key], value, f"{where}{key}")
    try:
        return kind(**arguments)
    except TypeError:
        missing = (f"{where}{name}" for name in _needed(kind) if name not in arguments)
        raise UsageError("config", f"The configuration lacks {', '.join(missing)}.") from None


def _needed(kind: Any) -> list[str]:
    """The fields without a default."""
    return [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    ]


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise UsageError("config", f"{where} must be a mapping of keys to values.")
        return build(hint, value, f"{where}.")
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _checked(next(one for one in inner if one is not type(None)), value, where)
    if origin is list:
        if not isinstance(value, list):
            raise UsageError("config", f"{where} must be a list, found {str(value)[:40]!r}.")
        return [_checked(inner[0], one, f"{where}[{n}]") for n, one in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UsageError("config", f"{where} must be a mapping, found {str(value)[:40]!r}.")
        return {str(key): _checked(inner[1], one, where) for key, one in value.items()}
    if origin is typing.Literal:
        if value not in inner:
            raise UsageError(
                "config", f"{where} must be one of {', '.join(map(str, inner))}, found {str(value)[:40]!r}."
            )
        return value
    if hint is typing.Any:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = _WORDS.get(hint, str(hint))
    raise UsageError("config", f"{where} must be {wanted}, found {str(value)[:40]!r}.")


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError("config", f"The key {key} holds a value, not further keys.")
        values = inner
    values[keys[-1]] = value


def _value(text: str) -> Any:
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError("config", f"The value {text[:40]!r} cannot be read.") from None
