"""MIASSR (Zhu et al. 2021, the paper's reference 23): a light EDSR body under the meta-upscale head.

Its two stages of training, L1 and then perceptual and adversarial terms, are two runs, the second started
from the first's weights.
"""

from __future__ import annotations

from .edsr import ResidualBody
from .registry import register
from .under_head import UnderHead


@register("miassr")
class Miassr(UnderHead):
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
        super().__init__(ResidualBody(blocks, features, slope), features, hidden, max_scale)
