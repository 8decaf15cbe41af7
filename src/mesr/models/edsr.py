"""EDSR (Lim et al. 2017, the paper's reference 19): residual blocks without batch norm, pixel shuffle at the end.

As published but for the subtracted mean colour of DIV2K, which one channel of CT has no use for.
"""

from __future__ import annotations

from torch import Tensor, nn

from .contract import Encoded
from .convolution import ImageConv, channels_last, convolution
from .fixed import FixedScale, Stage, steps
from .registry import register
from .upsampler import pixel_shuffle


class ResidualBlock(nn.Module):
    """x + r·conv(act(conv(x))), 3×3, with biases.

    Args:
        slope: of the activation below zero: 0 for ReLU, else leaky.
        scale: r, which keeps wide networks stable.
    """

    def __init__(self, features: int, slope: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.first = convolution(features, features)
        self.activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
        self.second = convolution(features, features)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(self.activation(self.first(x)))
        return x + self.scale * change


class ResidualBody(nn.Module):
    """x + conv(blocks(x)): EDSR's body, and MIASSR's."""

    def __init__(self, blocks: int, features: int, slope: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(features, slope, scale) for _ in range(blocks)))
        self.tail = convolution(features, features)
        self.radius = 2 * blocks + 1

    def forward(self, x: Tensor) -> Tensor:
        deep: Tensor = self.tail(self.blocks(x))
        return x + deep


@register("edsr")
class Edsr(FixedScale):
    """EDSR, 40.7 M parameters at ×2; the "baseline" of its paper is 16 × 64 with a residual scale of 1.

    Args:
        blocks: residual blocks.
        features: channels.
        scale: 2, 3 or 4.
        residual_scale: share of each block's change that is added.
    """

    def __init__(
        self, blocks: int = 32, features: int = 256, scale: int = 2, residual_scale: float = 0.1
    ) -> None:
        upsampling = [Stage(1, factor) for factor in steps(scale)]
        super().__init__(scale, Stage(1 + 2 * blocks + 1), *upsampling, Stage(1))
        self.stem = ImageConv(1, features)
        self.body = ResidualBody(blocks, features, scale=residual_scale)
        self.upsampler = pixel_shuffle(features, features, scale)
        self.last = ImageConv(features, 1)
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr, self.body(self.stem(lr)))

    def magnify(self, features: Tensor) -> Tensor:
        image: Tensor = self.last(self.upsampler(features))
        return image
