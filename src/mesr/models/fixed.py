"""Networks built for one whole scale, on any grid: their own result where it fits, else resized to the grid.

A network for ×n makes the grid of n·N pixels over the same field of view. At its own scale the result is
that grid, or a window of it, untouched. At any other the grid is reached by anti-aliased bicubic from there:
"the next integer, then bicubic down" (`family` picks the integer). Pixel centres are aligned throughout.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from ..errors import UsageError
from ..grid import Axis, Grid
from ..resample import resize
from .contract import Encoded, IntegerScales, SuperResolver

SCALES = (2, 3, 4)
"""The whole scales the systems are published for."""

RESIZE_REACH = 2
"""Input pixels that the anti-aliased bicubic looks further than the network, at scales of 1 and more."""


class Stage(NamedTuple):
    """Convolutions at one resolution and the magnification that ends them.

    Attributes:
        radius: pixels all of them together look to each side, at this resolution.
        factor: how much finer the next stage is; 1 at the end.
        right: pixels a magnified pixel looks to its right: 1 for a transposed convolution that overlaps there.
    """

    radius: int
    factor: int = 1
    right: int = 0


def reach(stages: tuple[Stage, ...]) -> int:
    """Input pixels to each side of the nearest one that decide an output pixel of a network's own grid.

    An output pixel's interval is followed back to the input, for each of the phases over one input pixel.
    """
    total = 1
    for stage in stages:
        total *= stage.factor
    furthest = 0
    for phase in range(total):
        low = high = phase
        for stage in reversed(stages):
            low, high = low // stage.factor, (high + stage.right) // stage.factor
            low, high = low - stage.radius, high + stage.radius
        furthest = max(furthest, -low, high)
    return furthest


def steps(scale: int) -> tuple[int, ...]:
    """The magnifications that make a scale, one after the other: ×4 is ×2 twice.

    Raises:
        UsageError: no system is published for it.
    """
    if isinstance(scale, bool) or scale not in SCALES:
        raise UsageError(
            "architecture", f"A network of one scale is built for 2, 3 or 4, found {str(scale)[:40]}."
        )
    return (2, 2) if scale == 4 else (scale,)


class FixedScale(SuperResolver):
    """The contract of a network of one whole scale.

    Attributes:
        scale: n; `scales` holds it alone, though `decode` answers any grid.
        receptive_field: exact for its own grid, plus what the resize to another grid needs.
        skips: whether the network predicts what the bicubic interpolation to its own scale misses.

    Args:
        scale: n, one of `SCALES`.
        stages: of the network, input first, for the receptive field.
    """

    skips = False

    def __init__(self, scale: int, *stages: Stage) -> None:
        super().__init__()
        self.scale = scale
        self.scales = IntegerScales(frozenset({scale}))
        self.receptive_field = reach(stages) + RESIZE_REACH

    @abstractmethod
    def magnify(self, features: Tensor) -> Tensor:
        """(N, C, H, W) features of `encode` to (N, 1, n·H, n·W) float32."""

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        assert encoded.features is not None
        fine = self.magnify(encoded.features)
        if self.skips:
            rows, columns = (Axis.sized(count, self.scale * count) for count in encoded.lr.shape[2:])
            fine = resize(encoded.lr, rows, columns, "bicubic") + fine
        return onto(fine, self.scale, grid)


def onto(fine: Tensor, scale: int, grid: Grid) -> Tensor:
    """A result `scale` times finer than the grid's input, brought to the grid.

    Args:
        fine: (…, scale·H, scale·W) float32, over the field of view of the input.

    Returns:
        (…, H', W'): `fine` itself or a window of it where their pixels coincide, else its bicubic interpolation.
    """
    rows, columns = refined(grid.rows, scale), refined(grid.columns, scale)
    down, across = _window(rows), _window(columns)
    if down is None or across is None:
        return resize(fine, rows, columns, "bicubic")
    return fine[..., down, across]


def refined(axis: Axis, factor: int) -> Axis:
    """The same output pixels, their coordinates counted in an input that is `factor` times finer.

    Input coordinate x is fine coordinate (x + ½)·factor − ½: outer edges coincide, as `Axis.sized` has them.
    """

    return Axis(
        axis.size_in * factor,
        axis.size_out,
        axis.step * factor,
        axis.start * factor + Axis.sized(factor, 1).start,
        axis.centre * factor + Axis.sized(factor, 1).start,
    )


def _window(axis: Axis) -> slice | None:
    """The input pixels that are the axis' outputs, where it moves by whole pixels only."""
    if axis.step != 1 or axis.start.denominator != 1:
        return None
    first = int(axis.start)
    return slice(first, first + axis.size_out) if 0 <= first <= axis.size_in - axis.size_out else None
