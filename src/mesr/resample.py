"""Interpolation on a grid: every method is one matrix per axis, applied as two products.

Rows of a matrix hold the weights of one output pixel; they sum to one (where a kernel runs over the edge of
the image its weights are renormalised, as PIL and PyTorch's anti-aliased resize do). A kernel reaches a few
pixels, so of a large matrix only bands about its diagonal are ever made. Baselines, the network's skip and
corrections, the shrinking of `degrade` and the consistency residual all come through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .grid import Axis
from .volume import FloatImage, Mask

Method = Literal["nearest", "bilinear", "bicubic", "bspline3", "bspline5", "sinc"]
METHODS: tuple[Method, ...] = get_args(Method)
SINC_RADIUS = 5
CACHED = 32
"""Axes whose bands are kept: those of a slice size or two with every method."""
BAND = 256
"""Outputs of a band."""

Matrix = npt.NDArray[np.float64]
Kernel = Callable[[Matrix], Matrix]


def _triangle(x: Matrix) -> Matrix:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _keys(x: Matrix) -> Matrix:
    """Keys' cubic convolution with a = −0.5 (Keys 1981, the paper's reference 10)."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, inner, np.where(x < 2.0, outer, 0.0))


def _lanczos(x: Matrix) -> Matrix:
    return np.where(np.abs(x) < SINC_RADIUS, np.sinc(x) * np.sinc(x / SINC_RADIUS), 0.0)


def _cubic_spline(x: Matrix) -> Matrix:
    x = np.abs(x)
    inner = 2.0 / 3.0 - x * x * (1.0 - 0.5 * x)
    return np.where(x < 1.0, inner, np.maximum(0.0, 2.0 - x) ** 3 / 6.0)


def _quintic_spline(x: Matrix) -> Matrix:
    x = np.abs(x)
    powers = [np.maximum(0.0, edge - x) ** 5 for edge in (3.0, 2.0, 1.0)]
    return (powers[0] - 6.0 * powers[1] + 15.0 * powers[2]) / 120.0


_CONVOLVING: dict[str, tuple[Kernel, float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_keys, 2.0),
    "sinc": (_lanczos, float(SINC_RADIUS)),
}
_SPLINES: dict[str, tuple[Kernel, int]] = {"bspline3": (_cubic_spline, 1), "bspline5": (_quintic_spline, 2)}


def support(method: Method) -> int | None:
    """How many input pixels beyond the source pixel a magnifying kernel reaches; None for splines, which reach all."""
    if method == "nearest":
        return 0
    return int(_CONVOLVING[method][1]) if method in _CONVOLVING else None


class Band(NamedTuple):
    """A part of an axis: its outputs, the inputs that decide them, and the (outputs, inputs) weights between them."""

    outputs: slice
    inputs: slice
    weights: Tensor


def matrix(axis: Axis, method: Method) -> Matrix:
    """The (N', N) float64 weights of `method` on one axis; kernels widen by the step when it shrinks.

    B-splines interpolate: the samples' spline coefficients, with mirrored edges, are part of the matrix
    (Unser 1999). They do not anti-alias, and are meant for magnification.
    """
    return _build(axis, method)


def _build(axis: Axis, method: Method) -> Matrix:
    if axis.is_identity:
        return np.eye(axis.size_in)
    if method == "nearest":
        weights = np.zeros((axis.size_out, axis.size_in))
        weights[np.arange(axis.size_out), axis.nearest().pixel] = 1.0
        return weights
    coordinates = axis.coordinates()[:, None]
    if method in _SPLINES:
        kernel, reach = _SPLINES[method]
        pixels = np.arange(axis.size_in, dtype=np.float64)[:, None]
        basis = _mirrored(kernel, np.clip(coordinates, 0, axis.size_in - 1), axis.size_in, reach + 1)
        samples = _mirrored(kernel, pixels, axis.size_in, reach)
        return np.asarray(np.linalg.solve(samples.T, basis.T).T)
    kernel, _ = _CONVOLVING[method]
    widening = max(1.0, float(axis.step))
    weights = kernel((np.arange(axis.size_in) - coordinates) / widening)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _mirrored(kernel: Kernel, coordinates: Matrix, size: int, reach: int) -> Matrix:
    """Kernel weights on samples continued by mirroring about the first and the last pixel."""
    extended = np.arange(-reach, size + reach)
    weights = kernel(extended - coordinates)
    period = max(1, 2 * (size - 1))
    folded = np.abs((extended + size - 1) % period - (size - 1)) if size > 1 else np.zeros_like(extended)
    folded_weights = np.zeros((len(coordinates), size))
    np.add.at(folded_weights.T, folded, weights.T)
    return folded_weights


