"""The eight orientations of an image in the plane: turned about its diagonal, upside down, mirrored."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..grid import Grid


class Orientation(NamedTuple):
    """One of the eight; flips come first, then rows and columns change places (`patches.Place` has it the other way round).

    Attributes:
        turned: rows and columns change places.
        upside_down, mirrored: rows, or columns, in the other order.
    """

    turned: bool
    upside_down: bool
    mirrored: bool

    def of(self, image: Tensor) -> Tensor:
        """(…, H, W) so oriented, in the image's memory format."""
        flipped = image.flip(self._flips) if self._flips else image
        return flipped.mT.contiguous(memory_format=_format(image)) if self.turned else flipped

    def back(self, image: Tensor) -> Tensor:
        """What `of` has oriented as it was."""
        upright = image.mT if self.turned else image
        return upright.flip(self._flips) if self._flips else upright

    def grid(self, grid: Grid) -> Grid:
        """The in-plane grid of an image so oriented."""
        rows = grid.rows.mirrored() if self.upside_down else grid.rows
        columns = grid.columns.mirrored() if self.mirrored else grid.columns
        return Grid.plane(columns, rows) if self.turned else Grid.plane(rows, columns)

    @property
    def _flips(self) -> list[int]:
        return [axis for axis, flip in ((-2, self.upside_down), (-1, self.mirrored)) if flip]


ORIENTATIONS = tuple(
    Orientation(*one)
    for one in (
        (False, False, False), (False, True, True), (True, False, False), (True, True, True),
        (False, True, False), (False, False, True), (True, True, False), (True, False, True),
    )
)  # fmt: skip
"""All eight; the first two, and the first four, are as unlike as so many can be and make a group."""


def _format(image: Tensor) -> torch.memory_format:
    channels_last = image.ndim == 4 and image.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format
