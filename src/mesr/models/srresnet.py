"""SRResNet (Ledig et al. 2017, the paper's reference 17): residual blocks with batch norm; SRGAN's generator.

SRGAN is this network trained with the perceptual and adversarial terms against `discriminator`.
"""

from __future__ import annotations

from torch import Tensor, nn

from .contract import Encoded
from .convolution import ImageConv, channels_last, convolution
from .fixed import FixedScale, Stage, steps
from .registry import register
from .upsampler import pixel_shuffle


class NormalisedBlock(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x))))), 3×3; the convolutions need no bias before a batch norm."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(features, features, bias=False),
            nn.BatchNorm2d(features),
            nn.PReLU(),
            convolution(features, features, bias=False),
            nn.BatchNorm2d(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.layers(x)
        return x + change


class NormalisedBody(nn.Module):
    """x + BN(conv(blocks(x)))."""

    def __init__(self, blocks: int, features: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(NormalisedBlock(features) for _ in range(blocks)))
        self.tail = convolution(features, features, bias=False)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        deep: Tensor = self.norm(self.tail(self.blocks(x)))
        return x + deep


@register("srresnet")
class SrResNet(FixedScale):
    """SRResNet, single channel.

    Args:
        blocks: residual blocks.
        features: channels.
        scale: 2, 3 or 4; published for 2 and 4.
    """

    def __init__(self, blocks: int = 16, features: int = 64, scale: int = 2) -> None:
        upsampling = [Stage(1, factor) for factor in steps(scale)]
        super().__init__(scale, Stage(4 + 2 * blocks + 1), *upsampling, Stage(4))
        self.stem = ImageConv(1, features, 9)
        self.activation = nn.PReLU()
        self.body = NormalisedBody(blocks, features)
        self.upsampler = pixel_shuffle(features, features, scale, prelu=True)
        self.last = ImageConv(features, 1, 9)
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr, self.body(self.activation(self.stem(lr))))

    def magnify(self, features: Tensor) -> Tensor:
        image: Tensor = self.last(self.upsampler(features))
        return image
