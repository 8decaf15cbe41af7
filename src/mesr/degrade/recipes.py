"""Recipes by name. One line of text says all of a recipe, wherever it is named:

`noise`, `noise:sigma=0.02`, `blur-bicubic:sigma=0.3..0.9`, `cbct:views=180:photons=1e5`.

The same line stands in a configuration, on the command line, in a weights file and in every row of results.csv. It
leaves out what is at its default, so a default is part of the contract and never changes.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import UsageError
from .blur import Bicubic, BlurBicubic
from .cbct import Cbct
from .contract import Degradation, Span
from .kspace import KSpace
from .noise import Noise

RECIPES: dict[str, type[Degradation]] = {
    kind.name: kind for kind in (Bicubic, BlurBicubic, Noise, KSpace, Cbct)
}


def recipe(text: str) -> Degradation:
    """The recipe that a line of text names.

    Raises:
        UsageError: there is none of that name, or it has no such parameter or value; code `degradation`.
    """
    name, *given = text.strip().split(":")
    if name not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        raise UsageError("degradation", f"No degradation is called {name[:40]!r}; known are: {known}.")
    kind = RECIPES[name]
    hints = get_type_hints(kind)
    parameters = [one.name for one in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for part in given:
        key, _, value = part.partition("=")
        if key not in parameters or key in values:
            close = difflib.get_close_matches(key, parameters, n=1)
            raise UsageError(
                "degradation",
                f"The degradation {name} takes once each: {', '.join(parameters) or 'nothing'}; found {key[:40]!r}.",
                f"Did you mean {close[0]}?" if close and close[0] != key else "",
            )
        values[key] = _value(hints[key], value, f"{name}:{key}")
    return kind(**values)


def text_of(one: Degradation) -> str:
    """The line that names a recipe: what differs from its defaults, in the order of its parameters."""
    parts = [one.name]
    for field in dataclasses.fields(one):  # type: ignore[arg-type]
        value = getattr(one, field.name)
        if value != field.default:
            parts.append(f"{field.name}={value:.9g}" if isinstance(value, float) else f"{field.name}={value}")
    return ":".join(parts)


def _value(hint: Any, text: str, where: str) -> Any:
    if get_origin(hint) is Literal:
        if text in get_args(hint):
            return text
        expected = " or ".join(get_args(hint))
    else:
        expected = {int: "a whole number", float: "a number", Span: "a number, or a range such as 0.3..0.9"}[
            hint
        ]
        try:
            return Span.read(text) if hint is Span else hint(text)
        except ValueError:
            pass
    raise UsageError("degradation", f"{where} must be {expected}, found {text[:40]!r}.")
