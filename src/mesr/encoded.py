"""One slice, encoded once and decoded in part at any scale: what a viewer needs while a scale is being chosen.

`inference` computes whole slices, one after the other, for files. Someone who moves a slider looks at one slice:
its features are kept, and only what is on the screen is decoded, at the nearest half while the slider moves (few
kernels, and few strided convolutions that read the features) and on the exact grid when it rests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from .computed import padded_again
from .device import computing, resolve_device
from .grid import Axis, Grid, round_half_up
from .inference import Options, arithmetic
from .intensity import Window, missing
from .limits import MAX_PREPARED_FEATURES, MAX_SCALE
from .memory import plan_tile, ran_out, smaller
from .models import SuperResolver
from .models.contract import Encoded
from .resample import fill_padding, resize, support
from .tiling import Tile, tile, tiles
from .volume import FloatImage, Slice, Unit

Result = TypeVar("Result")


class Region(NamedTuple):
    """A rectangle of output pixels: rows top…bottom and columns left…right, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def whole(cls, grid: Grid) -> Region:
        """All of a result."""
        return cls(0, grid.rows.size_out, 0, grid.columns.size_out)

    @classmethod
    def over(cls, grid: Grid, top: float, bottom: float, left: float, right: float) -> Region:
        """The output pixels over a rectangle of the input, at least one, clipped to the image.

        Args:
            top, bottom, left, right: edges in input pixels; 0 and the size are the edges of the image.
        """
        return cls(*_covered(grid.rows, top, bottom), *_covered(grid.columns, left, right))

    def halves(self) -> tuple[Region, Region] | None:
        """The upper and the lower half; None of a single row."""
        middle = (self.top + self.bottom) // 2
        if middle == self.top:
            return None
        return self._replace(bottom=middle), self._replace(top=middle)


class EncodedSlice:
    """A slice whose features are kept.

    Args:
        model: in evaluation mode.
        one: as read.
        window: intensity map to the model's range.
        unit: of the slice.
        options: how to compute, as for whole slices.

    Where memory runs out, smaller tiles are encoded and smaller parts decoded.

    Raises:
        MemoryError: there is not enough for the smallest of them either; so do the methods that decode.
    """

    def __init__(
        self,
        model: SuperResolver,
        one: Slice,
        window: Window,
        unit: Unit,
        options: Options = Options(),  # noqa: B008
    ) -> None:
        self._device = resolve_device(options.device)
        self._dtype = arithmetic(model, options.precision, self._device)
        self._model = model
        self._window = window
        self._values = one.values
        self._padding = missing(one.values, one.padding, unit)
        measured = one.values if self._padding is None else fill_padding(one.values, self._padding)
        image = torch.from_numpy(np.ascontiguousarray(window.forward(measured)))[None, None]
        with self._computing():
            lr = image.to(self._device)
            self._encoded = self._encode(lr, options)
            quick = self._device.type == "cpu" and self._dtype is torch.float32
            features = self._encoded.features
            if quick and features is not None and features.numel() <= MAX_PREPARED_FEATURES:
                self._encoded = _fitting(lambda: model.prepared(self._encoded)) or self._encoded
        self._finished: tuple[Grid, Tensor] | None = None

    @property
    def bytes(self) -> int:
        """What is kept takes in memory: the features, and the last result that was finished."""
        lr, features, responses = self._encoded
        finished = None if self._finished is None else self._finished[1]
        tensors = [one for one in (lr, features, *(responses or ()), finished) if one is not None]
        return sum(one.numel() * one.element_size() for one in tensors)

    def exact(self, grid: Grid, region: Region) -> Slice:
        """A part of the result, equal to the same part of the whole slice that `inference` computes.

        A model whose `finish` looks at the whole slice decodes all of it, once for each grid.

        Returns:
            (bottom − top, right − left), in the scan's unit; padding is put back. No residual.
        """
        if grid.is_identity:
            return _cut(Slice(self._values, self._padding), region)
        if not self._model.finishes:
            return self.draft(grid, region)
        if self._finished is None or self._finished[0] != grid:
            with self._computing():
                decoded = self._decode(grid, Region.whole(grid))
                self._finished = (grid, self._model.finish(self._encoded.lr, decoded, grid))
        return self._slice(_cut_tensor(self._finished[1], region), grid, region)

    def draft(self, grid: Grid, region: Region) -> Slice:
        """`exact` without the model's `finish`: what a part costs is then what is seen of it."""
        with self._computing():
            decoded = self._decode(grid, region)
        return self._slice(decoded, grid, region)

    def interpolated(self, grid: Grid, region: Region) -> FloatImage:
        """The bicubic interpolation (a = −0.5) of the input on the same pixels, in the scan's unit; no padding."""
        rows, columns = _seen(grid, region, support("bicubic"))
        with self._computing():
            image = resize(_window_of(self._encoded.lr, rows, columns), rows.axis, columns.axis, "bicubic")
        return self._window.inverse(image[0, 0].cpu().numpy())

    def _encode(self, lr: Tensor, options: Options) -> Encoded:
        """In tiles where a whole slice would not fit the memory there is; the features are the same."""
        plane = Grid.plane(*map(Axis.identity, lr.shape[2:]))
        size: int | None = options.tile or plan_tile(self._model, plane, self._device)
        while size is not None:
            size = min(size, max(lr.shape[2:]))
            found = _fitting(partial(self._encoded_in, lr, plane, size))
            if found is not None:
                return found
            size = None if self._model.receptive_field is None else smaller(size)
        raise MemoryError("the smallest tile does not fit")

    def _encoded_in(self, lr: Tensor, plane: Grid, size: int) -> Encoded:
        """In tiles of a size."""
        height, width = lr.shape[2:]
        halo = self._model.receptive_field
        if halo is None or size >= max(height, width):
            return self._model.encode(lr)
        features: Tensor | None = None
        for rows in tiles(plane.rows, size, halo):
            for columns in tiles(plane.columns, size, halo):
                part = self._model.encode(_window_of(lr, rows, columns)).features
                if part is None:
                    return Encoded(lr)
                if features is None:
                    features = part.new_empty(1, part.shape[1], height, width)
                inner = part[
                    ...,
                    rows.start - rows.low : rows.stop - rows.low,
                    columns.start - columns.low : columns.stop - columns.low,
                ]
                features[..., rows.start : rows.stop, columns.start : columns.stop] = inner
        return Encoded(lr, features)

    def _decode(self, grid: Grid, region: Region) -> Tensor:
        """(1, 1, rows, columns) float32 of a region, one half after the other where memory runs out."""
        found = _fitting(partial(self._decoded, grid, region))
        if found is not None:
            return found
        if self._model.receptive_field is None or (halves := region.halves()) is None:
            raise MemoryError("the smallest part does not fit")
        return torch.cat([self._decode(grid, half) for half in halves], dim=-2)

    def _decoded(self, grid: Grid, region: Region) -> Tensor:
        if self._model.receptive_field is None:
            return _cut_tensor(self._model.decode(self._encoded, grid).float(), region)
        rows, columns = _seen(grid, region, self._model.receptive_field)
        lr, features, responses = self._encoded
        part = Encoded(
            _window_of(lr, rows, columns),
            None if features is None else _window_of(features, rows, columns),
            None if responses is None else tuple(_window_of(one, rows, columns) for one in responses),
        )
        return self._model.decode(part, Grid.plane(rows.axis, columns.axis)).float()

    def _slice(self, image: Tensor, grid: Grid, region: Region) -> Slice:
        values = self._window.inverse(image[0, 0].cpu().numpy())
        rows, columns = _seen(grid, region, None)
        return padded_again(values, self._values, self._padding, rows.axis, columns.axis)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """The context to compute in. Raises MemoryError for whatever PyTorch says where memory runs out."""
        try:
            self._model.to(self._device)  # Where another slice that shares it may have taken it from.
            with torch.inference_mode(), computing(self._device, self._dtype):
                yield
        except RuntimeError as error:
            if not ran_out(error):
                raise
            raise MemoryError("a slice does not fit") from None


