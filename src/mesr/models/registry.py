"""Architectures by name: a spec `{"name": …, "args": {…}}` makes a model.

Weights have names of their own (`weights`); this is the other namespace.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

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
    known = inspect.signature(architecture).parameters
    for key in args:
        if key not in known:
            close = difflib.get_close_matches(str(key)[:40], known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(known) or 'none'}."
            raise UsageError(
                "architecture", f"The architecture {name} takes no argument {str(key)[:40]!r}.", hint
            )
    return architecture(**args)


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
