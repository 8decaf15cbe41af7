"""Recipes without noise: the protocol's anti-aliased bicubic shrink, alone and behind a Gaussian blur κ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..grid import Axis
from ..resample import resize
from .contract import Degradation, Span

REACH = 4.0
"""Standard deviations after which a Gaussian is over."""

POINT_SPREAD = Span(0.5, 0.5)
"""Standard deviation in low-resolution pixels: a full width at half maximum of 1.18 of them."""


@dataclass(frozen=True)
class Bicubic(Degradation):
    """Anti-aliased Keys cubic, a = −0.5, half-pixel centres: every headline table (`protocol.md`).

    Equal to `torch.nn.functional.interpolate(size=…, mode="bicubic", antialias=True)` on a whole image.
    """

    name = "bicubic"

    def shrink(self, image: Tensor, rows: Axis, columns: Axis, chance: np.random.Generator) -> Tensor:
        return resize(image, rows, columns, "bicubic")


@dataclass(frozen=True)
class BlurBicubic(Degradation):
    """A Gaussian point spread, then `Bicubic`.

    Attributes:
        sigma: standard deviation of the point spread in low-resolution pixels, so that one value means the same
            task at every scale.
    """

    name = "blur-bicubic"
    sigma: Span = POINT_SPREAD

    @property
    def reach(self) -> float:
        return max(super().reach, 2.0 + REACH * self.sigma.high)

    def shrink(self, image: Tensor, rows: Axis, columns: Axis, chance: np.random.Generator) -> Tensor:
        return resize(blurred(image, self.sigma.draw(chance), rows, columns), rows, columns, "bicubic")


def blurred(image: Tensor, sigma: float, rows: Axis, columns: Axis) -> Tensor:
    """(…, H, W) under a Gaussian of `sigma` low-resolution pixels; at the edges its weights are renormalised."""
    if sigma == 0:
        return image
    down, across = (_gaussian(axis.size_in, sigma * float(axis.step)).to(image) for axis in (rows, columns))
    return down @ image @ across.T


def _gaussian(size: int, sigma: float) -> Tensor:
    """(size, size): a row holds the weights of one pixel."""
    place = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)
