"""How values become stored numbers and back, what is remembered of a file, and the writers' common loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import OutputError
from ..geometry import Geometry
from ..volume import FloatImage, Volume

OnSlice = Callable[[int], None] | None


class Sink(Protocol):
    """Anything bytes can be written to."""

    def write(self, data: Any, /) -> object: ...


@dataclass(frozen=True)
class Encoding:
    """How values are stored: value = stored · slope + intercept.

    Attributes:
        dtype: of the stored numbers, byte order included.
        slope: values per stored step; not 0.
        intercept: the value stored as 0.
    """

    dtype: np.dtype[Any]
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether values are stored as they are."""
        return self.slope == 1 and self.intercept == 0

    @property
    def may_be_not_finite(self) -> bool:
        """Whether a stored number could decode to a NaN or an infinity in float32."""
        if self.dtype.kind == "f":
            return True
        ends = np.array([np.iinfo(self.dtype).min, np.iinfo(self.dtype).max], dtype=np.float64)
        return bool((np.abs(ends * self.slope + self.intercept) > np.finfo(np.float32).max).any())

    def decode(self, stored: npt.NDArray[Any]) -> FloatImage:
        """float32 values of `stored`; rescaled in float64 first."""
        # An overflow becomes an infinity here, which `finite.screen` finds.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.is_plain:
                return stored.astype(np.float32)
            return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)

    def encode(self, values: FloatImage) -> tuple[npt.NDArray[Any], int]:
        """`values` as stored, and how many did not fit and were clipped to the nearest that does."""
        if self.dtype.kind == "f":
            return values.astype(self.dtype), 0
        stored = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        clipped = int(np.count_nonzero((stored < low) | (stored > high)))
        return np.clip(stored, low, high).astype(self.dtype), clipped


@dataclass(frozen=True)
class Source:
    """Where a volume of one of these formats came from: what its writer carries over.

    Attributes:
        format: the name `io.write` knows it by.
        path: the file.
        encoding: how its values were stored.
        geometry: as read.
    """

    format: str
    path: Path = field(repr=False)
    encoding: Encoding
    geometry: Geometry


def encoding_for(volume: Volume, *, rescale: bool = True) -> Encoding:
    """How a result is stored: as int16 where the source was no wider, else as float32.

    int16 with the source's slope and intercept where the source held int8, uint8 or int16 numbers; int16
    holding HU as they are where the values are HU from a DICOM or PNG source; float32 for everything else,
    which loses nothing.

    Args:
        volume: what will be written.
        rescale: whether the format can say slope and intercept; without, only plain values become int16.
    """
    source = volume.source
    encoding = Encoding(np.dtype("<f4"))
    if isinstance(source, Source):
        held = source.encoding
        if held.dtype.kind in "iu" and (held.dtype.itemsize == 1 or held.dtype.newbyteorder("=") == np.int16):
            encoding = Encoding(np.dtype("<i2"), held.slope, held.intercept)
        elif held == Encoding(np.dtype("<u2"), 1.0, -32768.0):
            encoding = Encoding(np.dtype("<i2"))
    elif source is not None and volume.unit == "HU":
        encoding = Encoding(np.dtype("<i2"))
    return encoding if rescale or encoding.is_plain else Encoding(np.dtype("<f4"))


def encoded(volume: Volume, encoding: Encoding, on_slice: OnSlice) -> Iterator[tuple[npt.NDArray[Any], int]]:
    """Each slice as stored, (rows, columns), with its count of clipped voxels; `on_slice` after it was taken.

    Raises:
        OutputError: code `not-finite`, a slice holds NaN or infinity.
    """
    for k in range(len(volume.slices)):
        values = volume.slices[k].values
        if values.shape != volume.geometry.size[1:]:
            raise ValueError(f"slice {k} has shape {values.shape}, the geometry {volume.geometry.size}")
        if not np.isfinite(values).all():
            raise OutputError("not-finite", f"Slice {k} holds values that are not finite numbers.")
        yield encoding.encode(values)
        if on_slice is not None:
            on_slice(k)


def append(stream: Sink, volume: Volume, encoding: Encoding, on_slice: OnSlice) -> int:
    """Write all slices one after the other; the number of clipped voxels."""
    total = 0
    for stored, clipped in encoded(volume, encoding, on_slice):
        stream.write(np.ascontiguousarray(stored).data)
        total += clipped
    return total


def provenance(volume: Volume) -> str:
    """One short ASCII line for a header: what computed the volume; empty for a volume as read."""
    made = volume.derivation
    if made is None:
        return ""
    line = f"mesr {__version__}: {made.model}, {made.requested}, research only"
    return line.encode("ascii", "replace").decode("ascii")
