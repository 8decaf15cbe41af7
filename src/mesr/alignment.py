"""How a cone-beam CT lies over a CT, and whether to believe it.

Registration finds an optimum for any two scans, of two patients too. So an alignment is judged by what the metric
does not look at: whether the bodies overlap, and whether the detail in them agrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import itk
from .body import overlap
from .errors import InputError
from .geometry import Geometry, Vector
from .volume import FloatImage, Mask

CLIP_HU = (-1000.0, 1200.0)
"""Values beyond are metal or missing and tell nothing of where things are."""
VOXEL_MM = 4.0
AROUND = 2
"""Detail is what differs from the mean of so many voxels around, each way in the slice."""
BINS = 32
LEAST_VOXELS = 1000

LEAST_DICE = 0.8
LEAST_DETAIL = 0.35
"""What `Alignment.check` asks for; chosen on the scans of train/ and val/ (docs/explanation/pairs.md)."""

Points = npt.NDArray[np.float64]


class Placed(NamedTuple):
    """A scan in its place.

    Attributes:
        values: (D, H, W) float32, HU or nearly so, padding filled with air.
        geometry: its place.
        body: (D, H, W), see `body.body_mask`.
        measured: (D, H, W) False outside the scanner's field of view and in padding; None where all was measured.
    """

    values: FloatImage
    geometry: Geometry
    body: Mask
    measured: Mask | None = None

    @property
    def shown(self) -> Mask:
        """`measured`, or True everywhere."""
        return np.ones(self.geometry.size, np.bool_) if self.measured is None else self.measured


class Rigid(NamedTuple):
    """The movement x ↦ R·(x − centre) + centre + shift, R = Rz·Rx·Ry.

    Attributes:
        angles: about the patient's x, y and z axes, degrees.
        shift: of the centre, LPS mm.
        centre: LPS mm.
    """

    angles: Vector
    shift: Vector
    centre: Vector

    @classmethod
    def shifted(cls, shift: npt.ArrayLike, centre: npt.ArrayLike) -> Rigid:
        """Without rotation."""
        return cls((0.0, 0.0, 0.0), _vector(shift), _vector(centre))

    @classmethod
    def of(cls, transform: itk.Transform) -> Rigid:
        """From SimpleITK's `Euler3DTransform`."""
        angles = np.degrees([transform.GetAngleX(), transform.GetAngleY(), transform.GetAngleZ()])
        return cls(_vector(angles), _vector(transform.GetTranslation()), _vector(transform.GetCenter()))

    @property
    def transform(self) -> itk.Transform:
        """As SimpleITK has it."""
        made = itk.simpleitk().Euler3DTransform()
        made.SetCenter(self.centre)
        made.SetRotation(*np.radians(self.angles).tolist())
        made.SetTranslation(self.shift)
        return made

    @property
    def matrix(self) -> Points:
        """(4, 4): takes (x, y, z, 1), LPS mm, to where the movement takes it."""
        moved = np.eye(4)
        moved[:3, :3] = np.reshape(self.transform.GetMatrix(), (3, 3))
        moved[:3, 3] = self.centre + np.array(self.shift) - moved[:3, :3] @ np.array(self.centre)
        return moved


@dataclass(frozen=True)
class Agreement:
    """How two scans agree where one is laid over the other.

    Attributes:
        information: mutual information inside the bodies, nats, more is better; NaN where they do not meet.
        dice: of the bodies, within the CBCT's field of view.
        detail: correlation of what differs from its surroundings, −1…1, inside both bodies.
    """

    information: float
    dice: float
    detail: float


@dataclass(frozen=True)
class Alignment:
    """What registration found.

    Attributes:
        rigid: takes points of the CBCT to points of the CT.
        before, after: the agreement as the files place the scans, and as registered.
        deformation_mm: the largest displacement beyond the rigid movement.
    """

    rigid: Rigid
    before: Agreement
    after: Agreement
    deformation_mm: float = 0.0

    def check(self) -> None:
        """Refuse an alignment that is not to be believed.

        Raises:
            InputError: code `not-registered`, with what was expected and what was found.
        """
        self.check_overlap()
        _expect("details agree", self.after.detail, LEAST_DETAIL)

    def check_overlap(self) -> None:
        """Refuse a rigid alignment that no deformation can mend: the bodies do not overlap.

        Raises:
            InputError: as for `check`.
        """
        _expect("bodies overlap", self.after.dice, LEAST_DICE)


def agreement(cbct: Placed, ct: Placed, back: itk.Transform) -> Agreement:
    """Judge an alignment on voxels of about 4 mm.

    Args:
        cbct, ct: the two scans.
        back: takes points of the CT (LPS, mm) to points of the CBCT.
    """
    values, place = itk.shrunk(np.clip(ct.values, *CLIP_HU), ct.geometry, VOXEL_MM)
    body, _ = coarse(ct.body, ct.geometry)
    moving, there = itk.shrunk(np.clip(cbct.values, *CLIP_HU), cbct.geometry, VOXEL_MM)
    moved = itk.onto(place, itk.image(moving, there), back, CLIP_HU[0])
    moved_body, shown = (
        itk.mask_onto(place, itk.image(*coarse(mask, cbct.geometry)), back)
        for mask in (cbct.body, cbct.shown)
    )
    body &= shown
    moved_body &= shown
    both, either = body & moved_body, body | moved_body
    if both.sum() < LEAST_VOXELS:
        return Agreement(float("nan"), overlap(body, moved_body), 0.0)
    one, two = (_detail(image, both)[both] for image in (values, moved))
    spread = float(one.std() * two.std())
    detail = float((one * two).mean()) / spread if spread > 0 else 0.0
    return Agreement(_information(values[either], moved[either]), overlap(body, moved_body), detail)


def coarse(mask: Mask, geometry: Geometry) -> tuple[Mask, Geometry]:
    """A mask on the voxels agreement is judged on, True where most of one is; and their geometry."""
    share, place = itk.shrunk(mask.astype(np.float32), geometry, VOXEL_MM)
    return share > 0.5, place


def _expect(what: str, found: float, least: float) -> None:
    # NaN is not enough either.
    if not found >= least:
        raise InputError(
            "not-registered",
            f"The CBCT could not be laid over the CT: their {what} by {found:.2f},"
            f" at least {least:g} was expected.",
            "Check that both are of one patient and one region.",
        )


def _information(one: FloatImage, two: FloatImage) -> float:
    joint = np.histogram2d(one, two, bins=BINS, range=(CLIP_HU, CLIP_HU))[0] / one.size
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _detail(values: FloatImage, mask: Mask) -> FloatImage:
    """What differs from the mean of the masked voxels around, slice by slice; zero outside the mask."""
    weight = mask.astype(np.float32)
    around, counted = (_boxed(_boxed(image, 1), 2) for image in (values * weight, weight))
    return np.asarray((values - around / np.maximum(counted, 1)) * weight, dtype=np.float32)


def _boxed(values: FloatImage, axis: int) -> FloatImage:
    """Sums of 2·AROUND + 1 neighbours along an axis, zero beyond the edges."""
    edge = [(0, 0)] * 3
    edge[axis] = (AROUND + 1, AROUND)
    sums = np.cumsum(np.pad(values, edge), axis=axis, dtype=np.float64)
    width, count = 2 * AROUND + 1, values.shape[axis]
    last, first = sums.take(range(width, width + count), axis), sums.take(range(count), axis)
    return np.asarray(last - first, dtype=np.float32)


def _vector(values: npt.ArrayLike) -> Vector:
    x, y, z = (float(v) for v in np.asarray(values))
    return x, y, z
