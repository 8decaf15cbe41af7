"""What every recipe of Eq. (1), I_lr = (I_hr ⊗ κ) ↓s + n, answers, and the numbers it may draw."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..grid import Axis
from ..volume import FloatImage

MOST = 1000.0
"""Of any parameter: pixels, or the networks' range. Beyond it an image says nothing, or takes all memory."""


@dataclass(frozen=True)
class Span:
    """A number, or a range from which every batch and every image draws its own, evenly."""

    low: float
    high: float

    @classmethod
    def read(cls, text: str) -> Span:
        """From `"0.5"` or `"0.3..0.9"`.

        Raises:
            ValueError: it is neither, or no range of numbers from 0 to `MOST`.
        """
        low, _, high = text.partition("..")
        span = cls(float(low), float(high or low))
        if not 0 <= span.low <= span.high <= MOST:
            raise ValueError("no range")
        return span

    def draw(self, chance: np.random.Generator) -> float:
        """A number of the range."""
        return self.low if self.low == self.high else float(chance.uniform(self.low, self.high))

    def __str__(self) -> str:
        return f"{self.low:.9g}" if self.low == self.high else f"{self.low:.9g}..{self.high:.9g}"


ZERO = Span(0.0, 0.0)


class Degradation(ABC):
    """A recipe that makes a low-resolution image. A recipe is a frozen dataclass; its fields are its parameters.

    Attributes:
        name: in configurations, on the command line and in results.
        scans: whether a simulated scanner comes first, which sees whole slices only (`scan`).
        whole: whether `shrink` must be given whole images, each of its pixels depending on all of theirs.
    """

    name: ClassVar[str]
    scans: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    @property
    def reach(self) -> float:
        """Low-resolution pixels around a place that its value depends on; at least the protocol's 4."""
        return 4.0

    def scan(self, slice_hu: FloatImage, spacing: tuple[float, float], seed: int) -> FloatImage:
        """The (H, W) slice in HU as a simulated scanner sees it, on the same pixels; itself where there is none.

        Args:
            spacing: of rows and columns, mm.
            seed: decides the noise.
        """
        return slice_hu

    @abstractmethod
    def shrink(self, image: Tensor, rows: Axis, columns: Axis, chance: np.random.Generator) -> Tensor:
        """The low-resolution image.

        Args:
            image: (…, rows.size_in, columns.size_in) in the networks' range.
            rows, columns: axes that shrink (`step` at least 1).
            chance: decides what is drawn and the noise.

        Returns:
            (…, rows.size_out, columns.size_out).
        """


def seed_of(pixels: npt.NDArray[Any], seed: int) -> int:
    """A seed that differs between images that differ, and between seeds."""
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes() + str(seed).encode()).digest()
    return int.from_bytes(digest[:7])
