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
        depth counts by its number of maps, whatever their values, and 1 means about "as wrong as a black picture of features" for any VGG.
        """
        with torch.no_grad():
            truth = self._maps(hr)
        differences = [
            (made - true) / true.square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12).sqrt()
            for made, true in zip(self._maps(sr), truth, strict=True)
        ]
        with torch.autocast(sr.device.type, enabled=False):
            return mean_square_joined(differences)

    def _maps(self, image: Tensor) -> list[Tensor]:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bf16):
            maps = self.vgg(image, self.depths[-1])
        return [maps[depth - 1].float() for depth in self.depths]


def mean_square_joined(maps: Sequence[Tensor]) -> Tensor:
    """Mean square of maps joined from the deepest up (enlarge, join, enlarge, join), which is never made.

    Joining mixes no two maps, and enlarging by U along one axis turns the sum of squares of a map d into
    ⟨d, G d⟩ with G = UᵀU, as small as d. All 1,472 maps at full size would be hundreds of megabytes.

    Args:
        maps: `[(N, C₁, H₁, W₁), (N, C₂, H₂, W₂), …]`, of falling size.

    Returns:
        A scalar: over N, C₁ + C₂ + …, H₁ and W₁.
    """
    count, _, height, width = maps[0].shape
    heights, widths = ([one.shape[axis] for one in maps] for axis in (-2, -1))
    total = maps[0].square().sum()
    for depth, one in enumerate(maps[1:], 2):
        rows, columns = (_gram(sides[:depth], one) for sides in (heights, widths))
        total = total + (one * (rows @ one @ columns)).sum()
    return total / (count * sum(one.shape[1] for one in maps) * height * width)


def _gram(sides: Sequence[int], like: Tensor) -> Tensor:
    """UᵀU (n, n) of bilinear enlargement along an axis, from the last of these sides through each to the first."""
    up = torch.eye(sides[-1], dtype=like.dtype, device=like.device)[None]
    for side in reversed(sides[:-1]):
        up = F.interpolate(up, size=side, mode="linear", align_corners=False)
    return up[0] @ up[0].T
