"""Measures of an image as it is, where no finer truth exists: noise, sharpness of an edge, mean of an insert.

Lengths are in mm and frequencies in line pairs a mm, so that an image and its super-resolved form compare.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from .volume import FloatImage, Mask

Samples = npt.NDArray[np.floating]
Place = tuple[float, float]
"""Row and column, in pixels; pixel centres are whole numbers."""

NOISE_MM = 2.0
"""Width (σ) of the local mean that noise is the deviation from."""

NORMAL = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""

BIN_MM = 0.05
"""Of the distances at which an edge is sampled: finer than the pixels, whose places around an edge all differ."""

SKIN_HU = -500.0
"""Halfway from air to skin."""
SKIN_MM = 1.0
"""Width (σ) of the Gaussian under which the skin is found: its place is to hang on no single pixel's noise."""
OUTSIDE_MM, INSIDE_MM = (2.5, 4.0, 8.0, 12.0, 16.0), (4.0, 6.0)
"""Where, from the skin on, there must be air, and tissue: no windpipe, couch or cloth."""
LEAST_SKIN_MM = 35.0
"""Of skin against open air; with less an edge hangs on few pixels."""
OPEN_AIR_HU, TISSUE_HU = -940.0, (-250.0, 250.0)


class Edge(NamedTuple):
    """An edge spread: mean values at distances across an edge, mm, negative inside; both (n,)."""

    distance: Samples
    value: Samples


class Skin(NamedTuple):
    """Where a patient's skin is.

    Attributes:
        places: (n, 2), rows' and columns' direction, mm from the corner of the image, so that it holds for any pixel size.
        outwards: (n, 2), of length 1.
        bare: (n,), whether there is nothing but air on one side and tissue on the other.
    """

    places: Samples
    outwards: Samples
    bare: Mask


def noise(values: FloatImage, inside: Mask, spacing: Place) -> float:
    """Standard deviation of the fine grain: deviations from a local mean `NOISE_MM` wide.

    Their median is taken, so that a few edges inside do not count.

    Args:
        values: (H, W) in the scan's unit.
        inside: (H, W), where it is taken.
        spacing: mm between rows and between columns.

    Returns:
        In the scan's unit; NaN where there is no pixel.
    """
    deviation = np.abs(values - local_mean(values, spacing))[inside]
    return NORMAL * float(np.median(deviation)) if deviation.size else math.nan


def local_mean(values: FloatImage, spacing: Place) -> FloatImage:
    """(H, W) under a Gaussian `NOISE_MM` wide, edges continued."""
    return _gaussian(values, NOISE_MM, spacing)


def disc_mean(values: FloatImage, centre: Place, radius: float, spacing: Place) -> float:
    """Mean of the pixels whose centres lie within `radius` mm of a place; NaN where there are none."""
    inside = _distances(values.shape, centre, spacing) <= radius
    return float(values[inside].mean(dtype=np.float64)) if inside.any() else math.nan


def disc_edge(values: FloatImage, centre: Place, radius: float, spacing: Place, reach: float = 3.0) -> Edge:
    """The edge spread of a disc: pixels by their distance from its rim (Richard et al. 2012).

    Args:
        centre: near the disc's; it is refined to the middle of what stands out there.
        radius: mm.
        reach: mm looked at on both sides of the rim.
    """
    found = _refined(values, centre, radius, spacing)
    away = _distances(values.shape, found, spacing) - radius
    near = np.abs(away) <= reach
    return _binned(away[near], values[near].astype(np.float64), min(spacing))


def find_skin(values: FloatImage, spacing: Place) -> Skin | None:
    """Where a patient's skin meets open air (Sanders et al. 2016), to be looked at in any image of the same field.

    Args:
        values: (H, W) in HU.
        spacing: mm between rows and between columns.

    Returns:
        None where less than `LEAST_SKIN_MM` of it does.
    """
    smooth = _gaussian(values, SKIN_MM, spacing)
    places, outwards = _surface(smooth, spacing)
    bare = _bare(smooth, places, outwards, spacing)
    # Lines of either kind that a contour of any direction crosses, 4/π a spacing of its length on average.
    length = np.count_nonzero(bare) * (spacing[0] + spacing[1]) / 2 * math.pi / 4
    return Skin(places + np.array(spacing) / 2, outwards, bare) if length >= LEAST_SKIN_MM else None


