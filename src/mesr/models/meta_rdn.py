"""MetaRDN (Hu et al. 2019, the paper's reference 22): RDN's body under the meta-upscale head, as published.

The first network for any scale, and the one the paper measures itself against. Coordinates are Eq. (5)'s,
corner-aligned; the head's perceptron has one input more than the published one, a scale per axis.
"""

from __future__ import annotations

from .rdn import ResidualDenseBody
from .registry import register
from .under_head import UnderHead


@register("meta-rdn")
class MetaRdn(UnderHead):
    """MetaRDN on RDN-A; on RDN-B with 16 blocks of 8 layers and growth 64, as its authors trained it.

    Args:
        blocks, layers, growth, features: of the body, as `rdn.Rdn`.
        hidden: width of the head's perceptron.
        max_scale: the largest scale it is offered for.
    """

    def __init__(
        self,
        blocks: int = 20,
        layers: int = 6,
        growth: int = 32,
        features: int = 64,
        hidden: int = 256,
        max_scale: float = 4.0,
    ) -> None:
        super().__init__(ResidualDenseBody(blocks, layers, growth, features), features, hidden, max_scale)
