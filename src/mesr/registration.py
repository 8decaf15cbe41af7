"""Rigid registration of a cone-beam CT to the planning CT of the same patient, in three dimensions.

Mutual information (Mattes) needs no common scale of values. The best of several starts on coarse voxels is
refined on finer ones, in the end by every voxel; samples are regular and seeded and all runs on one thread, so
that a run repeats exactly. The fixed image is the CBCT, which is the smaller: every sample of it then lies in the CT.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import itk
from .alignment import CLIP_HU, Alignment, Placed, Points, Rigid, agreement, coarse
from .errors import GeometryInput
from .geometry import Geometry

LEVELS_MM = (8.0, 4.0, 2.0)
SAMPLES = (20_000, 20_000, 0)
"""Of the fixed image at each level, the air outside the mask included; 0 for every voxel, which halves the error."""
BINS = 40
STARTS = 3
"""Starts that are followed to their optimum on the coarsest level; the others are only tried."""
STEP_MM = 20.0
"""From one start to the next along the CT."""
RIM_MM = 10.0
"""Air around the body that takes part: the skin is an edge to go by."""
LEAST_INSIDE = 0.5
"""Of the body in the CBCT, the share that must lie inside the CT."""


def register(cbct: Placed, ct: Placed, seed: int = 0) -> Alignment:
    """Find the CBCT's place in the CT. The answer is not judged: call its `check`.

    Args:
        cbct, ct: in LPS mm; where the files place them is one start among others.
        seed: of the sampling.

    Raises:
        GeometryInput: code `no-overlap`, they cannot be laid over each other; or `no-spacing`.
        MissingExtra: SimpleITK is not installed.
    """
    _refuse_unplaced(cbct, ct)
    with itk.single_thread():
        found = _registered(cbct, ct, seed)
    return assess(cbct, ct, found)


def _registered(cbct: Placed, ct: Placed, seed: int) -> Rigid:
    body = _points(cbct)
    mask, levels = sampling_mask(cbct), [(_level(cbct, mm), _level(ct, mm)) for mm in LEVELS_MM]
    method = _method(0, levels[0][0], mask, seed)
    starts = [start for start in _starts(ct, body) if _inside(body, start, ct.geometry) >= LEAST_INSIDE]
    if not starts:
        raise GeometryInput(
            "no-overlap",
            "Half of the body in the CBCT should lie inside the CT; at none of the places tried does it.",
            "Check that both show one region, and that the CT is the larger.",
        )
    starts.sort(key=lambda start: _information(method, levels[0], start), reverse=True)
    followed = [_optimised(method, levels[0], start) for start in starts[:STARTS]]
    found = max(followed, key=lambda one: _information(method, levels[0], one))
    for level in range(1, len(levels)):
        found = _optimised(_method(level, levels[level][0], mask, seed), levels[level], found)
    return found


def assess(cbct: Placed, ct: Placed, found: Rigid | None = None) -> Alignment:
    """How a movement lays the CBCT over the CT; without one, as the files place them.

    Raises:
        GeometryInput: code `no-spacing`, a file carries no place.
    """
    _refuse_unplaced(cbct, ct)
    still = Rigid.shifted(np.zeros(3), _points(cbct).mean(axis=0))
    before = agreement(cbct, ct, still.transform)
    if found is None:
        return Alignment(still, before, before)
    return Alignment(found, before, agreement(cbct, ct, found.transform.GetInverse()))


def sampling_mask(scan: Placed) -> itk.Image:
    """Where samples are taken: the body and a rim of air, inside the field of view."""
    sitk = itk.simpleitk()
    body = itk.image(*coarse(scan.body, scan.geometry))
    reach = [max(1, round(RIM_MM / d)) for d in body.GetSpacing()[:2]]
    return sitk.And(sitk.BinaryDilate(body, [*reach, 0]), itk.image(*coarse(scan.shown, scan.geometry)))


def sampled(fixed: itk.Image, mask: itk.Image, samples: int, seed: int) -> itk.Image:
    """SimpleITK's registration method with the metric and the sampling set, still without an optimiser.

    Args:
        samples: so many voxels at most; every one in the mask where it is 0.
    """
    sitk = itk.simpleitk()
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    if samples:
        method.SetMetricSamplingStrategy(method.REGULAR)
        # A seed of zero would be the clock.
        method.SetMetricSamplingPercentage(min(1.0, samples / fixed.GetNumberOfPixels()), seed + 1)
    else:
        method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _refuse_unplaced(*scans: Placed) -> None:
    if not all(scan.geometry.known for scan in scans):
        raise GeometryInput("no-spacing", "Registering needs a spacing in mm, found none in the file.")


def _method(level: int, fixed: itk.Image, mask: itk.Image, seed: int) -> itk.Image:
    """The registration of one level; the scales make a millimetre weigh the same along every parameter.

    Steps of a set length reach far and shrink slowly enough not to stop on the way.
    """
    method = sampled(fixed, mask, SAMPLES[level], seed)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=0.005, numberOfIterations=200, relaxationFactor=0.8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _starts(ct: Placed, body: Points) -> Iterator[Rigid]:
    """None, body to body, and the CBCT's body at every height of the CT's."""
    centre, there = body.mean(axis=0), _points(ct)
    normal = ct.geometry.normal
    heights = there @ normal
    yield Rigid.shifted(np.zeros(3), centre)
    yield Rigid.shifted(there.mean(axis=0) - centre, centre)
    for height in np.arange(heights.min(), heights.max() + STEP_MM, STEP_MM):
        near = there[np.abs(heights - height) <= STEP_MM].mean(axis=0)
        # The mean of the last slices lies before their end; the start should not.
        yield Rigid.shifted(near + (height - near @ normal) * normal - centre, centre)


def _optimised(method: itk.Image, images: tuple[itk.Image, itk.Image], start: Rigid) -> Rigid:
    transform = start.transform
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(*images)
    except RuntimeError:  # It walked to where the scans no longer overlap.
        return start
    return Rigid.of(transform)


def _information(method: itk.Image, images: tuple[itk.Image, itk.Image], where: Rigid) -> float:
    """The metric, more is better; −∞ where too little overlaps for one."""
    method.SetInitialTransform(where.transform)
    try:
        return -float(method.MetricEvaluate(*images))
    except RuntimeError:
        return float("-inf")


def _level(scan: Placed, spacing: float) -> itk.Image:
    return itk.image(*itk.shrunk(np.clip(scan.values, *CLIP_HU), scan.geometry, spacing))


def _points(scan: Placed) -> Points:
    """LPS mm of the body's voxels on a coarse grid, (N, 3)."""
    values, place = itk.shrunk(scan.body.astype(np.float32), scan.geometry, LEVELS_MM[0])
    return _moved(np.argwhere(values >= 0.5 * values.max()).astype(np.float64), place.affine)


def _inside(points: Points, where: Rigid, geometry: Geometry) -> float:
    """The share of `points` that, once moved, lie in the box of `geometry`."""
    voxels = _moved(points, np.linalg.inv(geometry.affine) @ where.matrix)
    return float(((voxels >= -0.5) & (voxels <= np.array(geometry.size) - 0.5)).all(axis=1).mean())


def _moved(points: Points, matrix: Points) -> Points:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])
