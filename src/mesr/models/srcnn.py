"""SRCNN (Dong et al. 2015, the paper's reference 14): interpolate to the grid, then map with three convolutions.

The 9-5-5 network, which that paper compares with others (its Table 3); 9-1-5 by argument. The paper gives no
count of parameters for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..grid import Grid
from ..resample import resize
from .contract import AnyScale, Encoded, SuperResolver
from .convolution import ImageConv, channels_last
from .registry import register


@register("srcnn")
class Srcnn(SuperResolver):
    """Bicubic interpolation through convolutions of 9, 5 and 5, edges continued; float32, as the image itself passes.

    One chain of filters begins as the identity and the last convolution hears it alone, so that training starts from the
    bicubic image: from the published draw (standard deviation 0.001 throughout) 10⁸ steps were needed.

    Args:
        features: channels of the first convolution; the second has half as many.
        middle: kernel size of the second, 5 or 1.
        max_scale: the largest scale it is offered for.
    """

    adds_image = True

    def __init__(self, features: int = 64, middle: int = 5, max_scale: float = 4.0) -> None:
        super().__init__()
        self.scales = AnyScale(1.0, max_scale)
        # The convolutions run on the result, of which a tile has no more than it gives: never tiled.
        self.receptive_field = None
        self.stem = ImageConv(1, features, 9, "replicate")
        self.middle = ImageConv(features, features // 2, middle, "replicate")
        self.last = ImageConv(features // 2, 1, 5, "replicate")
        with torch.no_grad():
            for layer in (self.stem, self.middle, self.last):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
                centre = layer.kernel_size[0] // 2
                layer.weight[0].zero_()
                layer.weight[0, 0, centre, centre] = 1.0
        channels_last(self)

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        coarse = resize(encoded.lr, grid.rows, grid.columns, "bicubic")
        mapped: Tensor = self.last(torch.relu(self.middle(torch.relu(self.stem(coarse)))))
        return mapped
