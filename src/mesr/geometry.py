"""Where voxels are: a value type in millimetres with its axes named, and how a grid moves it.

Positions are in the DICOM patient system, LPS: x to the patient's left, y to the back, z to the head.
The NIfTI world, RAS, has the first two reversed. Voxel indices are (k, i, j): slice, row, column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .errors import GeometryInput
from .grid import Grid
from .limits import MAX_SPACING_MM, MIN_SPACING_MM

Vector = tuple[float, float, float]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Geometry:
    """The place of every voxel: P(k, i, j) = origin + k·dz·slice + i·dy·row + j·dx·column.

    Attributes:
        size: (slices, rows, columns), voxels.
        spacing: (dz, dy, dx), mm from one voxel centre to the next along each index.
        origin: LPS position, mm, of the centre of voxel (0, 0, 0).
        slice_direction: unit vector of increasing k. Not the normal of the slices where the gantry was tilted.
        row_direction: unit vector of increasing i, down the image (DICOM's second orientation triple).
        column_direction: unit vector of increasing j, along a row (DICOM's first orientation triple).
        known: False where the file carried none (npy, PNG); spacing then counts pixels, not mm.
    """

    size: tuple[int, int, int]
    spacing: Vector
    origin: Vector = (0.0, 0.0, 0.0)
    slice_direction: Vector = (0.0, 0.0, 1.0)
    row_direction: Vector = (0.0, 1.0, 0.0)
    column_direction: Vector = (1.0, 0.0, 0.0)
    known: bool = True

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise GeometryInput("empty", f"The image has no voxels (size {self.size}).")
        if not all(np.isfinite(d) and MIN_SPACING_MM <= d <= MAX_SPACING_MM for d in self.spacing):
            raise GeometryInput(
                "spacing",
                f"Voxel spacing must lie between {MIN_SPACING_MM} and {MAX_SPACING_MM:g} mm, found {_show(self.spacing)}.",
            )
        if not np.isfinite(self.origin).all():
            raise GeometryInput(
                "origin", f"The position of the first voxel is not finite: {_show(self.origin)}."
            )
        directions = self.directions
        if not np.isfinite(directions).all() or np.abs(np.linalg.norm(directions, axis=1) - 1).max() > 1e-3:
            raise GeometryInput("orientation", "The directions of the axes are not unit vectors.")
        if abs(float(np.linalg.det(directions))) < 0.1:
            raise GeometryInput("orientation", "The axes of the image lie in one plane.")

    @classmethod
    def unknown(cls, size: tuple[int, int, int]) -> Geometry:
        """For files that carry no geometry: unit spacing, which is not in mm."""
        return cls(size, (1.0, 1.0, 1.0), known=False)

    @classmethod
    def from_affine(cls, size: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> Geometry:
        """From a 4×4 matrix that takes (k, i, j, 1) to LPS mm.

        Raises:
            GeometryInput: a column is zero or not finite, or the columns lie in one plane.
        """
        columns = np.asarray(affine, dtype=np.float64)[:3, :3]
        lengths = np.linalg.norm(columns, axis=0)
        if not np.isfinite(columns).all() or (lengths <= 0).any():
            raise GeometryInput("spacing", f"Voxel spacing must be above zero, found {_show(lengths)}.")
        slices, rows, across = (_vector(columns[:, a] / lengths[a]) for a in range(3))
        return cls(size, _vector(lengths), _vector(np.asarray(affine)[:3, 3]), slices, rows, across)

    @property
    def directions(self) -> npt.NDArray[np.float64]:
        """(3, 3): the unit vectors of slice, row and column, one a row."""
        return np.array([self.slice_direction, self.row_direction, self.column_direction])

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """(4, 4) matrix that takes (k, i, j, 1) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = (self.directions * np.array(self.spacing)[:, None]).T
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the slices: column direction × row direction, as DICOM defines it."""
        return np.cross(self.column_direction, self.row_direction)

    @property
    def tilt_degrees(self) -> float:
        """The angle between the slice direction and the slices' normal; 0 for an upright gantry."""
        cosine = min(1.0, abs(float(self.normal @ np.array(self.slice_direction))))
        return float(np.degrees(np.arccos(cosine)))

    def position(self, k: float, i: float, j: float) -> npt.NDArray[np.float64]:
        """LPS mm of the voxel coordinate (k, i, j), which may be fractional."""
        return np.asarray(self.affine[:3] @ np.array([k, i, j, 1.0]))

    def resampled(self, grid: Grid) -> Geometry:
        """The geometry of the result of `grid`: pixel centres move with the change of spacing (`dicom.md` §2)."""
        if grid.size_in != self.size:
            raise ValueError(f"grid for {grid.size_in} applied to a volume of {self.size}")
        if grid.is_identity:
            return self
        axes = (grid.slices, grid.rows, grid.columns)
        spacing = _vector([d * float(a.step) for d, a in zip(self.spacing, axes, strict=True)])
        origin = _vector(self.position(*(float(a.start) for a in axes)))
        return replace(self, size=grid.size_out, spacing=spacing, origin=origin)


def _vector(values: npt.ArrayLike) -> Vector:
    x, y, z = (float(v) for v in np.asarray(values))
    return x, y, z


def _show(values: npt.ArrayLike) -> str:
    return "(" + ", ".join(f"{v:.6g}" for v in np.asarray(values, dtype=np.float64)) + ")"