@lru_cache(maxsize=CACHED)
def _bands(axis: Axis, method: Method, dtype: torch.dtype, device: torch.device) -> tuple[Band, ...]:
    reach = support(method)
    edges = range(0, axis.size_out, BAND if reach is not None else axis.size_out)
    found = []
    for start in edges:
        stop = min(axis.size_out, start + edges.step)
        inputs = slice(0, axis.size_in)
        if reach is not None:
            wide = reach * max(1.0, float(axis.step)) + 1
            low = max(0, math.floor(axis.coordinate(start) - wide))
            high = min(axis.size_in, math.ceil(axis.coordinate(stop - 1) + wide) + 1)
            # An output far outside the input has its nearest pixel.
            inputs = slice(min(low, axis.size_in - 1), max(high, 1))
        part = axis.window(start, stop, inputs.start, inputs.stop)
        # Kept for whoever comes next, who may be training.
        with torch.inference_mode(False):
            weights = torch.from_numpy(_build(part, method)).to(device=device, dtype=dtype)
        found.append(Band(slice(start, stop), inputs, weights))
    return tuple(found)


def resize(image: Tensor, rows: Axis, columns: Axis, method: Method) -> Tensor:
    """Interpolate (…, H, W) on a grid, in the image's own precision.

    Args:
        image: (…, rows.size_in, columns.size_in), float32 or float64.

    Returns:
        (…, rows.size_out, columns.size_out).
    """
    strips = _strips(image, rows, columns, method)
    if torch.is_grad_enabled() and image.requires_grad:
        return torch.cat([strip for _, strip in strips], dim=-2)
    result: Tensor | None = None
    for outputs, strip in strips:
        if strip.shape[-2] == rows.size_out:
            return strip
        if result is None:
            result = image.new_empty(*image.shape[:-2], rows.size_out, columns.size_out)
        result[..., outputs, :] = strip
    assert result is not None
    return result


def add_resized(target: Tensor, image: Tensor, rows: Axis, columns: Axis, method: Method) -> None:
    """Add `resize` of an image to a tensor of its size, strip by strip, so that nothing of that size is made."""
    for outputs, strip in _strips(image, rows, columns, method):
        target[..., outputs, :] += strip


def _strips(image: Tensor, rows: Axis, columns: Axis, method: Method) -> Iterator[tuple[slice, Tensor]]:
    """`resize` in strips of whole rows, each with the output rows it is; along which axis first is what costs less."""
    down, across = (_bands(axis, method, image.dtype, image.device) for axis in (rows, columns))
    rows_first = rows.size_out * columns.size_in <= rows.size_in * columns.size_out
    for one in down:
        with torch.autocast(image.device.type, enabled=False):
            part = image[..., one.inputs, :]
            strip = _across(one.weights @ part, across) if rows_first else one.weights @ _across(part, across)
        yield one.outputs, strip


def _across(image: Tensor, bands: tuple[Band, ...]) -> Tensor:
    """Every row of (…, H, W) by an axis."""
    if len(bands) == 1 or (torch.is_grad_enabled() and image.requires_grad):
        return torch.cat([image[..., one.inputs] @ one.weights.T for one in bands], dim=-1)
    result = image.new_empty(*image.shape[:-1], bands[-1].outputs.stop)
    for one in bands:
        result[..., one.outputs] = image[..., one.inputs] @ one.weights.T
    return result


def resize_mask(mask: Mask, rows: Axis, columns: Axis) -> Mask:
    """A mask on a grid by the nearest rule."""
    taken: Mask = mask[rows.nearest().pixel][:, columns.nearest().pixel]
    return taken


def fill_padding(values: FloatImage, padding: Mask) -> FloatImage:
    """Padded pixels replaced by the nearest measured one of their row (else of their column).

    Interpolation then sees no edge where the scanner's field of view ends. All-padding stays as it is.
    """
    if padding.all() or not padding.any():
        return values
    filled = values.copy()
    empty = padding.all(axis=1)
    columns = np.arange(values.shape[1])
    for i in np.flatnonzero(padding.any(axis=1) & ~empty):
        measured = np.flatnonzero(~padding[i])
        place = np.clip(np.searchsorted(measured, columns), 1, max(1, len(measured) - 1))
        left = measured[np.minimum(place - 1, len(measured) - 1)]
        right = measured[np.minimum(place, len(measured) - 1)]
        nearest = np.where(columns - left <= right - columns, left, right)
        filled[i, padding[i]] = values[i, nearest[padding[i]]]
    if empty.any():
        whole = np.flatnonzero(~empty)
        closest = whole[np.abs(np.flatnonzero(empty)[:, None] - whole).argmin(axis=1)]
        filled[empty] = filled[closest]
    return filled
