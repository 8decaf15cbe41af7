"""Every size, crop, source index, offset and effective scale, in exact rationals.

One axis maps output index q to the input coordinate `start + q·step`, both counted in input pixels with
pixel 0's centre at 0. A grid that keeps the field of view has `step = N/N'` and `start = step/2 − 1/2`
(half-pixel centres), which `dicom.md` §2 and `torch.nn.functional.interpolate(align_corners=False)` share.
Floats appear only at the very end, so that no `floor` ever picks a wrong neighbour.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import TooLarge, UsageError
from .limits import MAX_SCALE, MAX_SIDE, MAX_SLICE_PIXELS

Number = int | float | str | Fraction
HALF = Fraction(1, 2)


class Sources(NamedTuple):
    """For each output index, the input pixel it takes its kernel's centre from and how far past it it lies.

    Attributes:
        pixel: (N',) int64, within 0…N−1.
        offset: (N',) float64 in input pixels, coordinate minus pixel.
    """

    pixel: npt.NDArray[np.int64]
    offset: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One axis of a grid, or a window of one.

    Attributes:
        size_in: N, pixels in.
        size_out: N', pixels out.
        step: input pixels from one output pixel to the next; the effective scale is 1/step.
        start: input coordinate of the centre of output pixel 0.
        centre: input coordinate towards which ties are broken, so that a flip breaks them alike; the
            middle of the whole axis, also for a window of it.
    """

    size_in: int
    size_out: int
    step: Fraction
    start: Fraction
    centre: Fraction

    @classmethod
    def identity(cls, size: int) -> Axis:
        """The axis left as it is."""
        return cls.sized(size, size)

    @classmethod
    def sized(cls, size_in: int, size_out: int) -> Axis:
        """`size_in` pixels become `size_out` over the same field of view."""
        step = Fraction(size_in, size_out)
        return cls(size_in, size_out, step, (step - 1) / 2, Fraction(size_in - 1, 2))

    @classmethod
    def scaled(cls, size_in: int, scale: Fraction) -> Axis:
        """The size nearest to `size_in · scale` (halves up, at least 1), over the same field of view."""
        return cls.sized(size_in, max(1, round_half_up(size_in * scale)))

    @classmethod
    def spaced(
        cls, size_in: int, spacing_in: Fraction, spacing_out: Fraction, *, exact: bool = False
    ) -> Axis:
        """The size whose spacing is nearest to `spacing_out`; `exact` keeps the spacing and the centre instead.

        With `exact` the field of view is cropped or padded symmetrically by less than half a pixel.
        """
        size_out = max(1, round_half_up(size_in * spacing_in / spacing_out))
        if not exact:
            return cls.sized(size_in, size_out)
        step = spacing_out / spacing_in
        centre = Fraction(size_in - 1, 2)
        return cls(size_in, size_out, step, centre - Fraction(size_out - 1, 2) * step, centre)

    @property
    def scale(self) -> Fraction:
        """The effective scale, output pixels per input pixel; what the network is told."""
        return 1 / self.step

    @property
    def is_identity(self) -> bool:
        """Whether output and input pixels are the same."""
        return self.step == 1 and self.start == 0 and self.size_in == self.size_out

    def coordinate(self, q: int) -> Fraction:
        """The input coordinate of output index `q`, exactly."""
        return self.start + q * self.step

    def coordinates(self) -> npt.NDArray[np.float64]:
        """(N',) float64 input coordinates of the output pixel centres, each correctly rounded."""
        numerators, denominator = self._integers(Fraction(0))
        return np.asarray(numerators / denominator, dtype=np.float64)

    def nearest(self) -> Sources:
        """The nearest input pixel; a tie goes to the neighbour closer to `centre`, alike under a flip."""
        numerators, denominator = self._integers(Fraction(0))
        doubled = 2 * numerators + denominator
        index = doubled // (2 * denominator)
        tie = doubled % (2 * denominator) == 0
        # At a tie the coordinate is index − ½: the lower neighbour is closer to the centre when it lies right of it.
        limit = self.centre * denominator
        right = numerators * limit.denominator >= limit.numerator
        return self._sources(index - (tie & right), numerators, denominator)

    def below(self) -> Sources:
        """The input pixel at or left of the coordinate: offsets in [0, 1) away from the edges."""
        numerators, denominator = self._integers(Fraction(0))
        return self._sources(numerators // denominator, numerators, denominator)

    def corner(self) -> Sources:
        """The corner-aligned source of Eq. (5), ⌊q/s⌋ and its remainder, as Meta-SR and the paper print it."""
        numerators, denominator = self._integers(HALF - self.step / 2)
        return self._sources(numerators // denominator, numerators, denominator)

    def window(self, out_start: int, out_stop: int, in_start: int, in_stop: int) -> Axis:
        """Output pixels `out_start…out_stop` computed from input pixels `in_start…in_stop`, same coordinates."""
        if not (0 <= out_start < out_stop <= self.size_out and 0 <= in_start < in_stop <= self.size_in):
            raise ValueError(f"window {out_start}:{out_stop} from {in_start}:{in_stop} lies outside {self}")
        start = self.coordinate(out_start) - in_start
        return Axis(in_stop - in_start, out_stop - out_start, self.step, start, self.centre - in_start)

    def _integers(self, shift: Fraction) -> tuple[npt.NDArray[np.int64], int]:
        """Numerators and the common denominator of `coordinate(q) + shift` for every q."""
        start = self.start + shift
        denominator = math.lcm(start.denominator, self.step.denominator)
        first = start.numerator * (denominator // start.denominator)
        stride = self.step.numerator * (denominator // self.step.denominator)
        if max(abs(first), abs(stride) * self.size_out, denominator * self.size_in) >= 1 << 60:
            # Spacings with sixteen digits: give up the last of them rather than overflow.
            bound = (1 << 28) // max(self.size_in, self.size_out, 1) + 1
            step = self.step.limit_denominator(bound)
            middle = start + Fraction(self.size_out - 1, 2) * self.step
            middle = middle.limit_denominator(2 * bound)
            near = Axis(
                self.size_in, self.size_out, step, middle - Fraction(self.size_out - 1, 2) * step, self.centre
            )
            return near._integers(Fraction(0))
        return first + stride * np.arange(self.size_out, dtype=np.int64), denominator

    def _sources(
        self, index: npt.NDArray[np.int64], numerators: npt.NDArray[np.int64], denominator: int
    ) -> Sources:
        index = np.clip(index, 0, self.size_in - 1)
        return Sources(index, (numerators - index * denominator) / denominator)


@dataclass(frozen=True)
class Grid:
    """The three axes of a result. In-plane today: `slices` is the identity."""

    slices: Axis
    rows: Axis
    columns: Axis

    @classmethod
    def plane(cls, rows: Axis, columns: Axis) -> Grid:
        """The grid of a single slice."""
        return cls(Axis.identity(1), rows, columns)

    @property
    def size_in(self) -> tuple[int, int, int]:
        return self.slices.size_in, self.rows.size_in, self.columns.size_in

    @property
    def size_out(self) -> tuple[int, int, int]:
        return self.slices.size_out, self.rows.size_out, self.columns.size_out

    @property
    def scale(self) -> tuple[float, float, float]:
        """Effective scale per axis: slices, rows, columns."""
        return float(self.slices.scale), float(self.rows.scale), float(self.columns.scale)

    @property
    def is_identity(self) -> bool:
        return self.slices.is_identity and self.rows.is_identity and self.columns.is_identity


@dataclass(frozen=True)
class Target:
    """What was asked for: exactly one of scale, spacing and size.

    Attributes:
        scale: magnification; one number in-plane, two for rows and columns, three for slices, rows, columns.
        spacing: mm, likewise.
        size: pixels; one number for rows and columns both, two or three as above.
        exact_spacing: keep the spacing asked for and the centre, rather than the field of view.
        downsample: allow a result coarser than the input.
    """

    scale: tuple[Fraction, ...] | None = None
    spacing: tuple[Fraction, ...] | None = None
    size: tuple[int, ...] | None = None
    exact_spacing: bool = False
    downsample: bool = False

    @classmethod
    def of(
        cls,
        *,
        scale: Number | Sequence[Number] | None = None,
        spacing: Number | Sequence[Number] | None = None,
        size: int | str | Sequence[int] | None = None,
        exact_spacing: bool = False,
        downsample: bool = False,
    ) -> Target:
        """Parse what a user gives: numbers, decimals or fractions as text (`"3.7"`, `"5/2"`, `"1.3x2.2"`).

        Raises:
            UsageError: none or several were given, or a value is not a positive number.
        """
        given = [
            name
            for name, value in (("scale", scale), ("spacing", spacing), ("size", size))
            if value is not None
        ]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise UsageError("target", f"Exactly one of scale, spacing and size is needed, found {found}.")
        if exact_spacing and spacing is None:
            raise UsageError("target", "Exact spacing needs a spacing in mm.")
        scales = _numbers("scale", scale) if scale is not None else None
        if scales is not None and max(scales) > MAX_SCALE:
            raise UsageError("target", f"The scale must be at most {MAX_SCALE:g}.")
        spacings = _numbers("spacing", spacing) if spacing is not None else None
        sizes = None
        if size is not None:
            parsed = _numbers("size", size)
            if any(n.denominator != 1 for n in parsed):
                raise UsageError("target", "A size is a whole number of pixels.")
            sizes = tuple(int(n) for n in parsed)
        return cls(scales, spacings, sizes, exact_spacing, downsample)

    def grid(self, size: tuple[int, int, int], spacing: tuple[float, float, float] | None) -> Grid:
        """The grid for a volume of `size` (slices, rows, columns) and `spacing` (dz, dy, dx) mm.

        Raises:
            UsageError: the volume has no spacing, z is asked for, or the result would be coarser.
            TooLarge: the result is beyond a limit.
        """
        if self.scale is not None:
            axes = [Axis.scaled(n, s) for n, s in zip(size, _three(self.scale), strict=True) if _room(n * s)]
        elif self.size is not None:
            sizes = self.size if len(self.size) == 3 else (size[0], *(self.size * 2)[:2])
            axes = [Axis.sized(n, m) for n, m in zip(size, sizes, strict=True) if _room(Fraction(m))]
        else:
            axes = self._spaced(size, spacing)
        grid = Grid(*axes)
        if not grid.slices.is_identity:
            raise UsageError(
                "z-target",
                "A change along the slice axis was asked for; this version works in-plane only.",
                "Give one number, or two for rows and columns.",
            )
        for name, axis in (("rows", grid.rows), ("columns", grid.columns)):
            if axis.step > 1 and not self.downsample:
                raise UsageError(
                    "coarser",
                    f"The target is coarser than the input along the {name} (scale {float(axis.scale):.4g}).",
                    "Ask for it by name with --downsample if that is meant.",
                )
            if axis.scale > Fraction(MAX_SCALE) or axis.size_out > MAX_SIDE:
                raise TooLarge(
                    "too-large",
                    f"The result would have {axis.size_out} pixels along the {name} at scale {float(axis.scale):.4g};"
                    f" the limits are {MAX_SIDE} pixels and scale {MAX_SCALE:g}.",
                )
        if grid.rows.size_out * grid.columns.size_out > MAX_SLICE_PIXELS:
            raise TooLarge(
                "too-large", f"A slice of the result would have more than {MAX_SLICE_PIXELS} pixels."
            )
        return grid

    def _spaced(self, size: tuple[int, int, int], spacing: tuple[float, float, float] | None) -> list[Axis]:
        assert self.spacing is not None
        if spacing is None:
            raise UsageError(
                "no-spacing",
                "A spacing in mm was asked for, but the input carries none.",
                "Give a scale or a size.",
            )
        held = [fraction(d) for d in spacing]
        wanted = self.spacing if len(self.spacing) == 3 else (held[0], *(self.spacing * 2)[:2])
        return [
            Axis.spaced(n, d, t, exact=self.exact_spacing)
            for n, d, t in zip(size, held, wanted, strict=True)
            if _room(n * d / t)
        ]


def round_half_up(value: Fraction) -> int:
    """The nearest whole number, halves up."""
    return math.floor(value + HALF)


def fraction(value: Number) -> Fraction:
    """A number as the fraction its shortest decimal form names: 3.7 is 37/10."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        return Fraction(repr(float(value)))
    if isinstance(value, str) and re.search(r"e[+-]?\d{3}|.{41}", value, re.IGNORECASE):
        raise ValueError("a number that would take minutes to write out")
    return Fraction(value)


def reference_crop(size: int, scale: Fraction) -> tuple[int, int]:
    """How a reference axis is cut so that its shrunk form has a whole size (`protocol.md`, Low-resolution images).

    Args:
        size: N, reference pixels.
        scale: s.

    Returns:
        n, the low-resolution pixels, ⌊N/s⌋ or the next fewer for which n·s is whole when the denominator
        of s is at most ten; and the reference pixels kept, nearest to n·s. The effective scale is their ratio.
    """
    count = math.floor(size / scale)
    if scale.denominator <= 10:
        count -= count % scale.denominator
    count = max(count, 1)
    return count, min(size, max(1, round_half_up(count * scale)))


def _numbers(name: str, value: Number | Sequence[Number]) -> tuple[Fraction, ...]:
    if isinstance(value, str):
        parts: list[Number] = list(value.lower().replace("×", "x").replace(",", "x").split("x"))
    elif isinstance(value, int | float | Fraction):
        parts = [value]
    else:
        parts = list(value)
    try:
        numbers = tuple(fraction(part.strip() if isinstance(part, str) else part) for part in parts)
    except (ValueError, ZeroDivisionError, TypeError):
        shown = str(value)[:40]
        raise UsageError(
            "target", f"The {name} must be a number such as 2.5, 5/2 or 1.3x2.2, found {shown!r}."
        ) from None
    if not 1 <= len(numbers) <= 3:
        raise UsageError("target", f"The {name} takes one, two or three numbers, found {len(numbers)}.")
    if any(number <= 0 for number in numbers):
        raise UsageError("target", f"The {name} must be above zero.")
    return numbers


def _three(values: tuple[Fraction, ...]) -> tuple[Fraction, Fraction, Fraction]:
    if len(values) == 3:
        return values[0], values[1], values[2]
    return Fraction(1), values[0], values[-1]


def _room(pixels: Fraction) -> bool:
    if pixels > MAX_SIDE:
        raise TooLarge("too-large", f"The result would be wider than {MAX_SIDE} pixels.")
    return True
