"""Eq. (1) of the paper, I_lr = (I_hr ⊗ κ) ↓s + n: named recipes that make a low-resolution image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .errors import UsageError
from .grid import Axis
from .resample import resize

Recipe = Callable[[Tensor, Axis, Axis], Tensor]


def bicubic(image: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Anti-aliased Keys cubic, a = −0.5, half-pixel centres: every headline table (`protocol.md`).

    Equal to `torch.nn.functional.interpolate(size=…, mode="bicubic", antialias=True)` on a whole image.

    Args:
        image: (…, rows.size_in, columns.size_in).

    Returns:
        (…, rows.size_out, columns.size_out).
    """
    return resize(image, rows, columns, "bicubic")


_RECIPES: dict[str, Recipe] = {"bicubic": bicubic}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return _RECIPES[name]
    except KeyError:
        known = ", ".join(sorted(_RECIPES))
        raise UsageError(
            "degradation", f"No degradation is called {name[:40]!r}; known are: {known}."
        ) from None
