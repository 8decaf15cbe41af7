"""mesr: super-resolution for radiology images at any magnification with one network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        GeometryInput,
        InputError,
        MesrError,
        MissingExtra,
        OutputError,
        TooLarge,
        UnreadableInput,
        UnsupportedInput,
        UsageError,
        WeightsError,
    )
    from .geometry import Geometry
    from .grid import Grid, Target
    from .io import Written, read, write
    from .models.weights import Card, load
    from .upscaling import upscale
    from .volume import ArraySlices, Derivation, Note, Slice, Volume

__version__ = "0.1.0"

_HOME = {
    "ArraySlices": "volume",
    "Card": "models.weights",
    "Derivation": "volume",
    "Geometry": "geometry",
    "GeometryInput": "errors",
    "Grid": "grid",
    "InputError": "errors",
    "MesrError": "errors",
    "MissingExtra": "errors",
    "Note": "volume",
    "OutputError": "errors",
    "Slice": "volume",
    "Target": "grid",
    "TooLarge": "errors",
    "UnreadableInput": "errors",
    "UnsupportedInput": "errors",
    "UsageError": "errors",
    "Volume": "volume",
    "WeightsError": "errors",
    "Written": "io",
    "load": "models.weights",
    "read": "io",
    "upscale": "upscaling",
    "write": "io",
}
"""Where each public name lives; it is imported when first used, so that `import mesr` costs nothing."""

__all__ = [
    "ArraySlices",
    "Card",
    "Derivation",
    "Geometry",
    "GeometryInput",
    "Grid",
    "InputError",
    "MesrError",
    "MissingExtra",
    "Note",
    "OutputError",
    "Slice",
    "Target",
    "TooLarge",
    "UnreadableInput",
    "UnsupportedInput",
    "UsageError",
    "Volume",
    "WeightsError",
    "Written",
    "__version__",
    "load",
    "read",
    "upscale",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