def skin_edge(values: FloatImage, spacing: Place, skin: Skin, reach: float = 3.0) -> Edge:
    """The edge spread of the skin against open air: pixels by their distance from it.

    Edges blurred by more than a Gaussian of 0.85 mm do not end within the usual reach and seem sharper than they are.

    Args:
        values: (H, W) in HU, of the field the skin was found in.
        spacing: mm between rows and between columns.
        reach: mm looked at on both sides.
    """
    places, outwards, bare = skin
    half = np.array(spacing) / 2
    rows, columns = np.nonzero(_near(values.shape, places[bare] - half, reach, spacing))
    pixels = np.stack([rows, columns], axis=1) * spacing + half
    nearest = np.concatenate([
        torch.cdist(torch.from_numpy(part), torch.from_numpy(places)).argmin(dim=1).numpy()
        for part in np.array_split(pixels, 1 + len(pixels) // 2048)
    ])  # fmt: skip
    away = ((pixels - places[nearest]) * outwards[nearest]).sum(axis=1)
    used = bare[nearest] & (np.abs(away) <= reach)
    return _binned(away[used], values[rows, columns][used].astype(np.float64), min(spacing))


def mtf(edge: Edge) -> tuple[Samples, Samples]:
    """Frequencies, lp/mm, and the modulation there, 1 at zero: the spectrum of the edge spread's slope."""
    step = float(edge.distance[1] - edge.distance[0])
    slope = np.gradient(edge.value, step)
    # A line spread ends in noise, which a window keeps out of the spectrum; flat over its middle half.
    middle = float(np.sum(edge.distance * np.abs(slope)) / max(np.sum(np.abs(slope)), 1e-12))
    half = (edge.distance[-1] - edge.distance[0]) / 2
    outwards = np.clip(2 * np.abs(edge.distance - middle) / half - 1, 0, 1)
    slope = slope * np.cos(outwards * math.pi / 2) ** 2
    length = 1 << math.ceil(math.log2(8 * len(slope)))
    spectrum = np.abs(np.fft.rfft(slope, length))
    return np.fft.rfftfreq(length, step), spectrum / max(float(spectrum[0]), 1e-12)


def mtf50(edge: Edge) -> float:
    """The frequency, lp/mm, at which the modulation first falls to one half; NaN where it never does."""
    frequency, modulation = mtf(edge)
    below = np.flatnonzero(modulation < 0.5)
    if not len(below) or below[0] == 0:
        return math.nan
    n = int(below[0])
    share = (modulation[n - 1] - 0.5) / (modulation[n - 1] - modulation[n])
    return float(frequency[n - 1] + share * (frequency[n] - frequency[n - 1]))


def _binned(away: Samples, value: Samples, pixel: float) -> Edge:
    """Means over distances, at even steps; an empty bin takes what lies between its neighbours."""
    step = max(BIN_MM, pixel / 8)
    number = np.rint(away / step).astype(np.int64)
    first = int(number.min())
    counts = np.bincount(number - first)
    sums = np.bincount(number - first, value)
    distance = (np.arange(len(counts)) + first) * step
    filled = counts > 0
    return Edge(distance, np.interp(distance, distance[filled], sums[filled] / counts[filled]))


def _surface(smooth: FloatImage, spacing: Place) -> tuple[Samples, Samples]:
    """Where neighbouring pixels lie on two sides of `SKIN_HU`, mm from the first one, and the way out: both (n, 2)."""
    down, across = np.gradient(smooth.astype(np.float64), *spacing)
    slopes = np.stack([down, across], axis=-1)
    places, ways = [], []
    for axis in (0, 1):
        one, other = (np.delete(smooth, end, axis=axis) - SKIN_HU for end in (-1, 0))
        crossed = one * other < 0
        share = one[crossed] / (one[crossed] - other[crossed])
        place = np.argwhere(crossed).astype(np.float64)
        before, beyond = (np.delete(slopes, end, axis=axis)[crossed] for end in (-1, 0))
        way = before * (1 - share[:, None]) + beyond * share[:, None]
        place[:, axis] += share
        places.append(place * spacing)
        ways.append(-way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-12))
    return np.concatenate(places), np.concatenate(ways)


