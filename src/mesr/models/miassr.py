"""MIASSR (Zhu et al. 2021, the paper's reference 23): a light EDSR body under the meta-upscale head.

Its two stages of training, L1 and then perceptual and adversarial terms, are two runs, the second started
from the first's weights.
"""

from __future__ import annotations

from torch import Tensor

from ..grid import Grid
from .contract import AnyScale, Encoded, SuperResolver
from .convolution import ImageConv, channels_last
from .edsr import ResidualBody
from .meta_head import MetaHead, reach
from .registry import register


@register("miassr")
class Miassr(SuperResolver):
    """MIASSR: 16 residual blocks of 64 channels with leaky ReLU, corner-aligned head.

    Args:
        blocks: residual blocks.
        features: channels.
        hidden: width of the head's perceptron.
        slope: of the leaky ReLUs below zero.
        max_scale: the largest scale it is offered for.
    """

    def __init__(
        self,
        blocks: int = 16,
        features: int = 64,
        hidden: int = 256,
        slope: float = 0.2,
        max_scale: float = 4.0,
    ) -> None:
        super().__init__()
        self.scales = AnyScale(1.0, max_scale)
        self.stem = ImageConv(1, features)
        self.body = channels_last(ResidualBody(blocks, features, slope))
        self.head = MetaHead(features, hidden, "corner")
        self.receptive_field = 1 + self.body.radius + reach("corner")

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr, self.body(self.stem(lr)))

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        assert encoded.features is not None
        image: Tensor = self.head(encoded.features, grid.rows, grid.columns)
        return image
