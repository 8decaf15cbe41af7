"""Architectures by name: a spec `{"name": …, "args": {…}}` makes a model.

Weights have names of their own (`weights`); this is the other namespace.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args, get_origin

import torch
from torch.overrides import TorchFunctionMode

from ..errors import UsageError
from .contract import SuperResolver

Spec = Mapping[str, Any]
Class = TypeVar("Class", bound=type[SuperResolver])

_MODULES = (
    "interpolators", "mesr", "srcnn", "vdsr", "srresnet", "edsr", "rdn", "srdensenet", "meta_rdn", "miassr", "rrdb",
    "family", "equal", "shuffled",
)  # fmt: skip
_ARCHITECTURES: dict[str, Callable[..., SuperResolver]] = {}


def register(name: str) -> Callable[[Class], Class]:
    """Class decorator: make the architecture known under `name`."""

    def remember(architecture: Class) -> Class:
        if name in _ARCHITECTURES:
            raise ValueError(f"two architectures are called {name!r}")
        _ARCHITECTURES[name] = architecture
        return architecture

    return remember


def architectures() -> list[str]:
    """The registered names, sorted."""
    _load()
    return sorted(_ARCHITECTURES)


def build(spec: Spec) -> SuperResolver:
    """A model from its spec, `{"name": "mesr", "args": {"blocks": 16}}`.

    Raises:
        UsageError: no architecture has that name, or it takes no such argument.
    """
    _load()
    name, args = spec.get("name"), dict(spec.get("args") or {})
    if not isinstance(name, str) or name not in _ARCHITECTURES:
        close = difflib.get_close_matches(str(name)[:40], _ARCHITECTURES, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(architectures())}."
        raise UsageError("architecture", f"No architecture is called {str(name)[:40]!r}.", hint)
    architecture = _ARCHITECTURES[name]
    known = _parameters(architecture)
    for key in args:
        if key not in known:
            close = difflib.get_close_matches(str(key)[:40], known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(known) or 'none'}."
            raise UsageError(
                "architecture", f"The architecture {name} takes no argument {str(key)[:40]!r}.", hint
            )
    unlike = {key: wanted for key, value in args.items() if (wanted := _wanted(known[key], value))}
    try:
        model = architecture(**args)
    except UsageError:  # Its own sentence is the more exact one.
        raise
    except Exception:  # Whatever a value of another kind comes to in there.
        if not unlike:
            raise
    for key, wanted in unlike.items():
        raise UsageError(
            "architecture",
            f"{key} of the architecture {name} must be {wanted}, found {str(args[key])[:40]!r}.",
        )
    return model


def _parameters(architecture: Callable[..., SuperResolver]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(architecture, eval_str=True).parameters
    except NameError:  # A name that only a type checker imports; then its choices are its own to check.
        return inspect.signature(architecture).parameters


def _wanted(parameter: inspect.Parameter, value: Any) -> str:
    """What an argument must be where a value is none that is offered or like its default, in words; empty where it is."""
    default = parameter.default
    if get_origin(parameter.annotation) is Literal:
        offered = get_args(parameter.annotation)
        return "" if value in offered else f"one of {', '.join(map(str, offered))}"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        least = min(1, default)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and value >= least else f"a whole number of at least {least}"
    if isinstance(default, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and math.isfinite(value) else "a number"
    return ""


def blueprint(spec: Spec) -> SuperResolver:
    """`build` on the `meta` device: names and shapes, nothing allocated. Errors as there."""
    with torch.device("meta"), _Uninitialised():
        return build(spec)


class _Uninitialised(TorchFunctionMode):
    """Random filling does nothing, as on `meta` it would, where it imports torch's compiler first (1.5 s)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _load() -> None:
    for module in _MODULES:
        import_module(f".{module}", __package__)
