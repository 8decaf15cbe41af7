"""The perceptual term, Eq. (9): how far apart two images are for a VGG network that looks at several depths.

"U-shaped network layers, … hopping together convolutional layers of different depths" is read as a U: VGG
goes down, and from its deepest map back up each one is enlarged and joined to the next shallower.

Others were published with the distance of one depth's maps, by their own values, which is here to train them by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
        depths: blocks whose maps are joined, 1…5; several, in rising order. The terms of one depth take the last.
    """

    vgg: str = "vgg19"
    depths: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])

    def check(self) -> None:
        """Refuse depths that make no sense.

        Raises:
            UsageError: code `loss`.
        """
        if not self.depths or self.depths != sorted({d for d in self.depths if 1 <= d <= len(WIDTHS)}):
            raise UsageError(
                "loss",
                f"The perceptual loss looks at depths 1 to {len(WIDTHS)} in rising order, found {str(self.depths)[:40]}.",
            )

    @property
    def least_side(self) -> int:
        """Pixels an image must have along each side."""
        return int(2 ** (self.depths[-1] - 1))


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
        config.check()
        return cls(load(config.vgg).to(device), config.depths, bf16=bf16)

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


class Distance(NamedTuple):
    """Of one depth's maps: squared or absolute, after their ReLU or before it."""

    squared: bool
    after_relu: bool


FEATURE_DISTANCES = {
    "vgg_l2": Distance(squared=True, after_relu=True),
    "vgg_raw_l2": Distance(squared=True, after_relu=False),
    "vgg_raw_l1": Distance(squared=False, after_relu=False),
}
"""Terms by name: SRGAN's (Ledig et al. 2017), MIASSR's (Zhu et al. 2021, by its authors' code) and ESRGAN's (Wang et al. 2018)."""


class FeatureDistance:
    """How far apart the maps of one depth are, by their own values, as others published it.

    Maps are in VGG19's unit; another network's are brought near it (`vgg.Architecture`).

    Args:
        vgg: frozen.
        depth: of the maps, 1…5.
        distance: one of `FEATURE_DISTANCES`.
        bf16: as in `Perceptual`.
    """

    def __init__(self, vgg: Vgg, depth: int, distance: Distance, *, bf16: bool = False) -> None:
        self.vgg, self.depth, self.distance, self.bf16 = vgg, depth, distance, bf16

    @classmethod
    def of(
        cls, config: PerceptualConfig, device: torch.device, name: str, *, bf16: bool = False
    ) -> FeatureDistance:
        """The term of a name at the deepest of the configured depths. Errors as `Perceptual.of`."""
        config.check()
        return cls(load(config.vgg).to(device), config.depths[-1], FEATURE_DISTANCES[name], bf16=bf16)

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Mean over maps, pixels and images; a scalar from two (N, 1, H, W), about 0…1."""
        with torch.no_grad():
            truth = self._maps(hr)
        difference = (self._maps(sr) - truth) / self.vgg.architecture.unit
        return difference.square().mean() if self.distance.squared else difference.abs().mean()

    def _maps(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bf16):
            maps: list[Tensor] = self.vgg(image, self.depth, last_relu=self.distance.after_relu)
        return maps[-1].float()


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
