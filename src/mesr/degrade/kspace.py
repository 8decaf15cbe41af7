"""Truncated k-space: what an MR scanner sees that stops measuring at the low resolution's highest frequency.

The spectrum of the image is cut to the frequencies that the low-resolution grid can hold, |f| ≤ 1/(2s) cycles a
pixel, and the band-limited image that remains is sampled where the grid's pixel centres lie. Cropping an FFT does
the same but for half a pixel, and only where the cut falls between whole frequencies; written as one matrix per
axis it holds for any scale, and for a patch it costs only the patch's own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..grid import Axis
from .contract import Degradation

Window = Literal["none", "hamming"]


@dataclass(frozen=True)
class KSpace(Degradation):
    """The low-pass of a shorter acquisition, without noise; images are taken as real and periodic, as FFTs do.

    It needs whole images: a truncated spectrum rings through all of them. The result may swing below the
    darkest value; no magnitude is taken.

    Attributes:
        window: "hamming" tapers the kept frequencies, as scanners do against ringing; "none" cuts sharply.
    """

    name = "kspace"
    whole = True
    window: Window = "none"

    def shrink(self, image: Tensor, rows: Axis, columns: Axis, chance: np.random.Generator) -> Tensor:
        down, across = (torch.from_numpy(low_pass(axis, self.window)).to(image) for axis in (rows, columns))
        return down @ image @ across.T


def low_pass(axis: Axis, window: Window = "none") -> npt.NDArray[np.float64]:
    """(N', N) weights: a row samples the band-limited image at one output pixel's centre.

    A frequency that lies on the cut is counted half, and so is the same for a signal and its mirror image.
    """
    count = axis.size_in
    limit = count / (2 * max(Fraction(1), axis.step))
    frequencies = np.arange(int(limit) + 1)
    kept = np.where(frequencies == 0, 1.0, 2.0)
    if frequencies[-1] == limit:
        kept[-1] /= 2
    if window == "hamming":
        kept *= 0.54 + 0.46 * np.cos(np.pi * frequencies / float(limit))
    turn = 2 * np.pi * frequencies / count
    there, here = np.outer(axis.coordinates(), turn), np.outer(np.arange(count), turn)
    weights = (np.cos(there) * kept) @ np.cos(here).T + (np.sin(there) * kept) @ np.sin(here).T
    return np.asarray(weights / count)
