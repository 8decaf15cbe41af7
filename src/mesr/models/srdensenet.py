"""SRDenseNet (Tong et al. 2017, the paper's reference 21): dense blocks under dense skips, then deconvolutions.

The variant with all skips (SRDenseNet_All): a block reads the first convolution and every block before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .contract import Encoded
from .convolution import ImageConv, channels_last, convolution
from .fixed import FixedScale, Stage, steps
from .registry import register


class DenseBlock(nn.Module):
    """`layers` convolutions of `growth` channels; each reads those before it in the block, the first the input."""

    def __init__(self, inputs: int, layers: int, growth: int) -> None:
        super().__init__()
        self.first = convolution(inputs, growth)
        self.layers = nn.ModuleList(convolution(n * growth, growth) for n in range(1, layers))

    def forward(self, x: Tensor) -> Tensor:
        known = torch.relu(self.first(x))
        for layer in self.layers:
            known = torch.cat([known, torch.relu(layer(known))], 1)
        return known


@register("srdensenet")
class SrDenseNet(FixedScale):
    """SRDenseNet; ×2 and ×3 have one deconvolution, ×4 (the published scale) two.

    The deconvolutions of stride 2 are 3×3 as published, and so look further right than left.

    Args:
        blocks: dense blocks.
        layers: convolutions a block.
        growth: channels each of them adds.
        bottleneck: channels from the bottleneck on.
        scale: 2, 3 or 4.
    """

    def __init__(
        self, blocks: int = 8, layers: int = 8, growth: int = 16, bottleneck: int = 256, scale: int = 2
    ) -> None:
        factors = steps(scale)
        overlap = [Stage(0, factor, right=1 if factor == 2 else 0) for factor in factors]
        super().__init__(scale, Stage(1 + blocks * layers), *overlap, Stage(1))
        wide = layers * growth
        self.stem = ImageConv(1, wide)
        self.blocks = nn.ModuleList(DenseBlock((n + 1) * wide, layers, growth) for n in range(blocks))
        self.bottleneck = convolution((blocks + 1) * wide, bottleneck, 1)
        self.deconvolutions = nn.ModuleList(_deconvolution(bottleneck, factor) for factor in factors)
        self.last = ImageConv(bottleneck, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        known = torch.relu(self.stem(lr))
        for block in self.blocks:
            known = torch.cat([known, block(known)], 1)
        return Encoded(lr, torch.relu(self.bottleneck(known)))

    def magnify(self, features: Tensor) -> Tensor:
        for deconvolution in self.deconvolutions:
            features = torch.relu(deconvolution(features))
        image: Tensor = self.last(features)
        return image


def _deconvolution(channels: int, factor: int) -> nn.ConvTranspose2d:
    """3×3, from (H, W) to exactly `factor` times that: by 3 the kernels abut, by 2 they overlap by a pixel."""
    if factor == 3:
        return nn.ConvTranspose2d(channels, channels, 3, stride=3)
    return nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1)
