"""The recipe `cbct`: a simulated low-dose cone-beam scan of the slice, then the protocol's bicubic shrink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..grid import Axis
from ..resample import resize
from ..volume import FloatImage
from .cone_beam import ConeBeam, simulate
from .contract import Degradation


@dataclass(frozen=True)
class Cbct(ConeBeam, Degradation):
    """CT in HU with known pixel spacing only; its parameters are those of `ConeBeam`."""

    name = "cbct"
    scans = True

    def scan(self, slice_hu: FloatImage, spacing: tuple[float, float], seed: int) -> FloatImage:
        """Whole HU, as a scanner stores them."""
        return np.rint(simulate(slice_hu, spacing, self, seed))

    def shrink(self, image: Tensor, rows: Axis, columns: Axis, chance: np.random.Generator) -> Tensor:
        return resize(image, rows, columns, "bicubic")
