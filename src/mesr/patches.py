"""Where a patch lies in its slice, and which low-resolution pixels belong to which reference pixels."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .grid import Axis


class Place(NamedTuple):
    """Where in its slice a patch lies, and how it is turned, then flipped, after it is cut.

    `models.orientations.Orientation` has the same fields and the other order.
    """

    rows: slice
    columns: slice
    turned: bool
    upside_down: bool
    mirrored: bool

    def oriented(self, patch: Tensor) -> Tensor:
        """A patch that was cut from there, (H, W), as the batch shows it."""
        patch = patch.T if self.turned else patch
        flips = [axis for axis, flip in enumerate((self.upside_down, self.mirrored)) if flip]
        return patch.flip(flips) if flips else patch


def margin(scale: Fraction, reach: float = 4.0) -> int:
    """Reference pixels around a patch that its degraded form depends on: `reach` low-resolution ones, or 4·s."""
    return math.ceil(Fraction(reach) * scale)


def moved(axis: Axis, first: int, size: int) -> Axis:
    """The same axis, counted in a slice of `size` pixels of which its own begin at `first`."""
    return Axis(size, axis.size_out, axis.step, axis.start + first, axis.centre + first)


def shrinking(axis: Axis, edge: int) -> Axis:
    """The axis that makes `axis.size_in` pixels from the `axis.size_out` reference ones and `edge` more each side."""
    step = 1 / axis.step
    start = edge + (step - 1) / 2
    size = axis.size_out + 2 * edge
    return Axis(size, axis.size_in, step, start, Fraction(size - 1, 2))


def softened(image: Tensor) -> Tensor:
    """(H, W) under a Gaussian of one pixel (five taps), its edges continued."""
    taps = torch.exp(-0.5 * torch.arange(-2.0, 3.0) ** 2)
    taps = (taps / taps.sum()).to(image)
    padded = F.pad(image[None, None], (2, 2, 2, 2), mode="replicate")
    return F.conv2d(padded, torch.outer(taps, taps)[None, None])[0, 0]
