"""VDSR (Kim et al. 2016, the paper's reference 15): interpolate to the grid, then add what twenty layers find missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..grid import Grid
from ..resample import resize
from .contract import AnyScale, Encoded, SuperResolver
from .convolution import ImageConv, channels_last, convolution
from .registry import register


@register("vdsr")
class Vdsr(SuperResolver):
    """Bicubic interpolation and the residual of a plain chain of 3×3 convolutions on it.

    Args:
        layers: convolutions in all.
        features: channels between them.
        max_scale: the largest scale it is offered for.
    """

    adds_image = True

    def __init__(self, layers: int = 20, features: int = 64, max_scale: float = 4.0) -> None:
        super().__init__()
        self.scales = AnyScale(1.0, max_scale)
        # The convolutions run on the result, of which a tile has no more than it gives: never tiled.
        self.receptive_field = None
        self.stem = ImageConv(1, features)
        self.blocks = nn.ModuleList(convolution(features, features) for _ in range(layers - 2))
        self.last = ImageConv(features, 1)
        for layer in (self.stem, *self.blocks):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # Near silence instead of as loud as the image: training starts from the bicubic one.
        nn.init.normal_(self.last.weight, std=0.1 / math.sqrt(9 * features))
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        coarse = resize(encoded.lr, grid.rows, grid.columns, "bicubic")
        hidden = torch.relu(self.stem(coarse))
        for layer in self.blocks:
            hidden = torch.relu(layer(hidden))
        residual: Tensor = self.last(hidden)
        return coarse + residual
