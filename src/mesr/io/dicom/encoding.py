"""How values become stored numbers: 16 bits, one slope and one intercept for the whole series.

Chosen from the source alone, before the first slice is computed, so that slices can be written one by one; chosen wide, so that overshoot and values above the network's window are not lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.valuerep import format_number_as_ds

from ...errors import OutputError, UnsupportedInput
from ...volume import Modality, Slice
from .series import Instance

BITS = 16
_BAND_PIXELS = 1 << 20


class Stored(NamedTuple):
    """A slice as stored.

    Attributes:
        pixels: (rows, columns), little-endian 16-bit, signed or not.
        clipped: voxels outside padding whose value did not fit and was set to the nearest that does.
    """

    pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint16]
    clipped: int


@dataclass(frozen=True)
class Encoding:
    """value = slope · stored + intercept (PS3.3 C.11.1), stored in 16 bits.

    Attributes:
        signed: PixelRepresentation 1, two's complement.
        slope: not zero, in the volume's unit; exactly what its DS text reads as.
        intercept: likewise.
    """

    signed: bool
    slope: float
    intercept: float

    def __str__(self) -> str:
        kind = "signed" if self.signed else "unsigned"
        return f"{kind} {BITS} bits, slope {ds(self.slope)}, intercept {ds(self.intercept)}"

    @property
    def lowest(self) -> int:
        return -(1 << BITS - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        return self.lowest + (1 << BITS) - 1

    @property
    def range_text(self) -> str:
        """The values that can be stored, as text."""
        ends = sorted(self.slope * stored + self.intercept for stored in (self.lowest, self.highest))
        return f"{ends[0]:g} to {ends[1]:g}"

    def holds(self, low: float, high: float) -> bool:
        """Whether all values from `low` to `high` can be stored, to the nearest step."""
        ends = [round((value - self.intercept) / self.slope) for value in (low, high)]
        return self.lowest <= min(ends) and max(ends) <= self.highest

    def padding(self, instance: Instance) -> int | None:
        """The stored number of the instance's padding; the source's own wherever slope and intercept are kept."""
        if instance.padding is None:
            return None
        value = instance.slope * instance.padding + instance.intercept
        stored = round((value - self.intercept) / self.slope)
        return min(max(stored, self.lowest), self.highest)

    def store(self, image: Slice, padding: int | None) -> Stored:
        """`rint((value − intercept) / slope)`, clipped to the range; padded voxels get `padding`.

        Raises:
            OutputError: code `not-finite`; a value outside the padding is NaN or infinite.
        """
        mask = image.padding if padding is not None else None
        height, width = image.values.shape
        pixels = np.empty((height, width), dtype="<i2" if self.signed else "<u2")
        clipped = 0
        # float64 keeps the rounding within half a step for any 16-bit number; bands bound what it takes.
        band = max(1, _BAND_PIXELS // max(1, width))
        for start in range(0, height, band):
            rows = slice(start, start + band)
            stored = (image.values[rows].astype(np.float64) - self.intercept) / self.slope
            if mask is not None:
                stored[mask[rows]] = padding
            if not np.isfinite(stored).all():
                raise OutputError("not-finite", "The result holds values that are not finite numbers.")
            np.rint(stored, out=stored)
            clipped += int(np.count_nonzero((stored < self.lowest) | (stored > self.highest)))
            pixels[rows] = np.clip(stored, self.lowest, self.highest, out=stored)
        return Stored(pixels, clipped)


def choose(
    instances: Sequence[Instance], modality: Modality | None, values: Callable[[], tuple[float, float]]
) -> Encoding:
    """The encoding of a series derived from `instances`.

    Slope and intercept are the source's where all its slices share them. CT is stored signed, which at an
    intercept of −1024 spans −33792…31743 HU, unless the source is unsigned and reaches further down by its
    intercept, uses numbers that no signed one can hold, or marks padding by one. MR keeps its sign. Where slices
    differ in slope or intercept, one step is chosen that is as fine as the finest of them, if 16 bits then span them
    all. Where the source has more than 16 bits and uses them, the step is as fine as 16 bits allow for the values
    that occur, with a twentieth of their range to spare at either end.

    Args:
        values: gives the smallest and the largest value that occur, padding left out. Asked only where the headers do
            not decide, since all slices have to be read for it.

    Raises:
        UnsupportedInput: code `rescale`; a slope is zero, or slope or intercept is not finite.
    """
    if not all(math.isfinite(i.slope) and i.slope and math.isfinite(i.intercept) for i in instances):
        raise UnsupportedInput("rescale", "The rescale slope or intercept is zero or not a finite number.")
    slopes, intercepts = {i.slope for i in instances}, {i.intercept for i in instances}
    shared = len(slopes) == len(intercepts) == 1
    bits = max(i.bits_stored for i in instances)
    signed = all(i.signed for i in instances)
    if modality == "CT" and not signed:
        far_padding = any(i.padding is not None and i.padding >= 1 << BITS - 1 for i in instances)
        signed = min(intercepts) > -8192 and not far_padding
        if signed and bits == BITS and shared:
            signed = Encoding(True, min(slopes), min(intercepts)).holds(*values())
    if shared:
        kept = Encoding(signed, _as_read(slopes.pop()), _as_read(intercepts.pop()))
        if bits <= BITS or kept.holds(*values()):
            return kept
    if bits > BITS:
        low, high = values()
        spare = (high - low) / 20
        ends = [low - spare, high + spare]
    else:
        ends = [i.slope * n + i.intercept for i in instances for n in _stored_ends(i)]
    return _spanning(min(ends), max(ends), min(abs(i.slope) for i in instances), signed, intercepts)


def ds(value: float) -> str:
    """`value` as a decimal string of at most 16 characters (PS3.5 table 6.2-1), whole numbers without a point."""
    whole = abs(value) < 1e15 and value == int(value)
    return str(int(value)) if whole else format_number_as_ds(float(value))


def _spanning(low: float, high: float, finest: float, signed: bool, intercepts: Iterable[float]) -> Encoding:
    """One slope, no finer than it need be, and one intercept, of the source's if one will do, that hold a range."""
    steps = (1 << BITS) - 1
    slope = _as_read(max(finest, (high - low) / steps))
    first = Encoding(signed, slope, 0.0).lowest
    for intercept in sorted(set(intercepts)):
        if intercept + slope * first <= low and high <= intercept + slope * (first + steps):
            return Encoding(signed, slope, _as_read(intercept))
    spare = max(0, math.floor(steps - (high - low) / slope))
    return Encoding(signed, slope, _as_read(low - slope * (first + spare // 2)))


def _stored_ends(instance: Instance) -> tuple[int, ...]:
    low = -(1 << instance.bits_stored - 1) if instance.signed else 0
    ends = low, low + (1 << instance.bits_stored) - 1
    return ends if instance.padding is None else (*ends, instance.padding)


def _as_read(value: float) -> float:
    """What a reader makes of `value` written as a decimal string."""
    return float(ds(value))
