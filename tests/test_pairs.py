"""A user's own pair: the grid from two geometries, and what is refused as no pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner
from volumes import oblique, volume

import mesr
from mesr.cli import app
from mesr.errors import GeometryInput
from mesr.geometry import Geometry
from mesr.grid import Target
from mesr.inference import Options
from mesr.pairs import evaluate_pairs, pair_grid
from mesr.resample import resize
from mesr.results import read_results
from mesr.volume import ArraySlices, Volume

PLAIN = Options(device="cpu", precision="float32")


def fine_and_coarse(scale: str = "2") -> tuple[Volume, Volume]:
    """A coarse volume and the B-spline enlargement of it, taken for the truth."""
    size = (2, 24, 30)
    coarse = volume(replace(oblique(), size=size), np.random.default_rng(0).normal(0, 200, size), unit="HU")
    grid = Target.of(scale=scale).grid(size, coarse.spacing)
    fine = resize(torch.from_numpy(coarse.array), grid.rows, grid.columns, "bspline3").numpy()
    return coarse, replace(coarse, geometry=coarse.geometry.resampled(grid), slices=ArraySlices(fine))


@pytest.mark.parametrize("scale", ["2", "1.5", "1.25x2.5"])
def test_the_grid_of_a_pair_is_the_ratio_of_its_sizes(scale: str) -> None:
    coarse, fine = fine_and_coarse(scale)
    grid = pair_grid(coarse.geometry, fine.geometry)
    assert grid.size_in == coarse.geometry.size
    assert grid.size_out == fine.geometry.size


def test_the_method_that_made_the_truth_has_no_error() -> None:
    coarse, fine = fine_and_coarse()
    rows = evaluate_pairs(coarse, fine, ["bspline3", "nearest"], options=PLAIN)
    assert len(rows) == 4
    assert {row.degradation for row in rows} == {"pair"}
    exact = [row for row in rows if row.model == "bspline3"]
    assert all(row.psnr > 100 for row in exact)
    assert all(row.psnr < 60 for row in rows if row.model == "nearest")


def test_a_shifted_field_of_view_is_no_pair() -> None:
    coarse, fine = fine_and_coarse()
    moved = replace(fine.geometry, origin=tuple(np.add(fine.geometry.origin, [0, 1.0, 0])))
    with pytest.raises(GeometryInput, match="field of view"):
        pair_grid(coarse.geometry, moved)


def test_pixel_centres_aligned_at_the_corner_are_no_pair_at_a_large_scale() -> None:
    coarse, fine = fine_and_coarse("4")
    moved = replace(fine.geometry, origin=coarse.geometry.origin)
    with pytest.raises(GeometryInput, match="field of view"):
        pair_grid(coarse.geometry, moved)


def test_a_turned_volume_is_no_pair() -> None:
    coarse, fine = fine_and_coarse()
    flipped = replace(fine.geometry, row_direction=tuple(-x for x in fine.geometry.row_direction))
    with pytest.raises(GeometryInput, match="orientation"):
        pair_grid(coarse.geometry, flipped)


def test_other_slices_are_no_pair() -> None:
    coarse, fine = fine_and_coarse()
    with pytest.raises(GeometryInput, match="slices"):
        pair_grid(coarse.geometry, replace(fine.geometry, size=(3, 48, 60)))


def test_the_coarser_volume_comes_first() -> None:
    coarse, fine = fine_and_coarse()
    with pytest.raises(GeometryInput, match="coarser"):
        pair_grid(fine.geometry, coarse.geometry)


def test_volumes_without_geometry_are_taken_to_cover_the_same() -> None:
    grid = pair_grid(Geometry.unknown((1, 10, 12)), Geometry.unknown((1, 25, 30)))
    assert grid.scale == (1.0, 2.5, 2.5)


def test_rows_are_on_disk_as_they_are_measured_and_not_measured_again(tmp_path: Path) -> None:
    coarse, fine = fine_and_coarse()
    first = evaluate_pairs(coarse, fine, ["nearest"], out=tmp_path, options=PLAIN)
    assert [row.key for row in read_results(tmp_path / "results.csv")] == [row.key for row in first]
    again = evaluate_pairs(coarse, fine, ["nearest", "bicubic"], out=tmp_path, options=PLAIN)
    kept = [row.seconds for row in again if row.model == "nearest"]
    assert kept == pytest.approx([row.seconds for row in first])
    assert len(read_results(tmp_path / "results.csv")) == 4


def _on_disk(folder: Path) -> list[str]:
    for name, one in zip(("coarse", "fine"), fine_and_coarse(), strict=True):
        mesr.write(one, folder / f"{name}.nrrd")
    return ["evaluate", "--pairs", str(folder / "coarse.nrrd"), str(folder / "fine.nrrd"), "-o", str(folder / "out"),
            "--modality", "ct", "--models", "sinc"]  # fmt: skip


@pytest.mark.slow
def test_a_pair_can_be_drawn_at_its_own_scale(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*_on_disk(tmp_path), "--pictures", "2"])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out" / "pair.png") as image:
        assert min(image.size) > 300


@pytest.mark.parametrize(
    "more", [["--scales", "3"], ["--degradation", "noise"], ["--pictures", "3"]], ids=lambda more: more[0]
)
def test_what_means_nothing_for_a_pair_is_refused(tmp_path: Path, more: list[str]) -> None:
    result = CliRunner().invoke(app, [*_on_disk(tmp_path), *more])
    assert result.exit_code == 2
    assert "--pairs" in result.output or "at its own scale" in result.output
    assert not (tmp_path / "out" / "results.csv").exists()


def test_the_same_weights_under_two_names_are_measured_once() -> None:
    one = volume()
    assert len(evaluate_pairs(one, one, ["sinc", "sinc"])) == len(one.slices)
