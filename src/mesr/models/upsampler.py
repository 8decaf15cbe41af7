"""The sub-pixel upsampler (Shi et al. 2016, the paper's reference 25): channels become pixels."""

from __future__ import annotations

from torch import nn

from .convolution import convolution
from .fixed import steps


def pixel_shuffle(inputs: int, outputs: int, scale: int, *, prelu: bool = False) -> nn.Sequential:
    """(N, inputs, H, W) → (N, outputs, n·H, n·W); ×4 in two steps, as EDSR and SRResNet have it.

    Args:
        prelu: end each step with a parametric ReLU (SRResNet).

    Raises:
        UsageError: the scale is none of `fixed.SCALES`.
    """
    layers: list[nn.Module] = []
    for factor in steps(scale):
        layers += [convolution(inputs, outputs * factor * factor), nn.PixelShuffle(factor)]
        if prelu:
            layers.append(nn.PReLU())
        inputs = outputs
    return nn.Sequential(*layers)
