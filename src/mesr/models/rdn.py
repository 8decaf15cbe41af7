"""RDN (Zhang et al. 2018, the paper's reference 20): residual dense blocks, their outputs fused.

Configuration A has 20 blocks of 6 layers and growth 32, B 16 blocks of 8 layers and growth 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .contract import Encoded
from .convolution import ImageConv, channels_last, convolution
from .fixed import FixedScale, Stage, steps
from .registry import register
from .upsampler import pixel_shuffle


class ResidualDenseBlock(nn.Module):
    """Layers that each read all before them, fused by 1×1, and the block's input."""

    def __init__(self, features: int, layers: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(features + n * growth, growth) for n in range(layers))
        self.fusion = convolution(features + layers * growth, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        known = x
        for layer in self.layers:
            known = torch.cat([known, torch.relu(layer(known))], 1)
        fused: Tensor = self.fusion(known)
        return x + fused


class ResidualDenseBody(nn.Module):
    """From the first convolution's features to those before the upsampler: RDN's, and MetaRDN's."""

    def __init__(self, blocks: int, layers: int, growth: int, features: int) -> None:
        super().__init__()
        self.second = convolution(features, features)
        self.blocks = nn.ModuleList(ResidualDenseBlock(features, layers, growth) for _ in range(blocks))
        self.fusion = nn.Sequential(
            convolution(blocks * features, features, 1), convolution(features, features)
        )
        self.radius = 1 + blocks * layers + 1

    def forward(self, shallow: Tensor) -> Tensor:
        x = self.second(shallow)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        fused: Tensor = self.fusion(torch.cat(outputs, 1))
        return shallow + fused


@register("rdn")
class Rdn(FixedScale):
    """RDN, configuration A unless told otherwise.

    Args:
        blocks: D, residual dense blocks.
        layers: C, layers a block.
        growth: G, channels each layer adds.
        features: G₀, channels between the blocks.
        scale: 2, 3 or 4.
    """

    def __init__(
        self, blocks: int = 20, layers: int = 6, growth: int = 32, features: int = 64, scale: int = 2
    ) -> None:
        upsampling = [Stage(1, factor) for factor in steps(scale)]
        super().__init__(scale, Stage(1 + 1 + blocks * layers + 1), *upsampling, Stage(1))
        self.stem = ImageConv(1, features)
        self.body = ResidualDenseBody(blocks, layers, growth, features)
        self.upsampler = pixel_shuffle(features, features, scale)
        self.last = ImageConv(features, 1)
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr, self.body(self.stem(lr)))

    def magnify(self, features: Tensor) -> Tensor:
        image: Tensor = self.last(self.upsampler(features))
        return image
