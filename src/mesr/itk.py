"""The bridge to SimpleITK, which registers scans and cleans masks; imported when first needed (extra `[itk]`).

Only arrays go in: files are read by `io`, never by ITK, whose decoders are not meant for untrusted input.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import MissingExtra
from .geometry import Geometry
from .volume import FloatImage

Image = Any
"""A `SimpleITK.Image`, and likewise below: the package carries no types."""
Transform = Any

LEAST_WIDER = 1e-3
"""Steps no larger than this (relative, of their square) are rounding, not shrinking."""
LEAST_NEAR = 1e-3
"""Share of a kernel's weight on measured voxels that makes a mean."""
KERNEL_ERROR, KERNEL_WIDTH = 1e-3, 129
"""What of a Gaussian may be cut off, and the most voxels it may have."""


def simpleitk() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module("SimpleITK")
    except ImportError:
        raise MissingExtra(package="SimpleITK", extra="itk", purpose="Registering scans") from None


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Sums in one order, so that a run repeats to the last bit; a filter's own setting does not reach all of it."""
    process = simpleitk().ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(before)


def image(values: npt.NDArray[Any], geometry: Geometry) -> Image:
    """An array (D, H, W) as an image in its place (LPS, mm); masks become 0 and 1.

    A sheared geometry keeps its shear: ITK takes any direction matrix that can be inverted.
    """
    plain = values.astype(np.uint8) if values.dtype == np.bool_ else np.asarray(values, np.float32)
    made = simpleitk().GetImageFromArray(plain)
    made.SetSpacing(geometry.spacing[::-1])
    made.SetOrigin(geometry.origin)
    made.SetDirection(geometry.directions[::-1].T.ravel().tolist())
    return made


def array(source: Image) -> npt.NDArray[Any]:
    """The values of an image, (D, H, W), copied."""
    return np.asarray(simpleitk().GetArrayFromImage(source))


def onto(geometry: Geometry, source: Image, transform: Transform, outside: float) -> FloatImage:
    """`source` on another grid, by cubic B-spline; `outside` where it does not reach.

    Args:
        transform: takes points of `geometry` (LPS, mm) to points of `source`.

    Returns:
        (D, H, W) float32.
    """
    sitk = simpleitk()
    return array(_resampled(geometry, source, transform, sitk.sitkBSpline, outside)).astype(np.float32)


def antialiased(
    values: FloatImage, measured: npt.NDArray[np.bool_], geometry: Geometry, onto: Geometry
) -> FloatImage:
    """Low-pass a scan that `onto` is to sample more coarsely: a Gaussian along each axis with larger steps there.

    ITK's discrete Gaussian, σ = √(target² − own²)/3, in mm, where target is how far one step of each axis of `onto`
    goes along this axis of the scan (√ of the sum of squares). White noise then falls as it does in means of the
    target's voxels; a full width at half maximum of √(target² − own²), which is common too, would blur by a quarter
    more. Rotations that registration finds are too small to count.

    Args:
        values: (D, H, W).
        measured: (D, H, W) False outside the field of view. What is there is replaced, as far as the kernel reaches,
            by the mean of what was measured around, so that no rim of padding gets into the body.
        geometry: of the scan.
        onto: what it is to be sampled on.

    Returns:
        (D, H, W), on the scan's own grid; `values` themselves where nothing is coarser and all was measured.
    """
    step = np.linalg.inv(geometry.affine[:3, :3]) @ onto.affine[:3, :3]
    wider = np.maximum(np.square(step).sum(axis=1) - 1, 0)
    variance = np.where(wider > LEAST_WIDER, wider / 9, 0.0)
    if not measured.all():
        values = _continued(values, measured, np.maximum(variance, 1.0))
    return _gaussian(values, variance) if variance.any() else values


def mask_onto(geometry: Geometry, source: Image, transform: Transform) -> npt.NDArray[np.bool_]:
    """A mask on another grid by the nearest rule, False where it does not reach; see `onto`."""
    sitk = simpleitk()
    return array(_resampled(geometry, source, transform, sitk.sitkNearestNeighbor, 0.0)) > 0


def shrunk(values: FloatImage, geometry: Geometry, spacing: float) -> tuple[FloatImage, Geometry]:
    """Means of whole blocks of voxels of at most `spacing` mm a side (or one voxel), and their geometry.

    What does not fill a block at the end of an axis is left out.
    """
    factors = [
        max(1, min(n, int(spacing / d + 1e-6))) for n, d in zip(geometry.size, geometry.spacing, strict=True)
    ]
    size = [n // f for n, f in zip(geometry.size, factors, strict=True)]
    kept = values[tuple(slice(n * f) for n, f in zip(size, factors, strict=True))]
    # One axis after the other: numpy is slow where it must sum over several short axes at once.
    for axis, (n, f) in enumerate(zip(size, factors, strict=True)):
        if f > 1:
            shape = (*kept.shape[:axis], n, f, *kept.shape[axis + 1 :])
            kept = kept.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
    first = geometry.position(*((f - 1) / 2 for f in factors))
    dz, dy, dx = (d * f for d, f in zip(geometry.spacing, factors, strict=True))
    place = replace(
        geometry,
        size=(size[0], size[1], size[2]),
        spacing=(dz, dy, dx),
        origin=(float(first[0]), float(first[1]), float(first[2])),
    )
    return kept, place


def _continued(
    values: FloatImage, measured: npt.NDArray[np.bool_], variance: npt.NDArray[np.float64]
) -> FloatImage:
    """Measured values as they are; near them, weighted means of them; `values` beyond."""
    near = _gaussian(measured.astype(np.float32), variance)
    means = _gaussian(np.where(measured, values, np.float32(0)), variance) / np.maximum(near, LEAST_NEAR)
    return np.where(measured | (near < LEAST_NEAR), values, means)


def _gaussian(values: FloatImage, variance: npt.NDArray[np.float64]) -> FloatImage:
    """Smoothed along (D, H, W) by so many voxels², edges continued."""
    sitk = simpleitk()
    smooth = sitk.DiscreteGaussianImageFilter()
    smooth.SetUseImageSpacing(False)
    smooth.SetVariance(variance[::-1].tolist())
    smooth.SetMaximumError(KERNEL_ERROR)
    smooth.SetMaximumKernelWidth(KERNEL_WIDTH)
    return array(smooth.Execute(sitk.GetImageFromArray(values)))


def _resampled(geometry: Geometry, source: Image, transform: Transform, method: int, outside: float) -> Image:
    sitk = simpleitk()
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize(geometry.size[::-1])
    filter_.SetOutputSpacing(geometry.spacing[::-1])
    filter_.SetOutputOrigin(geometry.origin)
    filter_.SetOutputDirection(geometry.directions[::-1].T.ravel().tolist())
    filter_.SetTransform(transform)
    filter_.SetInterpolator(method)
    filter_.SetDefaultPixelValue(outside)
    return filter_.Execute(source)
