"""Where the patient is in a whole CT or CBCT: the couch, clothes and wires left out, lungs and bowel gas kept.

For pairing and registering scans. What single slices are measured on is `metrics.body_mask`.
"""

from __future__ import annotations

import numpy as np

from . import itk
from .errors import InputError
from .geometry import Geometry
from .intensity import BODY_HU
from .volume import FloatImage, Mask

GRID_MM = 3.0
"""Masks are found on voxels of this size: fast, and finer than a patient lies still."""
COUCH_MM = 4.0
"""What is thinner than about twice this goes: the couch's shell, sheets, tubes; a chest wall stays."""
LEAST_PIECE = 1 / 3
"""Separate pieces are kept from this share of the largest on: both legs, but no couch."""


def body_mask(
    values: FloatImage, geometry: Geometry, *, calibrated: bool = True, rim_mm: float = 0.0
) -> Mask:
    """Threshold, without what is thin, the largest piece, holes filled slice by slice.

    Args:
        values: (D, H, W), HU or nearly so; padding filled with air.
        calibrated: whether −500 HU divides air from tissue; else (CBCT) Otsu's threshold does.
        rim_mm: so much of the air around, in-plane, is taken in.

    Returns:
        (D, H, W) bool, in steps of about 3 mm.

    Raises:
        InputError: code `no-body`, nothing was found, or nothing but body.
        MissingExtra: SimpleITK is not installed.
    """
    sitk = itk.simpleitk()
    coarse, place = itk.shrunk(values, geometry, GRID_MM)
    threshold = BODY_HU if calibrated else _otsu(coarse)
    solid = sitk.GetImageFromArray((coarse > threshold).astype(np.uint8))
    reach = [max(1, round(COUCH_MM / d)) for d in place.spacing[:0:-1]] + [0]
    core = _large(sitk.BinaryErode(solid, reach, sitk.sitkBall))
    grown = sitk.And(sitk.BinaryDilate(core, [r + 1 for r in reach[:2]] + [0], sitk.sitkBall), solid)
    filled = sitk.JoinSeries([sitk.BinaryFillhole(grown[:, :, k]) for k in range(place.size[0])])
    if rim_mm:
        filled = sitk.BinaryDilate(filled, [*(round(rim_mm / d) for d in place.spacing[:0:-1]), 0])
    found = itk.array(filled) > 0
    if not 0 < int(found.sum()) < found.size:
        raise InputError(
            "no-body",
            "A body with air around it was expected in the scan, found none.",
            "Check that it is CT.",
        )
    return _enlarged(found, geometry, place)


def overlap(one: Mask, other: Mask) -> float:
    """Dice's coefficient of two masks, 0…1; 0 where both are empty."""
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 0.0


def _otsu(values: FloatImage) -> float:
    """Otsu's threshold of what lies between air and soft tissue, whatever the zero of the scale."""
    low, high = np.percentile(values, [0.5, 99.5])
    counts, edges = np.histogram(np.clip(values, low, high), bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * np.square(sums / below - (sums[-1] - sums) / above)
    if np.isnan(apart).all():
        raise InputError("no-body", "A body with air around it was expected in the scan, found one value.")
    return float(middles[int(np.nanargmax(apart))])


def _large(mask: itk.Image) -> itk.Image:
    sitk = itk.simpleitk()
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(mask))
    sizes = np.bincount(itk.array(pieces).ravel())[1:]
    count = int((sizes >= LEAST_PIECE * sizes[0]).sum()) if len(sizes) else 0
    return sitk.And(pieces > 0, pieces <= count)


def _enlarged(mask: Mask, geometry: Geometry, coarse: Geometry) -> Mask:
    """Every voxel of a mask on the blocks of `itk.shrunk`, as the block it stands for; the last reach to the edge."""
    for axis, (n, d, wide) in enumerate(zip(geometry.size, geometry.spacing, coarse.spacing, strict=True)):
        taken = np.minimum(np.arange(n) // round(wide / d), mask.shape[axis] - 1)
        mask = mask.take(taken, axis=axis)
    return mask
