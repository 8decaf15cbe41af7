"""The networks in operations that ONNX has: any image size, on a grid given as arrays or made from a fixed scale.

`models` builds its matrices and tables outside the graph, for one grid. Here sizes are not known before the
graph runs, so everything that depends on them is computed in it, from where output pixels lie in the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..grid import Axis, Grid
from ..models.contract import SuperResolver
from ..models.fixed import FixedScale
from ..models.meta_head import MetaHead, sources
from ..models.orientations import ORIENTATIONS, Orientation
from ..resample import SINC_RADIUS


class Places(NamedTuple):
    """Where the outputs of an axis lie, the head's convention and the centred one.

    Attributes:
        pixel: (N',) int64 source pixels.
        offset: (N',) float32, how far past its source an output lies, in the head's convention.
        centred: (N',) float32, likewise with pixel centres aligned, as the skip and the corrections have it.
        step: input pixels from one output to the next, a number or a tensor of one.
    """

    pixel: Tensor
    offset: Tensor
    centred: Tensor
    step: Tensor


class _Graph(nn.Module):
    """What the graphs of a network with the meta-upscale head share."""

    def __init__(self, model: SuperResolver) -> None:
        super().__init__()
        self.model = model
        self.head = _head(model)
        self.corrections = int(getattr(model, "corrections", 0))
        self.orientations: tuple[Orientation, ...] = getattr(model, "orientations", ORIENTATIONS[:1])
        if len(self.orientations) > 1 and self.head.coordinates != "nearest":
            raise UsageError("export", "Several orientations need offsets from the nearest pixel.")

    def _detail(self, lr: Tensor, detail_of: Callable[[Tensor, Orientation], Tensor]) -> Tensor:
        """The mean over the orientations of what the head makes of the features of each, so oriented."""
        features = self.model.encode(lr).features
        assert features is not None
        parts = features.chunk(len(self.orientations), dim=1)
        details = [
            one.back(detail_of(one.of(part), one)) for one, part in zip(self.orientations, parts, strict=True)
        ]
        total = sum(details[1:], details[0])
        return total / len(details) if len(details) > 1 else total

    def _finished(self, lr: Tensor, detail: Tensor, rows: Places, columns: Places) -> Tensor:
        """The skip, and the corrections of a whole image (`interpolators.corrected`)."""
        down, across = (_distances(one, lr.shape[axis]) for one, axis in ((rows, 2), (columns, 3)))
        sr = detail
        if self.model.adds_image:
            sr = sr + _rows_to_one(_keys(down)) @ lr @ _rows_to_one(_keys(across)).T
        if self.corrections:
            # Seen from the input the shrinking kernel is the bicubic's own, whatever the scale: it widens with it.
            shrink = _rows_to_one(_keys(down).T), _rows_to_one(_keys(across).T)
            magnify = _rows_to_one(_lanczos(down)), _rows_to_one(_lanczos(across))
            for _ in range(self.corrections):
                missing = lr - shrink[0] @ sr @ shrink[1].T
                sr = sr + magnify[0] @ missing @ magnify[1].T
        return sr

    def _on(self, lr: Tensor, rows: Places, columns: Places) -> Tensor:
        """The network on any grid: the head's reassociated form, gathered for each output pixel."""
        head = self.head
        weight = torch.cat([head.outer.weight.T, head.outer.bias[None]]).view(-1, head.features, 3, 3)
        inner = head.inner.weight

        def detail_of(features: Tensor, orientation: Orientation) -> Tensor:
            down = _mirrored(rows, lr.shape[2]) if orientation.upside_down else rows
            across = _mirrored(columns, lr.shape[3]) if orientation.mirrored else columns
            if orientation.turned:
                down, across = across, down
            responses = F.conv2d(features, weight, padding=1)
            taken = responses.index_select(2, down.pixel).index_select(3, across.pixel)
            constant = head.inner.bias + down.step * inner[:, 2] + across.step * inner[:, 3]
            first = constant[:, None] + inner[:, :1] * down.offset
            second = inner[:, 1:2] * across.offset
            hidden = torch.relu(first[:, :, None] + second[:, None, :])
            return (taken[:, :-1] * hidden).sum(dim=1, keepdim=True) + taken[:, -1:]

        return self._finished(lr, self._detail(lr, detail_of), rows, columns)


class AnyScaleGraph(_Graph):
    """A network on the grid that its inputs describe, as `grid_arrays` makes them from a `Grid`."""

    def forward(
        self,
        lr: Tensor,
        row_pixel: Tensor,
        row_offset: Tensor,
        column_pixel: Tensor,
        column_offset: Tensor,
        step: Tensor,
    ) -> Tensor:
        """(N, 1, H, W) to (N, 1, H', W'), float32.

        Args:
            row_pixel, column_pixel: (H',) and (W',) int64.
            row_offset, column_offset: (H',) and (W',) float32.
            step: (2,) float32, input pixels from one output pixel to the next along a column and along a row.
        """
        rows = self._places(row_pixel, row_offset, step[0])
        columns = self._places(column_pixel, column_offset, step[1])
        return self._on(lr, rows, columns)

    def _places(self, pixel: Tensor, offset: Tensor, step: Tensor) -> Places:
        corner = self.head.coordinates == "corner"
        return Places(pixel, offset, offset + (step - 1) / 2 if corner else offset, step)


class FixedScaleGraph(_Graph):
    """A network at one scale, the same on both axes: the grid is made in the graph, sizes halves up.

    Args:
        model: with the meta-upscale head.
        scale: exact.
    """

    def __init__(self, model: SuperResolver, scale: Fraction) -> None:
        super().__init__(model)
        self.over, self.under = scale.numerator, scale.denominator

    def forward(self, lr: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 1, H', W'), float32."""
        return self._on(lr, self._places(lr.shape[2]), self._places(lr.shape[3]))

    def _places(self, size: int) -> Places:
        """`Axis.scaled` and its sources (`axis.py`), in whole numbers: output q lies at ((2q+1)·N − N') / 2N'."""
        out = (2 * size * self.over + self.under) // (2 * self.under)
        index = torch.arange(out)
        numerator, denominator = (2 * index + 1) * size - out, 2 * out
        if self.head.coordinates == "nearest":
            pixel = ((2 * index + 1) * size) // denominator
            tie = pixel * denominator == (2 * index + 1) * size
            pixel = pixel - (tie & (2 * index + 1 >= out)).long()
        elif self.head.coordinates == "below":
            pixel = numerator // denominator
        else:
            pixel = (index * size) // out
        pixel = pixel.clamp(0, size - 1)
        centred = (numerator - pixel * denominator).float() / denominator
        offset = centred
        if self.head.coordinates == "corner":
            offset = (index * size - pixel * out).float() / out
        return Places(pixel, offset, centred, torch.full((), 1.0) * size / out)


class IntegerScaleGraph(_Graph):
    """A network at a whole scale s, whose outputs of an input pixel are s² kernels: one convolution, interleaved.

    Args:
        model: with the meta-upscale head, its offsets counted from the nearest pixel or the corner.
        scale: s, at least 1.
    """

    def __init__(self, model: SuperResolver, scale: int) -> None:
        super().__init__(model)
        self.scale = scale
        axis = Axis.scaled(1, Fraction(scale))
        offsets = sources(axis, self.head.coordinates).offset
        with torch.no_grad():
            self.register_buffer("kernels", self.head.kernels(axis, axis, offsets, offsets))

    def forward(self, lr: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 1, s·H, s·W), float32."""
        kernels = self.get_buffer("kernels")

        def detail_of(features: Tensor, _: Orientation) -> Tensor:
            return F.pixel_shuffle(F.conv2d(features, kernels, padding=1), self.scale)

        detail = self._detail(lr, detail_of)
        rows, columns = (self._places(lr.shape[axis]) for axis in (2, 3))
        return self._finished(lr, detail, rows, columns)

    def _places(self, size: int) -> Places:
        return _whole(size, self.scale)


class OneScaleGraph(nn.Module):
    """A network that was built for one whole scale, on its own grid."""

    def __init__(self, model: FixedScale) -> None:
        super().__init__()
        self.model = model

    def forward(self, lr: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 1, n·H, n·W), float32."""
        features = self.model.encode(lr).features
        assert features is not None
        fine = self.model.magnify(features)
        if not self.model.skips:
            return fine
        down, across = (
            _distances(_whole(lr.shape[axis], self.model.scale), lr.shape[axis]) for axis in (2, 3)
        )
        return _rows_to_one(_keys(down)) @ lr @ _rows_to_one(_keys(across)).T + fine


def _whole(size: int, scale: int) -> Places:
    """The outputs of an axis at a whole scale."""
    index = torch.arange(size * scale)
    pixel = index // scale
    centred = (2 * index + 1 - (2 * pixel + 1) * scale).float() / (2 * scale)
    return Places(pixel, centred, centred, torch.full((), 1.0 / scale))


def graph_of(model: SuperResolver, scale: Fraction | None) -> nn.Module:
    """The cheapest graph of a model at a scale, or at any scale for None.

    Raises:
        UsageError: code `export`, the model has no graph, or none of this scale.
    """
    if isinstance(model, FixedScale):
        if scale != model.scale:
            raise UsageError(
                "export",
                f"The network is of one scale, ×{model.scale}, and is exported at it.",
                f"Give --scale {model.scale}.",
            )
        return OneScaleGraph(model)
    if scale is None:
        return AnyScaleGraph(model)
    if scale < 1 or not model.scales.covers(float(scale)):
        raise UsageError("export", f"The network is for scales {model.scales}, found {float(scale):.4g}.")
    if scale.denominator == 1 and _head(model).coordinates != "below":
        return IntegerScaleGraph(model, int(scale))
    return FixedScaleGraph(model, scale)


def grid_arrays(model: SuperResolver, grid: Grid) -> dict[str, npt.NDArray[np.int64 | np.float32]]:
    """The inputs of an `AnyScaleGraph` beside the image, by name, for the in-plane axes of a grid."""
    coordinates = _head(model).coordinates
    rows, columns = (sources(axis, coordinates) for axis in (grid.rows, grid.columns))
    return {
        "row_pixel": rows.pixel,
        "row_offset": rows.offset.astype(np.float32),
        "column_pixel": columns.pixel,
        "column_offset": columns.offset.astype(np.float32),
        "step": np.array([grid.rows.step, grid.columns.step], dtype=np.float32),
    }


def _head(model: SuperResolver) -> MetaHead:
    head = getattr(model, "head", None)
    if not isinstance(head, MetaHead):
        raise UsageError(
            "export",
            "Only a network under the meta-upscale head, or one of one whole scale, can be exported.",
        )
    return head


def _mirrored(places: Places, size: int) -> Places:
    """The places of an axis of `size` input pixels that is counted from the other end.

    An output between the two pixels in the middle of the axis belongs to the one before it from either end.
    """
    pixel, offset, _, step = (one.flip(0) if one.ndim else one for one in places)
    middle = (2 * pixel + 2 == size) & (offset == 0.5)
    turned = torch.where(middle, offset, -offset)
    return Places(torch.where(middle, pixel, size - 1 - pixel), turned, turned, step)


def _distances(places: Places, size: int) -> Tensor:
    """(N', N) float32 input pixels from every input pixel to every output."""
    return (places.pixel[:, None] - torch.arange(size)[None]).float() + places.centred[:, None]


def _keys(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = −0.5, as `resample`."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x < 1.0, inner, torch.where(x < 2.0, outer, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    """Lanczos' windowed sinc, as `resample`."""
    near = x.abs() < 1e-4
    angle = math.pi * torch.where(near, torch.ones_like(x), x)
    value = SINC_RADIUS * torch.sin(angle) * torch.sin(angle / SINC_RADIUS) / (angle * angle)
    value = torch.where(near, torch.ones_like(x), value)
    return torch.where(x.abs() < SINC_RADIUS, value, torch.zeros_like(x))


def _rows_to_one(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=1, keepdim=True)
