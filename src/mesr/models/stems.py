"""The first convolution of `mesr`: image (N, 1, H, W) to features (N, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError

Stem = Literal["difference", "gated", "plain"]

LEVELS = -0.1, 1.1
"""Values that a gated stem tells apart, in the network's range: for CT −1200 to 1200 HU."""
CONTRASTS = 0.01, 0.6
"""From where on it tells contrasts apart by their ratio, and the largest: 20 and 1200 HU."""
RAMPS = 16
"""Of level, and as many of contrast, that its curves are made of, half of them rising."""
STEEPNESS = 4.0
"""Of a ramp over the whole range, at the start of training."""


class DifferenceConv(nn.Module):
    """A first 3×3 convolution on differences: each kernel's mean is taken off, edges are continued.

    A constant image gives exactly nothing, at any level. Runs in float32, where a HU is not lost.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, 1, 3, 3))
        nn.init.normal_(self.weight, std=1.0)

    def forward(self, lr: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        with torch.autocast(lr.device.type, enabled=False):
            return F.conv2d(F.pad(lr, (1, 1, 1, 1), mode="replicate"), weight)


class GatedDifferenceConv(DifferenceConv):
    """Differences that know where they were met: each kernel's answer times a curve of the pixel's level and contrast.

    A step of 20 HU is noise in an organ and one of 1,000 the edge of a bone, and what a network may do about either
    differs; exact differences commute with scaling and so cannot tell them apart. Level is the pixel's value, contrast
    the largest value about it less the smallest. A curve is a sum of ramps of both, whose feet begin spread over their
    ranges, which are those of a CT; beyond them a value counts as their end.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.ramps = nn.Conv2d(2, 2 * RAMPS, 1)
        self.curves = nn.Conv2d(2 * RAMPS, features, 1)
        slopes = STEEPNESS * torch.tensor([1.0, -1.0]).repeat(RAMPS // 2)
        feet = torch.linspace(0, 1, RAMPS)
        with torch.no_grad():
            self.ramps.weight.zero_()
            for n, part in enumerate((slice(0, RAMPS), slice(RAMPS, None))):
                self.ramps.weight[part, n, 0, 0] = slopes
            self.ramps.bias.copy_(-(slopes * feet).repeat(2))  # type: ignore[union-attr]
        nn.init.normal_(self.curves.weight, std=0.7 / RAMPS)
        nn.init.ones_(self.curves.bias)  # type: ignore[arg-type]

    def forward(self, lr: Tensor) -> Tensor:
        differences = super().forward(lr)
        with torch.autocast(lr.device.type, enabled=False):
            curves: Tensor = self.curves(torch.relu(self.ramps(_level_and_contrast(lr))))
            return differences * curves


def _level_and_contrast(lr: Tensor) -> Tensor:
    """Of every pixel, each 0…1 over its range: (N, 2, H, W)."""
    low, high = LEVELS
    level = (lr.clamp(low, high) - low) / (high - low)
    edges = F.pad(lr, (1, 1, 1, 1), mode="replicate")
    contrast = F.max_pool2d(edges, 3, 1) + F.max_pool2d(-edges, 3, 1)
    faint, strong = CONTRASTS
    contrast = torch.log1p(contrast.clamp(max=strong) / faint) / math.log1p(strong / faint)
    return torch.cat([level, contrast], dim=1)


def _plain(features: int) -> nn.Module:
    return nn.Conv2d(1, features, 3, padding=1, bias=False)


STEMS: dict[str, Callable[[int], nn.Module]] = {
    "difference": DifferenceConv,
    "gated": GatedDifferenceConv,
    "plain": _plain,
}


def make_stem(kind: Stem, features: int) -> nn.Module:
    """The first convolution, by name (`mesr.Mesr`).

    Raises:
        UsageError: code `architecture`, there is none of that name.
    """
    make = STEMS.get(str(kind))
    if make is None:
        raise UsageError("architecture", f"stem must be one of {', '.join(STEMS)}.")
    return make(features)
