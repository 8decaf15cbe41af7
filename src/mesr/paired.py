"""One patient's pairs: a CBCT laid over the CT, or made from it, on the CT's slices and on the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from . import deformation, io, itk
from .alignment import Alignment, Placed
from .body import body_mask
from .degrade import ConeBeam, seed_of, simulate
from .errors import UsageError
from .geometry import Geometry
from .grid import Axis, Grid
from .intensity import AIR_HU, HU_WINDOW, missing
from .modality import identified
from .patients import PatientSpec
from .prepare import prepared_slices, slice_number, volumes
from .registration import assess, register
from .resample import fill_padding, resize, resize_mask
from .testset import counted_air
from .volume import FloatImage, Mask, Volume

RIM_MM = 6.0
"""Air kept around the body, so that its edge is whole."""
LEAST_COVERED = 0.5
"""Share of a slice's body that the CBCT must show."""
LEAST_BODY_MM2 = 1500.0
LEAST_SIDE = 64
"""A slice with less body, or fewer pixels along a side, makes no pair."""

CORNER = 16
"""A corner has one such part of a slice's sides: a cylinder as wide as the slice, or a fifth wider, leaves it out."""

Registering = Literal["none", "rigid", "deformable"]


@dataclass(frozen=True)
class PairingConfig:
    """How pairs are made.

    Attributes:
        size: pixels of the CT's longer side; it is never made finer. 0 keeps its own pixels.
        register: "rigid", "deformable" for a B-spline after it, "none" to trust where the files place the scans.
        clip: clip to the window, as the paper did; else bone and metal keep their values.
        ratio: of patients to train on and to validate on.
        beam: the scanner that makes a CBCT from a CT where there is none.
        seed: of the split, of registration's sampling and of the simulated noise.
    """

    size: int = 384
    register: Registering = "rigid"
    clip: bool = False
    ratio: tuple[int, int] = (5, 1)
    beam: ConeBeam = field(default_factory=ConeBeam)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size and self.size < LEAST_SIDE:
            raise UsageError("target", f"A pair has {LEAST_SIDE} pixels or more, found {self.size}.")


class PairedSlice(NamedTuple):
    """One pair, before it is cropped.

    Attributes:
        ct, cbct: (H, W) HU.
        body: (H, W), what of them is kept: the body and a rim of air, where both scans show it.
        inside: (H, W), the body alone.
        number: of the CT's slice.
        spacing: (dz, dy, dx), mm.
    """

    ct: FloatImage
    cbct: FloatImage
    body: Mask
    inside: Mask
    number: int
    spacing: tuple[float, float, float]


class PairedScan:
    """A patient's pairs, made as they are asked for.

    Attributes:
        alignment: what registration found; None before, or where the CBCT is simulated.
        left_out: CT slices without a pair so far.
        pixels: sha256 of each CT slice as `prepare` would keep it, by which a network is known to have seen the scan.
    """

    def __init__(self, spec: PatientSpec, config: PairingConfig) -> None:
        self.spec, self.config = spec, config
        self.alignment: Alignment | None = None
        self.left_out = 0
        self.pixels: list[str] = []

    def __iter__(self) -> Iterator[PairedSlice]:
        """Every pair.

        Raises:
            InputError: a scan cannot be read, code `no-body`, or those of registration.
            UsageError: a scan is not CT.
        """
        if not self.spec.simulated:
            yield from self._measured()
            return
        for volume in volumes(Path(self.spec.ct)):
            yield from self._simulated(identified(volume, "CT"))

    def _measured(self) -> Iterator[PairedSlice]:
        volume, other = (identified(one, "CT") for one in self.spec.scans())
        self._tell(volume)
        ct, cbct = placed(volume), placed(other, cone_beam=True)
        back = self._align(cbct, ct)
        grid = plane_grid(volume.geometry, self.config.size)
        place = volume.geometry.resampled(grid)
        smooth = itk.antialiased(cbct.values, cbct.shown, cbct.geometry, place)
        moved = itk.onto(place, itk.image(smooth, cbct.geometry), back, AIR_HU)
        allowed = itk.mask_onto(place, itk.image(cbct.shown, cbct.geometry), back) & self._given_mask(place)
        rim = body_mask(ct.values, ct.geometry, rim_mm=RIM_MM)
        least_pixels = LEAST_BODY_MM2 / (place.spacing[1] * place.spacing[2])
        for k, values in enumerate(ct.values):
            body = resize_mask(rim[k], grid.rows, grid.columns)
            kept = body & allowed[k] & resize_mask(ct.shown[k], grid.rows, grid.columns)
            if kept.sum() < max(LEAST_COVERED * body.sum(), least_pixels):
                self.left_out += 1
                continue
            inside = resize_mask(ct.body[k], grid.rows, grid.columns)
            truth = fill_padding(values, ~ct.shown[k])
            yield PairedSlice(
                shrunk(truth, grid), moved[k], kept, inside, self._number(volume, k), place.spacing
            )

    def _align(self, cbct: Placed, ct: Placed) -> itk.Transform:
        """Takes points of the CT to points of the CBCT; what is judged is what is used.

        Raises:
            InputError: code `not-registered`, `folded` or `no-overlap`.
        """
        trusted = self.config.register == "none"
        self.alignment = assess(cbct, ct) if trusted else register(cbct, ct, self.config.seed)
        if self.config.register != "deformable":
            self.alignment.check()
            return self.alignment.rigid.transform.GetInverse()
        # Details may disagree because organs moved, which is what the B-spline is for.
        self.alignment.check_overlap()
        back, self.alignment = deformation.refine(cbct, ct, self.alignment, self.config.seed)
        self.alignment.check()
        return back

    def _given_mask(self, place: Geometry) -> Mask:
        if not self.spec.mask:
            return np.ones(place.size, np.bool_)
        mask = io.read(self.spec.mask)
        return itk.mask_onto(place, itk.image(mask.array > 0, mask.geometry), itk.simpleitk().Transform())

    def _simulated(self, volume: Volume) -> Iterator[PairedSlice]:
        """Pairs of a CT and what a cone-beam scanner would have made of its slices."""
        self._tell(volume)
        values, measured = hu(volume)
        rim, body = (body_mask(values, volume.geometry, rim_mm=mm) for mm in (RIM_MM, 0.0))
        grid = plane_grid(volume.geometry, self.config.size)
        spacing = volume.geometry.resampled(grid).spacing
        _, dy, dx = volume.spacing
        for k, one in enumerate(values):
            if rim[k].sum() * dy * dx < LEAST_BODY_MM2:
                self.left_out += 1
                continue
            truth = fill_padding(one, ~measured[k])
            # Without the couch, which is background and would only cost time.
            alone = np.where(rim[k], truth, np.float32(AIR_HU))
            cbct = simulate(alone, (dy, dx), self.config.beam, seed_of(alone, self.config.seed))
            kept, inside = (resize_mask(mask[k], grid.rows, grid.columns) for mask in (rim & measured, body))
            yield PairedSlice(
                shrunk(truth, grid), shrunk(cbct, grid), kept, inside, self._number(volume, k), spacing
            )

    def _tell(self, volume: Volume) -> None:
        self.pixels += [one.sha256 for one in prepared_slices(volume, "CT", HU_WINDOW)]

    def _number(self, volume: Volume, k: int) -> int:
        """Without regions the number in a file's name is not needed, and could be the patient's."""
        return slice_number(volume, k) if self.spec.sites else k


