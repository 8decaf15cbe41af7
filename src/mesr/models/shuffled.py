"""`mesr` with a pixel shuffle in place of the meta head: one network a scale, to tell what the head costs or gains."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .contract import Encoded
from .convolution import channels_last, convolution
from .fixed import FixedScale, Stage
from .mesr import Mesr, through
from .registry import register
from .stems import Stem


@register("mesr-shuffled")
class MesrShuffled(FixedScale):
    """The body of `mesr`; then a kernel for each phase of one scale, learned by itself, on the same bicubic skip.

    A meta head at that scale makes as many kernels of the same size from their offsets.

    Args:
        blocks, features, stem: of the body.
        scale: 2, 3 or 4.
    """

    skips = True

    def __init__(
        self, blocks: int = 16, features: int = 64, scale: int = 2, stem: Stem = "difference"
    ) -> None:
        super().__init__(scale, Stage(2 * blocks + 3, scale), Stage(0))
        twin = Mesr(blocks, features, stem=stem)
        self.stem, self.blocks, self.tail = twin.stem, twin.blocks, twin.tail
        kernels = channels_last(convolution(features, scale * scale, bias=False))
        nn.init.normal_(kernels.weight, std=0.1 / math.sqrt(9 * features))
        self.last = nn.Sequential(kernels, nn.PixelShuffle(scale))

    def encode(self, lr: Tensor) -> Encoded:
        return Encoded(lr, through(self.stem, self.blocks, self.tail, lr))

    def magnify(self, features: Tensor) -> Tensor:
        detail: Tensor = self.last(features)
        return detail.float()
