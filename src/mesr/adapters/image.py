"""An image as MONAI and TorchIO hold it, super-resolved: channels first, an affine in RAS mm, indices (i, j, k)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..geometry import LPS_TO_RAS, Geometry
from ..grid import Number, Target
from ..inference import Options
from ..models import weights
from ..upscaling import Loaded, apply
from ..volume import ArraySlices, Volume

Array = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]

SWAP = np.eye(4)[[2, 1, 0, 3]]
"""Takes (i, j, k, 1) to (k, j, i, 1) and back: their last axis is our first."""


@dataclass(frozen=True)
class Request:
    """What is asked for, as `mesr.upscale` takes it.

    Attributes:
        scale, spacing, size: exactly one; in-plane are the first two axes of an image, and two numbers are for its
            second (our rows) and its first (our columns).
        model: "auto", weights, an interpolator, or a .safetensors file.
        modality: "CT" or "MR"; None where the values are plainly HU.
        device: "auto", "cpu", "cuda", …
    """

    scale: Number | Sequence[Number] | None = None
    spacing: Number | Sequence[Number] | None = None
    size: int | str | Sequence[int] | None = None
    model: str | os.PathLike[str] = "auto"
    modality: str | None = None
    device: str = "auto"

    def target(self) -> Target:
        """Raises UsageError where it makes no sense."""
        return Target.of(scale=self.scale, spacing=self.spacing, size=self.size)


def super_resolved(
    image: npt.NDArray[np.floating], affine: npt.NDArray[np.floating], request: Request
) -> tuple[Array, Affine]:
    """An image and its affine at another magnification.

    Args:
        image: (C, I, J, K); slices lie along K, channels are done one by one.
        affine: (4, 4), takes (i, j, k, 1) to RAS mm.

    Returns:
        (C, I′, J′, K) float32 and its (4, 4) affine.

    Raises:
        UsageError, InputError, WeightsError: as `mesr.upscale`.
    """
    target, options = request.target(), Options(device=request.device)
    found, geometry = [], None
    name = os.fspath(request.model)
    model: str | Loaded = name if name == "auto" else weights.load(name)
    for channel in image:
        volume = volume_of(channel, affine)
        result = apply(volume, target, model=model, modality=request.modality, options=options)
        found.append(result.array.transpose(2, 1, 0))
        geometry = result.geometry
    if geometry is None:
        raise ValueError(f"an image of one channel at least was expected, found shape {image.shape}")
    return np.stack(found), affine_of(geometry)


def volume_of(image: npt.NDArray[np.floating], affine: npt.NDArray[np.floating]) -> Volume:
    """(I, J, K) and its RAS affine as a volume of K slices of J rows and I columns."""
    array = np.ascontiguousarray(np.asarray(image, dtype=np.float32).transpose(2, 1, 0))
    world = LPS_TO_RAS @ np.asarray(affine, dtype=np.float64) @ SWAP
    depth, rows, columns = array.shape
    return Volume(Geometry.from_affine((depth, rows, columns), world), ArraySlices(array))


def affine_of(geometry: Geometry) -> Affine:
    """The (4, 4) matrix from (i, j, k, 1) to RAS mm."""
    return np.asarray(LPS_TO_RAS @ geometry.affine @ SWAP)
