"""Small volumes made in memory, and one nearest-neighbour enlargement of them, for tests of every format."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mesr.geometry import Geometry
from mesr.grid import Axis, Grid, fraction
from mesr.volume import ArraySlices, Derivation, Slice, Volume

SIZE = (4, 5, 6)


def turned() -> np.ndarray:
    """A rotation about two axes; its columns are the directions of column, row and slice."""
    a, b = 0.3, -0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_z @ about_x


def upright() -> Geometry:
    """Axes along the patient's."""
    return Geometry(SIZE, (2.5, 0.7, 0.6), (10.5, -20.25, 30.0))


def oblique() -> Geometry:
    """Axes turned against the patient's, at right angles."""
    column, row, slice_ = (tuple(v) for v in turned().T)
    return Geometry(SIZE, (2.5, 0.7, 0.6), (10.5, -20.25, 30.0), slice_, row, column)


def sheared() -> Geometry:
    """As after a tilted gantry: slices shift along their rows."""
    column, row, normal = turned().T
    slice_ = normal + 0.33 * row
    slice_ /= np.linalg.norm(slice_)
    return Geometry(SIZE, (2.5, 0.7, 0.6), (10.5, -20.25, 30.0), tuple(slice_), tuple(row), tuple(column))


def counted(size: tuple[int, int, int] = SIZE) -> np.ndarray:
    """Whole float32 numbers from −500, all different, no two axes alike."""
    return (np.arange(np.prod(size), dtype=np.float32) * 7 - 500).reshape(size)


def volume(geometry: Geometry | None = None, array: np.ndarray | None = None, **more: object) -> Volume:
    """A volume of an array, by default the counted one in an oblique place."""
    geometry = geometry or oblique()
    array = counted(geometry.size) if array is None else array
    return Volume(geometry, ArraySlices(array), **more)


def enlarged(source: Volume, scale: str = "2.5") -> Volume:
    """`source` with each voxel of the result taken from the nearest, as a computed volume."""
    slices, rows, columns = source.geometry.size
    across = fraction(scale)
    grid = Grid(Axis.identity(slices), Axis.scaled(rows, across), Axis.scaled(columns, across))
    array = source.array[:, grid.rows.nearest().pixel][:, :, grid.columns.nearest().pixel]
    made = Derivation("nearest", "0" * 64, grid, f"scale {scale}", "none", "float32", 1)
    return replace(
        source,
        geometry=source.geometry.resampled(grid),
        slices=ArraySlices(np.ascontiguousarray(array)),
        derivation=made,
    )


def head() -> np.ndarray:
    """Whole HU: air around a disk of soft tissue with a shell of bone."""
    y, x = np.mgrid[:40, :36]
    radius = np.hypot(y - 20, x - 18)
    hu = np.where(radius < 12, 40.0, -1000.0)
    hu[(radius >= 12) & (radius < 14)] = 900
    return np.rint(hu + 10 * np.sin(3 * x))[None].astype(np.float32)


def scan_of(
    array: np.ndarray, modality: object = None, unit: str | None = None, spacing: float = 0.8
) -> Volume:
    """A volume with a place, of slices 5 mm apart, that says its modality or not."""
    unit = unit if unit is not None else "HU" if modality == "CT" else ""
    geometry = Geometry(array.shape, (5.0, spacing, spacing))
    return Volume(geometry, ArraySlices(array), modality, unit)


@dataclass
class SameSlices:
    """One slice over and over, so that a long volume takes no memory of its own."""

    one: Slice
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int, /) -> Slice:
        return self.one


def peak_of(work: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held at a time for `work`, beyond what they held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
