"""A body under the meta-upscale head as published: corner-aligned, the head alone makes the image (MetaRDN, MIASSR)."""

from __future__ import annotations

from torch import Tensor

from ..grid import Grid
from .contract import AnyScale, Encoded, SuperResolver
from .convolution import ImageConv, channels_last
from .edsr import ResidualBody
from .meta_head import MetaHead, reach
from .rdn import ResidualDenseBody


class UnderHead(SuperResolver):
    """First convolution, body, head.

    Args:
        body: (N, features, H, W) to the same.
        features: channels.
        hidden: width of the head's perceptron.
        max_scale: the largest scale it is offered for.
    """

    def __init__(
        self, body: ResidualBody | ResidualDenseBody, features: int, hidden: int, max_scale: float
    ) -> None:
        super().__init__()
        self.scales = AnyScale(1.0, max_scale)
        self.stem = channels_last(ImageConv(1, features))
        self.body = channels_last(body)
        self.head = MetaHead(features, hidden, "corner")
        self.receptive_field = 1 + body.radius + reach("corner")

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr, self.body(self.stem(lr)))

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        assert encoded.features is not None
        image: Tensor = self.head(encoded.features, grid.rows, grid.columns)
        return image
