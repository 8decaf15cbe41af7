"""A body to register: soft tissue with organs, bones and gas in places a seed decides, on a couch if asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mesr import itk
from mesr.alignment import Placed, Rigid
from mesr.body import body_mask
from mesr.degrade import ConeBeam, simulate
from mesr.geometry import Geometry
from mesr.volume import Mask

Values = npt.NDArray[np.float32]

BEAM = ConeBeam(views=90, element_mm=2.0, photons=3e4)
"""Few views and few photons: quick, and worse than any real scan."""


def geometry(size: tuple[int, int, int] = (28, 72, 80), spacing: float = 4.2) -> Geometry:
    """Cubes around the origin."""
    first = [-(n - 1) / 2 * spacing for n in size]
    return Geometry(size, (spacing,) * 3, (first[2], first[1], first[0]))


def body(seed: int = 0, place: Geometry | None = None, couch: bool = False) -> tuple[Values, Geometry]:
    """HU of a trunk, 300 mm wide where there is room, and its place."""
    place = place or geometry()
    k, i, j = np.indices(place.size, dtype=np.float32)
    z, y, x = (
        (index - (n - 1) / 2) * d for index, n, d in zip((k, i, j), place.size, place.spacing, strict=True)
    )
    chance = np.random.default_rng(seed)
    width, depth = 135 + chance.uniform(-8, 8), 95 + chance.uniform(-8, 8)
    inside = (x / (width + 0.1 * z)) ** 2 + (y / depth) ** 2 < 1
    values = np.full(place.size, -1000, np.float32)
    values[inside] = -60
    for number in range(36):
        centre = chance.uniform(-1, 1, 3) * (70, 70, 100)
        radii = chance.uniform(8, 28, 3)
        within = sum(((c - m) / r) ** 2 for c, m, r in zip((z, y, x), centre, radii, strict=True)) < 1
        values[within & inside] = (700, 60, 40, -800, 30, 90)[number % 6]
    if couch:
        values[:, -8:-7, 8:-8] = -200
    return values, place


def placed(values: Values, place: Geometry, *, cone_beam: bool = False) -> Placed:
    """With its body."""
    return Placed(values, place, body_mask(values, place, calibrated=not cone_beam))


def cylinder(place: Geometry, radius_mm: float) -> Mask:
    """The field of view of a cone-beam scanner around the middle of the slices."""
    _, i, j = np.indices(place.size)
    (_, rows, columns), (_, dy, dx) = place.size, place.spacing
    return np.asarray(np.hypot((i - (rows - 1) / 2) * dy, (j - (columns - 1) / 2) * dx) < radius_mm)


def bent(place: Geometry, size_mm: float) -> itk.Transform:
    """A smooth displacement along x, at most `size_mm`."""
    sitk = itk.simpleitk()
    k, _, j = np.indices(place.size)
    field = np.zeros((*place.size, 3))
    n, m = place.size[0], place.size[2]
    field[..., 0] = size_mm * np.sin(np.pi * k / (n - 1)) * np.sin(2 * np.pi * j / (m - 1))
    image = sitk.GetImageFromArray(field, isVector=True)
    image.CopyInformation(itk.image(np.zeros(place.size, np.float32), place))
    return sitk.DisplacementFieldTransform(image)


def cone_beam(
    values: Values, place: Geometry, moved: Rigid, onto: Geometry, seed: int = 0, beam: ConeBeam = BEAM
) -> Values:
    """The same body seen by a cone-beam scanner with another zero and another gain, in another place.

    Args:
        moved: takes points of the CBCT to points of the CT, what registration is to find.
        onto: the grid of the CBCT.
    """
    there = itk.onto(onto, itk.image(values, place), moved.transform, -1000.0)
    spacing = onto.spacing[1:]
    slices = [simulate(one, spacing, beam, seed + k) for k, one in enumerate(there)]
    return np.asarray(0.9 * np.stack(slices) - 40, dtype=np.float32)
