"""The perceptual term, Eq. (9): how far apart two images are for a VGG network that looks at several depths.

"U-shaped network layers, … hopping together convolutional layers of different depths" is read as a U: VGG
goes down, and from its deepest map back up each one is enlarged and joined to the next shallower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from .vgg import WIDTHS, Vgg, load


@dataclass
class PerceptualConfig:
    """What looks at the images, and how deep.

    Attributes:
        vgg: "vgg19", "vgg16", or a file (`vgg.load`).
        depths: blocks whose maps are joined, 1…5; several, in rising order.
    """

    vgg: str = "vgg19"
    depths: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])


class Perceptual:
    """The term for one network and its depths.

    Args:
        vgg: frozen.
        depths: in rising order.
        bf16: whether its convolutions run in bfloat16; what is compared stays float32.
    """

    def __init__(self, vgg: Vgg, depths: Sequence[int], *, bf16: bool = False) -> None:
        self.vgg, self.depths, self.bf16 = vgg, list(depths), bf16

    @classmethod
    def of(cls, config: PerceptualConfig, device: torch.device, *, bf16: bool = False) -> Perceptual:
        """The term as configured.

        Raises:
            UsageError: code `loss`, the depths make no sense.
            WeightsError: VGG's weights cannot be had.
        """
        depths = config.depths
        if not depths or depths != sorted({d for d in depths if 1 <= d <= len(WIDTHS)}):
            raise UsageError(
                "loss",
                f"The perceptual loss looks at depths 1 to {len(WIDTHS)} in rising order, found {str(depths)[:40]}.",
            )
        return cls(load(config.vgg).to(device), depths, bf16=bf16)

    @property
    def least_side(self) -> int:
        """Pixels an image must have along each side."""
        return int(2 ** (self.depths[-1] - 1))

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Mean squared difference of the joined maps; a scalar from two (N, 1, H, W), about 0…1.

        Each map is divided by the root mean square of the reference's own, image by image, so that a
        depth counts by its number of maps, whatever their values, and 1 means "as wrong as a black picture of features" for any VGG.
        """
        with torch.no_grad():
            truth = self._maps(hr)
        differences = [
            (made - true) / true.square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12).sqrt()
            for made, true in zip(self._maps(sr), truth, strict=True)
        ]
        return joined(differences).square().mean()

    def _maps(self, image: Tensor) -> list[Tensor]:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bf16):
            maps = self.vgg(image, self.depths[-1])
        return [maps[depth - 1].float() for depth in self.depths]


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Maps of falling size as one of the first's size, from the deepest up: enlarge, join, enlarge, join.

    Linear, so the joined difference of two images' maps is the difference of their joined maps.

    Args:
        maps: `[(N, C₁, H₁, W₁), (N, C₂, H₂, W₂), …]`.

    Returns:
        (N, C₁ + C₂ + …, H₁, W₁).
    """
    up = maps[-1]
    for shallower in reversed(maps[:-1]):
        up = F.interpolate(up, size=shallower.shape[-2:], mode="bilinear", align_corners=False)
        up = torch.cat([shallower, up], dim=1)
    return up
