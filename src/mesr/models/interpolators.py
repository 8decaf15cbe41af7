"""The untrained methods as models: the same door, the same tables as the networks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..grid import Axis, Grid
from ..limits import MAX_SCALE
from ..resample import Method, add_resized, resize, support
from .contract import AnyScale, Encoded, SuperResolver
from .registry import register


class Interpolator(SuperResolver):
    """One of `resample.METHODS` on any grid, in float32."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method: Method = method
        self.scales = AnyScale(1.0 / MAX_SCALE, MAX_SCALE)
        self.receptive_field = support(method)

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        return resize(encoded.lr, grid.rows, grid.columns, self.method)


@register("nearest")
class Nearest(Interpolator):
    """The nearest pixel."""

    def __init__(self) -> None:
        super().__init__("nearest")


@register("bilinear")
class Bilinear(Interpolator):
    """Linear in each axis."""

    def __init__(self) -> None:
        super().__init__("bilinear")


@register("bicubic")
class Bicubic(Interpolator):
    """Keys' cubic convolution with a = −0.5."""

    def __init__(self) -> None:
        super().__init__("bicubic")


@register("bspline3")
class CubicSpline(Interpolator):
    """Interpolating cubic B-spline, mirrored edges."""

    def __init__(self) -> None:
        super().__init__("bspline3")


@register("bspline5")
class QuinticSpline(Interpolator):
    """Interpolating quintic B-spline, mirrored edges."""

    def __init__(self) -> None:
        super().__init__("bspline5")


@register("sinc")
class Sinc(Interpolator):
    """Lanczos-windowed sinc of radius 5, normalised: what a careful user has today."""

    def __init__(self) -> None:
        super().__init__("sinc")


@register("backprojection")
class BackProjection(SuperResolver):
    """Iterative back-projection (Irani and Peleg 1991): shrink the estimate, add back what is missing.

    Begins from the windowed sinc; the shrinking is the protocol's anti-aliased bicubic on the same grid.

    Args:
        iterations: corrections made.
        gain: the share of each correction that is added.
    """

    def __init__(self, iterations: int = 30, gain: float = 1.0) -> None:
        super().__init__()
        self.iterations = iterations
        self.gain = gain
        self.scales = AnyScale(1.0, MAX_SCALE)
        self.receptive_field = None

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        estimate = resize(encoded.lr, grid.rows, grid.columns, "sinc")
        return corrected(encoded.lr, estimate, grid, self.iterations, self.gain)


def corrected(lr: Tensor, sr: Tensor, grid: Grid, times: int, gain: float = 1.0) -> Tensor:
    """An estimate brought nearer to its input: shrunk again, and what then misses added back by the windowed sinc.

    Args:
        lr: (N, 1, H, W) float32.
        sr: (N, 1, H', W') float32 on `grid`; changed in place where no gradient is wanted.
        times: how often.
        gain: the share of what misses that is added.
    """
    rows, columns = reversed_axis(grid.rows), reversed_axis(grid.columns)
    learning = torch.is_grad_enabled() and (lr.requires_grad or sr.requires_grad)
    for _ in range(times):
        missing = gain * (lr - resize(sr, rows, columns, "bicubic"))
        if learning:
            sr = sr + resize(missing, grid.rows, grid.columns, "sinc")
        else:
            add_resized(sr, missing, grid.rows, grid.columns, "sinc")
    return sr


def reversed_axis(axis: Axis) -> Axis:
    """The axis that shrinks a result back onto its input: the same mapping read the other way."""
    step = 1 / axis.step
    start = -axis.start * step
    return Axis(axis.size_out, axis.size_in, step, start, start + (axis.centre * step))
