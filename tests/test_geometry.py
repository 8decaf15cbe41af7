"""Positions in millimetres and how a grid moves them."""

from __future__ import annotations

import numpy as np
import pytest

from mesr.errors import GeometryInput
from mesr.geometry import Geometry
from mesr.grid import Target

TILT = np.radians(18.5)
TILTED = Geometry(
    (24, 512, 400),
    (2.5, 0.45, 0.6),
    (-100.0, 33.0, 7.0),
    slice_direction=(0.0, float(np.sin(TILT)), float(np.cos(TILT))),
)


@pytest.mark.parametrize("scale", ["1.7", "2.5", "1.3x2.2"])
def test_the_corners_of_the_field_of_view_stay_where_they_are(scale: str) -> None:
    moved = TILTED.resampled(Target.of(scale=scale).grid(TILTED.size, TILTED.spacing))
    for k in (0, TILTED.size[0] - 1):
        for rows in (0, 1):
            for columns in (0, 1):
                before = TILTED.position(k, rows * TILTED.size[1] - 0.5, columns * TILTED.size[2] - 0.5)
                after = moved.position(k, rows * moved.size[1] - 0.5, columns * moved.size[2] - 0.5)
                np.testing.assert_allclose(after, before, atol=1e-9)


def test_the_first_voxel_moves_by_half_the_change_in_spacing() -> None:
    moved = TILTED.resampled(Target.of(scale=2).grid(TILTED.size, TILTED.spacing))
    expected = np.array(TILTED.origin) + [0.5 * (0.3 - 0.6), 0.5 * (0.225 - 0.45), 0.0]
    np.testing.assert_allclose(moved.origin, expected, atol=1e-12)


def test_a_tilted_gantry_keeps_its_shear() -> None:
    moved = TILTED.resampled(Target.of(scale=2).grid(TILTED.size, TILTED.spacing))
    assert moved.slice_direction == TILTED.slice_direction
    assert moved.tilt_degrees == pytest.approx(18.5)


def test_the_affine_matrix_makes_the_geometry_again() -> None:
    again = Geometry.from_affine(TILTED.size, TILTED.affine)
    np.testing.assert_allclose(again.affine, TILTED.affine, atol=1e-12)


@pytest.mark.parametrize(
    "spacing", [(1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1e9, 1.0), (1.0, float("nan"), 1.0)]
)
def test_an_impossible_spacing_is_refused(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(GeometryInput, match="spacing"):
        Geometry((1, 2, 2), spacing)


def test_axes_in_one_plane_or_not_of_unit_length_are_refused() -> None:
    with pytest.raises(GeometryInput, match="plane"):
        Geometry((1, 2, 2), (1.0, 1.0, 1.0), row_direction=(1.0, 0.0, 0.0))
    with pytest.raises(GeometryInput, match="unit"):
        Geometry((1, 2, 2), (1.0, 1.0, 1.0), row_direction=(0.0, 2.0, 0.0))


def test_a_grid_for_another_size_is_a_bug() -> None:
    with pytest.raises(ValueError, match="applied"):
        TILTED.resampled(Target.of(scale=2).grid((1, 2, 3), None))
