"""What is asked for — a scale, a spacing or a size — and the grid that answers it, one exact `Axis` each way."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .axis import Axis, Sources, round_half_up
from .errors import TooLarge, UsageError
from .limits import MAX_SCALE, MAX_SIDE, MAX_SLICE_PIXELS

__all__ = ["Axis", "Grid", "Number", "Sources", "Target", "fraction", "reference_crop", "round_half_up"]

Number = int | float | str | Fraction


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
        if not grid.slices.is_identity or self._asks_for_slices(spacing):
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

    def _asks_for_slices(self, spacing: tuple[float, float, float] | None) -> bool:
        """Whether a change along z is meant, which may round to none: few slices have room for little."""
        if self.scale is not None:
            return _three(self.scale)[0] != 1
        if self.spacing is None or len(self.spacing) != 3 or spacing is None:
            return False
        # A header's spacing may be a float32 that someone copied by eye.
        return abs(float(self.spacing[0]) - spacing[0]) > 1e-3 * spacing[0]

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
    if isinstance(value, str) and "," in value:
        # A decimal comma or a list: one of the two would be the wrong guess.
        raise UsageError(
            "target",
            f"The {name} must be written without a comma, found {value[:40]!r}.",
            "Write a decimal number with a point, such as 2.5, and rows and columns with an x, such as 2x5.",
        )
    if isinstance(value, str):
        parts: list[Number] = list(value.lower().replace("×", "x").split("x"))
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