def _bare(values: FloatImage, places: Samples, outwards: Samples, spacing: Place) -> Mask:
    """(n,) of places that have open air on one side and tissue on the other."""

    def met(distance: float) -> Samples:
        at = np.rint((places + distance * outwards) / spacing).astype(np.int64)
        inside = np.all((at >= 0) & (at < np.array(values.shape)), axis=1)
        rows, columns = np.where(inside[:, None], at, 0).T
        found: Samples = np.where(inside, values[rows, columns], np.nan)
        return found

    bare = np.ones(len(places), dtype=bool)
    for distance in OUTSIDE_MM:
        bare &= met(distance) < OPEN_AIR_HU
    for distance in INSIDE_MM:
        bare &= (met(-distance) > TISSUE_HU[0]) & (met(-distance) < TISSUE_HU[1])
    return bare


def _near(shape: tuple[int, ...], places: Samples, reach: float, spacing: Place) -> Mask:
    """(H, W) of the pixels in a square about one of the places."""
    near = np.zeros(shape, dtype=np.float32)
    near[tuple(np.rint(places / spacing).astype(np.int64).T)] = 1.0
    wide = tuple(2 * math.ceil(reach / distance + 1) + 1 for distance in spacing)
    grown = F.max_pool2d(torch.from_numpy(near)[None, None], wide, 1, tuple(size // 2 for size in wide))
    return np.asarray(grown[0, 0].numpy() > 0)


def _refined(values: FloatImage, centre: Place, radius: float, spacing: Place) -> Place:
    """The disc's centre: of the pixels near it weighted by how far they stand out from what surrounds the rim."""
    for _ in range(3):
        away = _distances(values.shape, centre, spacing)
        ring = (away > 1.2 * radius) & (away <= 1.4 * radius)
        near = away <= 1.2 * radius
        if not ring.any():
            return centre
        weight = np.where(near, values - float(np.median(values[ring])), 0.0)
        weight = weight * np.sign(weight[away <= 0.5 * radius].sum())
        weight = np.clip(weight - 0.25 * float(weight.max()), 0, None)
        if weight.sum() <= 0:
            return centre
        rows, columns = np.indices(values.shape)
        centre = float((weight * rows).sum() / weight.sum()), float((weight * columns).sum() / weight.sum())
    return centre


def _distances(shape: tuple[int, ...], centre: Place, spacing: Place) -> Samples:
    rows = (np.arange(shape[0]) - centre[0]) * spacing[0]
    columns = (np.arange(shape[1]) - centre[1]) * spacing[1]
    away: Samples = np.hypot(rows[:, None], columns)
    return away


def _gaussian(values: FloatImage, sigma: float, spacing: Place) -> FloatImage:
    """(H, W) under a Gaussian of `sigma` mm, edges continued."""
    mean = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    for axis, distance in enumerate(spacing):
        mean = _smoothed(mean, sigma / distance, axis)
    return np.asarray(mean[0, 0].numpy())


def _smoothed(image: torch.Tensor, sigma: float, axis: int) -> torch.Tensor:
    """(1, 1, H, W) under a Gaussian of `sigma` pixels along rows' or columns' direction, edges continued."""
    reach = min(math.ceil(3 * sigma), image.shape[2 + axis] - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (
        (kernel / kernel.sum()).view(1, 1, -1, 1) if axis == 0 else (kernel / kernel.sum()).view(1, 1, 1, -1)
    )
    pad = (0, 0, reach, reach) if axis == 0 else (reach, reach, 0, 0)
    return F.conv2d(F.pad(image, pad, mode="replicate"), kernel)
