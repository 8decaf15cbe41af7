"""What every model answers to: encode once, decode on any grid.

A caller never thinks of padding, strides or which scales a network can do: the model says it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from ..grid import Grid


class Encoded(NamedTuple):
    """What a model keeps of a low-resolution image, whatever the scale.

    Attributes:
        lr: (N, 1, H, W) float32, the image itself.
        features: (N, C, H, W), or None for a model that has none.
        responses: what `SuperResolver.prepared` made of them, each (N, …, H, W); None where it was not asked to.
    """

    lr: Tensor
    features: Tensor | None = None
    responses: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class AnyScale:
    """Any effective scale from `low` to `high` per axis, integer or not."""

    low: float
    high: float

    def covers(self, scale: float) -> bool:
        return self.low <= scale <= self.high

    def __str__(self) -> str:
        return f"any from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class IntegerScales:
    """These whole scales only, the same on both axes."""

    scales: frozenset[int]

    def covers(self, scale: float) -> bool:
        return scale in self.scales

    def __str__(self) -> str:
        return ", ".join(f"{scale}" for scale in sorted(self.scales))


Scales = AnyScale | IntegerScales


class SuperResolver(nn.Module, ABC):
    """The contract of every architecture and interpolator.

    Attributes:
        scales: the scales it is defined for.
        receptive_field: how many input pixels around a source pixel decide an output pixel; None when all do,
            and the model is then never tiled.
        adds_image: whether the image itself, interpolated, passes to the answer beside what the layers make of it.
        finishes: whether `finish` changes anything; where it does, no part of a result is final by itself.
    """

    scales: Scales
    receptive_field: int | None
    adds_image: bool = False
    finishes: bool = False

    @abstractmethod
    def encode(self, lr: Tensor) -> Encoded:
        """(N, 1, H, W) float32, intensity mapped to about 0…1, to its features."""

    @abstractmethod
    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        """(N, 1, H', W') float32 on the in-plane axes of `grid`, whose input size is that of `encoded`."""

    def prepared(self, encoded: Encoded) -> Encoded:
        """`encoded` with what makes decoding quicker at any scale, for memory; by itself nothing does."""
        return encoded

    def forward(self, lr: Tensor, grid: Grid) -> Tensor:
        """`encode` and `decode` in one, for patches and tiles."""
        return self.decode(self.encode(lr), grid)

    def finish(self, lr: Tensor, sr: Tensor, grid: Grid) -> Tensor:
        """A whole image's last step, once its tiles are joined; here there is none.

        Args:
            lr: (N, 1, H, W) float32, all of the image.
            sr: (N, 1, H', W') float32, `decode`'s answer on `grid`, all of it; its memory may be taken for the result.

        Returns:
            (N, 1, H', W') float32.
        """
        return sr

    def whole(self, lr: Tensor, grid: Grid) -> Tensor:
        """`forward` and `finish`: the answer to a whole image that needs no tiles, float32."""
        return self.finish(lr, self(lr, grid).float(), grid)

    @property
    def parameter_count(self) -> int:
        """Trained numbers in the model."""
        return sum(parameter.numel() for parameter in self.parameters())
