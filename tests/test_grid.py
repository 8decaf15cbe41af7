"""Targets and the grids they ask for, and how a reference is cut."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from mesr.errors import TooLarge, UsageError
from mesr.grid import Target, fraction, reference_crop


@pytest.mark.parametrize(("text", "size"), [("2.5", (1, 250, 125)), ("5/2", (1, 250, 125)), ("1.3x2.2", (1, 130, 110)), ("1x2x3", (1, 200, 150))])  # fmt: skip
def test_a_scale_is_read_as_one_two_or_three_numbers(text: str, size: tuple[int, int, int]) -> None:
    assert Target.of(scale=text).grid((1, 100, 50), None).size_out == size


def test_a_size_is_taken_per_axis() -> None:
    assert Target.of(size=300).grid((5, 100, 50), None).size_out == (5, 300, 300)
    assert Target.of(size=(300, 200)).grid((5, 100, 50), None).size_out == (5, 300, 200)


@pytest.mark.parametrize("bad", ["0", "-1", "nan", "inf", "two", "", "1x1x1x1", "1/0"])
def test_a_senseless_scale_is_refused_plainly(bad: str) -> None:
    with pytest.raises(UsageError):
        Target.of(scale=bad)


@pytest.mark.parametrize(
    "asked", [{"scale": "2,5"}, {"spacing": "0,5"}, {"size": "1,024"}, {"scale": "1,3x2,2"}]
)
def test_a_comma_is_refused_rather_than_guessed_at(asked: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"comma.*2\.5.*2x5") as raised:
        Target.of(**asked)  # type: ignore[arg-type]
    assert raised.value.code == "target"


def test_exactly_one_target_is_needed() -> None:
    with pytest.raises(UsageError, match="found none"):
        Target.of()
    with pytest.raises(UsageError, match="scale and size"):
        Target.of(scale=2, size=3)


def test_an_enormous_scale_is_refused() -> None:
    with pytest.raises(UsageError):
        Target.of(scale="1e6")
    for size in ("1000000", "200"):
        with pytest.raises(TooLarge):
            Target.of(size=size).grid((1, 4, 4), None)


def test_a_coarser_result_must_be_asked_for_by_name() -> None:
    with pytest.raises(UsageError, match="coarser"):
        Target.of(spacing=2.0).grid((1, 64, 64), (1.0, 1.0, 1.0))
    assert Target.of(spacing=2.0, downsample=True).grid((1, 64, 64), (1.0, 1.0, 1.0)).size_out == (1, 32, 32)


def test_the_slice_axis_is_left_alone() -> None:
    with pytest.raises(UsageError, match="in-plane"):
        Target.of(scale="2x2x2").grid((10, 64, 64), None)


@pytest.mark.parametrize(
    ("asked", "slices"),
    [
        ({"scale": "1.3x2x2"}, 1), ({"scale": "0.6x2x2"}, 1), ({"scale": "1.1x2x2"}, 4),
        ({"spacing": "2.2x0.5x0.5"}, 1), ({"size": (2, 64, 64)}, 1),
    ],
)  # fmt: skip
def test_a_change_of_slices_is_refused_where_it_would_round_to_none(asked: dict, slices: int) -> None:
    with pytest.raises(UsageError, match="in-plane"):
        Target.of(**asked).grid((slices, 32, 32), (2.5, 1.0, 1.0))


def test_the_spacing_of_the_slices_may_be_named_as_it_is() -> None:
    grid = Target.of(spacing="2.5x0.5x0.5").grid((3, 32, 32), (2.500001, 1.0, 1.0))
    assert grid.size_out == (3, 64, 64)


def test_a_spacing_needs_a_spacing() -> None:
    with pytest.raises(UsageError, match="carries none"):
        Target.of(spacing=0.5).grid((1, 64, 64), None)


@pytest.mark.parametrize("scale", ["1.5", "2", "2.5", "3", "3.5", "4"])
@pytest.mark.parametrize("size", [512, 511, 384, 333])
def test_the_reference_is_cut_so_that_the_six_scales_are_exact(scale: str, size: int) -> None:
    count, kept = reference_crop(size, fraction(scale))
    assert Fraction(kept, count) == fraction(scale)
    assert size - kept < 2 * math.ceil(fraction(scale)) * fraction(scale).denominator
