"""An axis cut into parts, each with the input that decides it, so that a part is computed as the whole would be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .grid import Axis


class Tile(NamedTuple):
    """A part of one axis: output range, and the window of the axis that computes it."""

    start: int
    stop: int
    low: int
    high: int
    axis: Axis


def tile(axis: Axis, start: int, stop: int, halo: int | None) -> Tile:
    """The output range start…stop of an axis and what computes it: `halo` input pixels more on both sides, or all."""
    if halo is None:
        return Tile(start, stop, 0, axis.size_in, axis.window(start, stop, 0, axis.size_in))
    pixels = axis.nearest().pixel
    low, high = max(0, int(pixels[start]) - halo), min(axis.size_in, int(pixels[stop - 1]) + 1 + halo)
    return Tile(start, stop, low, high, axis.window(start, stop, low, high))


def tiles(axis: Axis, size: int, halo: int) -> Iterator[Tile]:
    """Cut an axis into parts of about `size` input pixels, each seeing `halo` more on both sides."""
    pixels = axis.nearest().pixel
    first, last = int(pixels[0]), int(pixels[-1]) + 1
    count = max(1, -(-(last - first) // size))
    edges = [first + (last - first) * n // count for n in range(count + 1)]
    for left, right in pairwise(edges):
        start, stop = (int(np.searchsorted(pixels, edge)) for edge in (left, right))
        if start < stop:
            low, high = max(0, left - halo), min(axis.size_in, right + halo)
            yield Tile(start, stop, low, high, axis.window(start, stop, low, high))
