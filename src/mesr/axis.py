"""One axis of a grid: sizes, source indices, offsets and effective scale, in exact rationals.

It maps output index q to the input coordinate `start + q·step`, both counted in input pixels with pixel 0's
centre at 0. An axis that keeps the field of view has `step = N/N'` and `start = step/2 − 1/2` (half-pixel
centres), which `dicom.md` §2 and `torch.nn.functional.interpolate(align_corners=False)` share. Floats appear
only at the very end, so that no `floor` ever picks a wrong neighbour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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

    def mirrored(self) -> Axis:
        """The same places counted from the other end: what the axis is for a flipped image."""
        last = Fraction(self.size_in - 1)
        start = last - self.coordinate(self.size_out - 1)
        return Axis(self.size_in, self.size_out, self.step, start, last - self.centre)

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


def round_half_up(value: Fraction) -> int:
    """The nearest whole number, halves up."""
    return math.floor(value + HALF)
