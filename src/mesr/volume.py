"""A volume: where its voxels are, and a lazy source of its slices.

Nothing here holds a whole study: a slice is read (or computed) when it is asked for, and `array`, which
does materialise, is for small volumes and notebooks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .errors import TooLarge
from .geometry import Geometry
from .grid import Grid
from .limits import MAX_EAGER_BYTES

Modality = Literal["CT", "MR"]
Unit = Literal["HU", ""]
FloatImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Note(NamedTuple):
    """Something worth telling that did not stop the work.

    Attributes:
        code: stable, lower case with dashes (`"lossy-source"`); part of the report's contract.
        text: one plain sentence without patient data or paths.
    """

    code: str
    text: str


class Slice(NamedTuple):
    """One slice of a volume.

    Attributes:
        values: (rows, columns) float32, in the volume's unit, rescaled.
        padding: (rows, columns) True where the scanner measured nothing, or None; `values` hold the padding's
            own value there, which takes part in no arithmetic.
        residual: for a computed slice, the largest |shrunk result − input| in the volume's unit; else None.
    """

    values: FloatImage
    padding: Mask | None = None
    residual: float | None = None


class Slices(Protocol):
    """A lazy sequence of slices. `__getitem__` may raise `InputError` when a slice proves unreadable."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Slice: ...


class ArraySlices:
    """Slices of an array (slices, rows, columns) that is in memory or memory-mapped."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        if array.ndim != 3:
            raise ValueError(f"expected (slices, rows, columns), found shape {array.shape}")
        self._array = array

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def __getitem__(self, k: int, /) -> Slice:
        return Slice(np.asarray(self._array[k], dtype=np.float32))


INVENTED = "with perceptual losses: fine texture may be invented"
"""Said in `Derivation.training` of such weights; a reader finds a result of theirs by it."""


@dataclass(frozen=True)
class Derivation:
    """What made a computed volume: everything that decides a pixel, and what the writers say about it.

    Attributes:
        model: weights or interpolator name, `"mesr-3"`.
        weights_id: sha256 (hex) of tensors and spec; of the name for an interpolator. With a `+` behind it where
            the network was asked in eight orientations.
        grid: the exact grid.
        requested: what the user asked for, as text (`"scale 2.5"`).
        intensity: the intensity map, as text.
        precision: `"float32"`, `"bfloat16"` or `"float16"`.
        revision: raised whenever the same inputs give other pixels.
        training: one sentence on what the network was trained for (degradation, ranges).
    """

    model: str
    weights_id: str
    grid: Grid
    requested: str
    intensity: str
    precision: str
    revision: int
    training: str = ""

    @property
    def weights_sha256(self) -> str:
        """The weights id without what says how the weights were used, a `+`."""
        return self.weights_id.rstrip("+")

    @property
    def settings(self) -> str:
        """Everything that decides a pixel besides the source, as one canonical line for identifiers."""
        axes = (self.grid.slices, self.grid.rows, self.grid.columns)
        grid = ";".join(f"{a.size_in},{a.size_out},{a.step},{a.start}" for a in axes)
        parts = (self.weights_id, grid, self.intensity, self.precision, f"revision {self.revision}")
        return "|".join(parts)


@dataclass(frozen=True)
class Volume:
    """A scan, read lazily or computed lazily.

    Attributes:
        geometry: where the voxels are.
        slices: lazy source of `geometry.size[0]` slices.
        modality: "CT", "MR" or None where the file does not say.
        unit: "HU", or "" for arbitrary intensities.
        source: what a writer of the same format needs to carry the header over (a `DicomSeries`, a NIfTI
            header, …); None for an array.
        notes: what was noticed on reading.
        derivation: what computed it; None for a volume as read.
    """

    geometry: Geometry
    slices: Slices = field(repr=False)
    modality: Modality | None = None
    unit: Unit = ""
    source: object | None = field(default=None, repr=False)
    notes: tuple[Note, ...] = ()
    derivation: Derivation | None = None

    def __post_init__(self) -> None:
        if len(self.slices) != self.geometry.size[0]:
            raise ValueError(f"{len(self.slices)} slices for a geometry of {self.geometry.size}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(dz, dy, dx) in mm."""
        return self.geometry.spacing

    @cached_property
    def array(self) -> FloatImage:
        """The whole volume, (D, H, W) float32 in the volume's unit; computed once and kept.

        Raises:
            TooLarge: it would take more than `limits.MAX_EAGER_BYTES`.
        """
        size = self.geometry.size
        if 4 * size[0] * size[1] * size[2] > MAX_EAGER_BYTES:
            raise TooLarge(
                "too-large",
                f"The volume {size} does not fit in memory as one array.",
                "Read it slice by slice through volume.slices.",
            )
        whole = np.empty(size, dtype=np.float32)
        for k in range(size[0]):
            whole[k] = self.slices[k].values
        return whole