def _fitting(compute: Callable[[], Result]) -> Result | None:
    """What is computed; None where memory ran out. What did not fit is let go of before this returns."""
    try:
        return compute()
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
    return None


def nearby(grid: Grid, finest: float = MAX_SCALE) -> Grid:
    """A grid about the same centre whose scales are whole numbers or halves, the nearest to those of `grid`.

    An axis that is left alone stays so. The field of view differs by less than half a pixel.

    Args:
        finest: the largest scale wanted: that of the screen, say. Below 1 it counts as 1.
    """
    return Grid(grid.slices, _nearby(grid.rows, finest), _nearby(grid.columns, finest))


def nearest_half(scale: Fraction) -> Fraction:
    """The whole number or half nearest to a scale; one over a whole number for a scale below 1."""
    if scale < 1:
        return Fraction(1, round(1 / scale))
    return Fraction(round_half_up(2 * scale), 2)


def _nearby(axis: Axis, finest: float) -> Axis:
    if axis.is_identity:
        return axis
    step = 1 / nearest_half(min(axis.scale, max(Fraction(1), Fraction(finest))))
    return Axis.spaced(axis.size_in, Fraction(1), step, exact=True)


def _covered(axis: Axis, low: float, high: float) -> tuple[int, int]:
    """Output pixels over input low…high, counted from the image's edge: pixel 0's centre is at one half."""
    first = (low - 0.5 - float(axis.start)) / float(axis.step)
    last = (high - 0.5 - float(axis.start)) / float(axis.step)
    start = min(max(0, math.floor(first)), axis.size_out - 1)
    return start, min(max(start + 1, math.ceil(last) + 1), axis.size_out)


def _seen(grid: Grid, region: Region, halo: int | None) -> tuple[Tile, Tile]:
    return (
        tile(grid.rows, region.top, region.bottom, halo),
        tile(grid.columns, region.left, region.right, halo),
    )


def _window_of(tensor: Tensor, rows: Tile, columns: Tile) -> Tensor:
    return tensor[..., rows.low : rows.high, columns.low : columns.high]


def _cut_tensor(image: Tensor, region: Region) -> Tensor:
    return image[..., region.top : region.bottom, region.left : region.right]


def _cut(one: Slice, region: Region) -> Slice:
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    padding = None if one.padding is None else one.padding[rows, columns]
    return Slice(one.values[rows, columns], padding)