def placed(volume: Volume, *, cone_beam: bool = False) -> Placed:
    """A volume as registration sees it, with its body, and where it was measured: a CBCT within its field of view.

    Raises:
        InputError: code `no-body`, or a slice proves unreadable.
    """
    values, measured = hu(volume)
    view = field_of_view(values) & measured if cone_beam else measured
    return Placed(values, volume.geometry, body_mask(values, volume.geometry, calibrated=not cone_beam), view)


def hu(volume: Volume) -> tuple[FloatImage, Mask]:
    """All of a volume in HU, (D, H, W), padding as air; and where it was measured."""
    values = np.empty(volume.geometry.size, np.float32)
    measured = np.ones(volume.geometry.size, np.bool_)
    for k in range(len(volume.slices)):
        one = volume.slices[k]
        values[k] = counted_air(one, "HU", HU_WINDOW)
        unseen = missing(one.values, one.padding, "HU")
        if unseen is not None:
            measured[k] = ~unseen
    return values, measured


def field_of_view(values: FloatImage) -> Mask:
    """Where a CBCT was measured: within its cylinder, and in slices that hold anything.

    Outside, scanners write one value, low or not, and it fills the corners of the slices. Inside the cylinder the same
    value is measured. Where it fills the corner of no slice, everything was measured.

    Args:
        values: (D, H, W).

    Returns:
        (D, H, W) bool.
    """
    rows, columns = (max(2, n // CORNER) for n in values.shape[1:])
    corners = np.concatenate(
        [
            values[:, i, j].reshape(len(values), -1)
            for i in (slice(rows), slice(-rows, None))
            for j in (slice(columns), slice(-columns, None))
        ]
    )
    filled = corners[(corners == corners[:, :1]).all(axis=1), 0]
    if not filled.size:
        return np.ones(values.shape, np.bool_)
    found, counts = np.unique(filled, return_counts=True)
    something = values != found[counts.argmax()]
    plane, slices = something.any(axis=0), something.any(axis=(1, 2))
    return np.asarray(plane[None] & slices[:, None, None])


def plane_grid(geometry: Geometry, size: int) -> Grid:
    """The same slices with `size` pixels along the longer side, the shape of pixels kept; never finer."""
    count, rows, columns = geometry.size
    longer = max(rows, columns)
    wanted = size if 0 < size < longer else longer
    across = [Axis.sized(n, max(1, round(n * wanted / longer))) for n in (rows, columns)]
    return Grid(Axis.identity(count), *across)


def shrunk(values: FloatImage, grid: Grid) -> FloatImage:
    """(H, W) on a coarser grid, anti-aliased (`degrade`'s bicubic)."""
    image = torch.from_numpy(np.ascontiguousarray(values))
    return np.asarray(resize(image, grid.rows, grid.columns, "bicubic").numpy(), dtype=np.float32)
