"""Noise in the image: Gaussian, the same everywhere, white or with grains, added after the shrink as Eq. (1) has it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..grid import Axis
from ..resample import resize
from .blur import REACH, blurred
from .contract import ZERO, Degradation, Span

LOW_DOSE = Span(0.01, 0.01)
"""In the networks' range: 20 HU."""


@dataclass(frozen=True)
class Noise(Degradation):
    """A blur where asked for, `Bicubic`, and noise.

    Attributes:
        sigma: standard deviation of the noise in the networks' range: 0.01 is 20 HU for CT, for MR one hundredth of
            the volume's robust range.
        correlation: width (standard deviation) of the noise's grains in low-resolution pixels; 0 is white. The
            noise keeps its `sigma`.
        blur: as `BlurBicubic.sigma`.
    """

    name = "noise"
    sigma: Span = LOW_DOSE
    correlation: Span = ZERO
    blur: Span = ZERO

    @property
    def reach(self) -> float:
        return max(super().reach, 2.0 + REACH * self.blur.high)

    def shrink(self, image: Tensor, rows: Axis, columns: Axis, chance: np.random.Generator) -> Tensor:
        sigma, grain, blur = (span.draw(chance) for span in (self.sigma, self.correlation, self.blur))
        clean = resize(blurred(image, blur, rows, columns), rows, columns, "bicubic")
        return clean + sigma * grains(tuple(clean.shape), grain, chance).to(clean)


def grains(size: tuple[int, ...], width: float, chance: np.random.Generator) -> Tensor:
    """(…, H, W) normal numbers of variance 1, float32; `width` pixels of correlation, without preferred places."""
    reach = math.ceil(REACH * width)
    wide = (*size[:-2], size[-2] + 2 * reach, size[-1] + 2 * reach)
    white = torch.from_numpy(chance.standard_normal(wide, dtype=np.float32))
    if width == 0:
        return white
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    weights = weights / weights.square().sum().sqrt()
    for axis in (-2, -1):
        white = white.unfold(axis, 2 * reach + 1, 1) @ weights
    return white
