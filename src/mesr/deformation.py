"""What a rigid movement leaves: organs that moved between the scans, followed by a coarse cubic B-spline.

Optional, because it moves the CBCT to where the metric likes it, right or wrong; a deformation that folds space
is refused and one that goes far is told.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import itk
from .alignment import CLIP_HU, VOXEL_MM, Alignment, Placed, agreement, coarse
from .errors import InputError
from .geometry import Geometry
from .registration import sampled, sampling_mask
from .volume import Mask

CONTROL_MM = 60.0
"""Distance of the spline's control points: stiffer than the noise, softer than a bladder."""
SAMPLES = 60_000
ITERATIONS = 60
FARTHEST_MM = 25.0
"""Organs move so far; to make one patient of another, farther (docs/explanation/pairs.md)."""


def refine(cbct: Placed, ct: Placed, start: Alignment, seed: int = 0) -> tuple[itk.Transform, Alignment]:
    """Follow a rigid alignment by a deformation. The answer is not judged: call its `check`.

    Args:
        cbct, ct: as for `registration.register`.
        start: what that found; its bodies overlap (`Alignment.check_overlap`).
        seed: of the sampling.

    Returns:
        The transform that takes points of the CT (LPS, mm) to points of the CBCT, and the alignment judged anew.

    Raises:
        InputError: code `folded`, the deformation folds space or goes further than organs do.
    """
    sitk = itk.simpleitk()
    values, place = itk.shrunk(np.clip(ct.values, *CLIP_HU), ct.geometry, VOXEL_MM)
    fixed = itk.image(values, place)
    moving = itk.image(*itk.shrunk(np.clip(cbct.values, *CLIP_HU), cbct.geometry, VOXEL_MM))
    back = start.rigid.transform.GetInverse()
    shown = itk.mask_onto(place, itk.image(*coarse(cbct.shown, cbct.geometry)), back)
    shown &= itk.array(sampling_mask(ct)) > 0
    sides = zip(place.size[::-1], place.spacing[::-1], strict=True)
    spline = sitk.BSplineTransformInitializer(fixed, [max(1, round(n * d / CONTROL_MM)) for n, d in sides], 3)
    method = sampled(fixed, itk.image(shown, place), SAMPLES, seed)
    method.SetMovingInitialTransform(back)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-9, numberOfIterations=ITERATIONS)
    try:
        with itk.single_thread():
            method.Execute(fixed, moving)
    except RuntimeError:
        raise _folded("does not settle") from None
    largest = largest_displacement(spline, place, shown)
    if largest > FARTHEST_MM:
        raise _folded(f"goes as far as {largest:.0f} mm")
    whole = sitk.CompositeTransform([back, spline])
    return whole, replace(start, after=agreement(cbct, ct, whole), deformation_mm=largest)


def largest_displacement(spline: itk.Transform, place: Geometry, where: Mask) -> float:
    """The largest displacement, mm, where the mask holds.

    Raises:
        InputError: code `folded`.
    """
    sitk = itk.simpleitk()
    maker = sitk.TransformToDisplacementFieldFilter()
    maker.SetReferenceImage(itk.image(where, place))
    field = maker.Execute(spline)
    jacobian = itk.array(sitk.DisplacementFieldJacobianDeterminant(field))
    if (jacobian[where] <= 0).any():
        raise _folded("folds space")
    return float(np.linalg.norm(itk.array(field)[where], axis=1).max())


def _folded(what: str) -> InputError:
    return InputError(
        "folded",
        f"The deformation that would lay the CBCT over the CT {what}.",
        "Pair this patient with --register rigid.",
    )
