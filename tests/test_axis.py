"""Sizes and sources of one axis, against exact rationals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from mesr.axis import Axis
from mesr.grid import fraction

SCALES = [
    "1", "1.01", "1.1", "1.25", "1.3", "4/3", "1.37", "1.5", "1.7", "1.75", "1.9", "2", "2.2", "2.25", "2.5",
    "8/3", "2.7", "3", "3.1", "3.14159265358979", "3.3", "3.5", "3.7", "3.75", "3.9", "3.99", "4", "5", "7.3", "8",
]  # fmt: skip
SIZES = [*range(1, 41), 63, 64, 65, 100, 101, 127, 128, 160, 192, 240, 255, 256, 320, 333, 384, 400, 500, 511, 512, 1024]  # fmt: skip


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_round_half_up_and_keep_the_field_of_view(scale: str) -> None:
    assert len(SCALES) == 30
    assert len(SIZES) == 60
    for size in SIZES:
        axis = Axis.scaled(size, fraction(scale))
        assert axis.size_out == max(1, math.floor(size * Fraction(scale) + Fraction(1, 2)))
        first, last = axis.coordinate(0), axis.coordinate(axis.size_out - 1)
        half = axis.step / 2
        assert (first - half, last + half) == (Fraction(-1, 2), size - Fraction(1, 2))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 31, 101, 512])
def test_sources_agree_with_exact_arithmetic_and_stay_inside(scale: str, size: int) -> None:
    axis = Axis.scaled(size, fraction(scale))
    for found, rule in ((axis.nearest(), _nearest), (axis.below(), _below), (axis.corner(), _corner)):
        assert found.pixel.min() >= 0
        assert found.pixel.max() < size
        for q in range(axis.size_out):
            pixel, coordinate = rule(axis, q)
            pixel = min(max(pixel, 0), size - 1)
            assert found.pixel[q] == pixel
            assert found.offset[q] == pytest.approx(float(coordinate - pixel), abs=1e-12)


def _nearest(axis: Axis, q: int) -> tuple[int, Fraction]:
    x = axis.coordinate(q)
    low = math.floor(x)
    if x - low == Fraction(1, 2):
        return (low if x >= axis.centre else low + 1), x
    return round(x), x


def _below(axis: Axis, q: int) -> tuple[int, Fraction]:
    return math.floor(axis.coordinate(q)), axis.coordinate(q)


def _corner(axis: Axis, q: int) -> tuple[int, Fraction]:
    return math.floor(q * axis.step), q * axis.step


@pytest.mark.parametrize("size", [6, 10, 64])
def test_a_tie_breaks_the_same_way_under_a_flip(size: int) -> None:
    axis = Axis.scaled(size, Fraction(3, 2))
    found = axis.nearest()
    assert np.abs(found.offset).max() == 0.5
    middle = axis.coordinates() == float(axis.centre)
    mirrored = size - 1 - found.pixel[::-1]
    np.testing.assert_array_equal(found.pixel[~middle], mirrored[~middle])


def test_the_pixel_below_the_first_output_is_minus_one_and_is_clamped() -> None:
    found = Axis.scaled(8, Fraction(2)).below()
    assert found.pixel[0] == 0
    assert found.offset[0] == -0.25


@pytest.mark.parametrize("scale", ["1.5", "2", "3.7", "3.14159265358979"])
def test_a_window_of_an_axis_has_the_same_coordinates_and_ties(scale: str) -> None:
    axis = Axis.scaled(40, fraction(scale))
    part = axis.window(11, 29, 2, 38)
    np.testing.assert_array_equal(part.nearest().pixel + 2, axis.nearest().pixel[11:29])
    np.testing.assert_allclose(part.coordinates() + 2, axis.coordinates()[11:29], atol=1e-12)
    np.testing.assert_array_equal(part.corner().pixel + 2, axis.corner().pixel[11:29])


def test_a_window_outside_its_axis_is_a_bug() -> None:
    with pytest.raises(ValueError, match="outside"):
        Axis.scaled(8, Fraction(2)).window(0, 17, 0, 8)


def test_a_spacing_gives_the_nearest_size_or_exactly_the_spacing() -> None:
    near = Axis.spaced(512, fraction(0.9765625), fraction(0.4))
    assert near.size_out == 1250
    assert near.step == Fraction(512, 1250)
    held = Axis.spaced(512, fraction(0.9765625), fraction(0.3), exact=True)
    assert held.step == fraction(0.3) / fraction(0.9765625)
    middle = (held.coordinate(0) + held.coordinate(held.size_out - 1)) / 2
    assert middle == Fraction(511, 2)


def test_sixteen_digit_spacings_do_not_overflow() -> None:
    axis = Axis.spaced(512, fraction(0.7421875123456789), fraction(0.3141592653589793), exact=True)
    exact = np.array([float(axis.coordinate(q)) for q in range(axis.size_out)])
    np.testing.assert_allclose(axis.coordinates(), exact, atol=1e-4)
