"""RRDB (Wang et al. 2018, the paper's reference 26): the generator of ESRGAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Encoded
from .convolution import ImageConv, channels_last, convolution
from .fixed import FixedScale, Stage, steps
from .registry import register

SLOPE = 0.2
"""Of the leaky ReLUs."""

SHARE = 0.2
"""Of each change that is added, inside a block and over it."""

LAYERS = 5
DENSE_BLOCKS = 3


class DenseBlock(nn.Module):
    """x + 0.2 · five densely connected convolutions of x, the last back to its width."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            convolution(features + n * growth, growth if n < LAYERS - 1 else features) for n in range(LAYERS)
        )
        for layer in self.layers:
            # ESRGAN draws a tenth of He's: a hundred layers without batch norm start close to the identity.
            nn.init.kaiming_normal_(layer.weight)  # type: ignore[arg-type]
            with torch.no_grad():
                layer.weight.mul_(0.1)  # type: ignore[operator]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        known = x
        for layer in self.layers[:-1]:
            known = torch.cat([known, F.leaky_relu(layer(known), SLOPE)], 1)
        change: Tensor = self.layers[-1](known)
        return x + SHARE * change


class ResidualInResidual(nn.Module):
    """x + 0.2 · three dense blocks of x."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(features, growth) for _ in range(DENSE_BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.dense(x)
        return x + SHARE * change


@register("rrdb")
class Rrdb(FixedScale):
    """ESRGAN's generator: nearest-neighbour magnification, each step followed by a convolution.

    Args:
        blocks: residual-in-residual dense blocks, of three dense blocks each.
        features: channels.
        growth: channels each layer of a dense block adds.
        scale: 2, 3 or 4; published for 4.
    """

    def __init__(self, blocks: int = 23, features: int = 64, growth: int = 32, scale: int = 2) -> None:
        self._factors = steps(scale)
        before = 1 + blocks * DENSE_BLOCKS * LAYERS + 1
        upsampling = [Stage(0, factor) for factor in self._factors[:1]]
        upsampling += [Stage(1, factor) for factor in self._factors[1:]]
        super().__init__(scale, Stage(before), *upsampling, Stage(1 + 1 + 1))
        self.stem = ImageConv(1, features)
        self.blocks = nn.Sequential(*(ResidualInResidual(features, growth) for _ in range(blocks)))
        self.tail = convolution(features, features)
        self.upsampling = nn.ModuleList(convolution(features, features) for _ in self._factors)
        self.fine = convolution(features, features)
        self.last = ImageConv(features, 1)
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        shallow = self.stem(lr)
        return Encoded(lr, shallow + self.tail(self.blocks(shallow)))

    def magnify(self, features: Tensor) -> Tensor:
        for factor, layer in zip(self._factors, self.upsampling, strict=True):
            features = F.leaky_relu(layer(F.interpolate(features, scale_factor=factor)), SLOPE)
        image: Tensor = self.last(F.leaky_relu(self.fine(features), SLOPE))
        return image
