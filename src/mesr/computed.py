"""The slices of a result, computed when they are asked for: padding, several small ones at once, the residual."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .errors import MesrError
from .grid import Axis, Grid
from .intensity import missing
from .models.interpolators import reversed_axis
from .resample import fill_padding, resize, resize_mask
from .volume import FloatImage, Mask, Slice, Volume

if TYPE_CHECKING:
    from .inference import Upscaler


class ComputedSlices:
    """The slices of a result, computed as they are asked for; padding takes no part and is put back.

    Small slices that are asked for one after the other are computed several at once (`Upscaler.together`).
    """

    def __init__(self, source: Volume, upscaler: Upscaler) -> None:
        self._source, self._upscaler = source, upscaler
        self._made: dict[int, _Computed] = {}
        self._last = -1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._source.slices)

    def estimate(self, quick: float = 0.0) -> float:
        """About how many seconds all of them will take (`Upscaler.estimate`); below `quick`, at most how many."""
        return len(self) * self._upscaler.estimate(quick / len(self))

    def __getitem__(self, k: int, /) -> Slice:
        grid = self._upscaler.grid
        if grid.is_identity:
            values, padding, _ = self._source.slices[k]
            return Slice(values, padding, 0.0)
        with self._lock:
            follows, self._last = 0 <= self._last == k - 1, k
            found = self._made.pop(k, None)
        if found is None:
            found, *others = self._several(k, self._upscaler.together if follows else 1)
            with self._lock:
                self._made = dict(enumerate(others, k + 1))
        (values, padding, _), measured, absent, result = found
        residual = consistency(measured, result, grid, absent)
        whole, mask, _ = padded_again(result, values, absent, grid.rows, grid.columns)
        if absent is not padding:
            # What no scan can measure keeps its own value: only what was declared is marked.
            mask = None if padding is None else resize_mask(padding, grid.rows, grid.columns)
        return Slice(whole, mask, residual)

    def _several(self, k: int, count: int) -> list[_Computed]:
        """Slice k and the ones after it, fewer where they end or one cannot be read: it says so when it is asked for."""
        read = [self._source.slices[k]]
        for n in range(k + 1, min(k + count, len(self))):
            try:
                read.append(self._source.slices[n])
            except (MesrError, OSError, MemoryError):
                break
        absent = [missing(one.values, one.padding, self._source.unit) for one in read]
        measured = [
            one.values if mask is None else fill_padding(one.values, mask)
            for one, mask in zip(read, absent, strict=True)
        ]
        results = self._upscaler.compute(np.stack(measured) if len(measured) > 1 else measured[0][None])
        return [_Computed(*one) for one in zip(read, measured, absent, results, strict=True)]


class _Computed(NamedTuple):
    """A slice as read, without its padding, where that was, and its result."""

    read: Slice
    measured: FloatImage
    absent: Mask | None
    result: FloatImage


def padded_again(
    result: FloatImage, values: FloatImage, padding: Mask | None, rows: Axis, columns: Axis
) -> Slice:
    """A computed image with what was padding put back by the nearest rule.

    Args:
        result: (H', W') on the axes, computed without the padding.
        values, padding: (H, W), the input.
    """
    if padding is None:
        return Slice(result)
    mask = resize_mask(padding, rows, columns)
    held = values[rows.nearest().pixel][:, columns.nearest().pixel]
    return Slice(np.where(mask, held, result), mask)


def consistency(
    values: FloatImage, result: FloatImage, grid: Grid, padding: Mask | None = None
) -> float | None:
    """The largest |A·SR − LR| with A the protocol's anti-aliased bicubic shrink, in the scan's unit.

    The outermost four pixels, where A has no full support, and padded ones are left out. None when nothing
    is left or when an axis was shrunk.
    """
    if grid.rows.step > 1 or grid.columns.step > 1:
        return None
    shrunk = resize(
        torch.from_numpy(result), reversed_axis(grid.rows), reversed_axis(grid.columns), "bicubic"
    ).numpy()
    difference = np.abs(shrunk - values)
    if padding is not None:
        difference[padding] = 0
    difference = difference[4:-4, 4:-4]
    return float(difference.max()) if difference.size else None
