"""A figure for every site."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scans import dicom_series
from typer.testing import CliRunner

from mesr import testset
from mesr.cli import app
from mesr.gallery import illustrate, illustrate_scales, middles, restored
from mesr.models import weights


@pytest.mark.slow
def test_every_site_gets_a_figure(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(4, 96, 96))
    spec = testset.of_paths([tmp_path / "scan"], "CT")
    (path,) = illustrate(["sinc", "bicubic"], spec, tmp_path / "out", scale="2.5")
    assert path.name.endswith("-x2.5.png")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 300
    assert len(np.unique(pixels)) > 50


@pytest.mark.slow
def test_the_command_draws_and_tells_what_is_below_a_floor(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(2, 96, 96))
    (tmp_path / "floor.csv").write_text("site,scale,gain,psnr\nall,2,0.0,99.0\n")
    arguments = [
        "evaluate", str(tmp_path / "scan"), "-o", str(tmp_path / "out"), "--modality", "ct", "--models", "sinc",
        "--scales", "2", "--pictures", "2", "--floor", str(tmp_path / "floor.csv"),
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "against the floor" in result.output
    assert len(list((tmp_path / "out").glob("*-x2.png"))) == 1


@pytest.mark.slow
def test_a_site_is_drawn_at_every_scale(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(4, 96, 96))
    spec = testset.of_paths([tmp_path / "scan"], "CT")
    (site,) = {one.site for one in testset.subjects(spec)}
    drawn = {
        count: illustrate_scales(
            ["sinc"], spec, tmp_path, ["1.5", "2", "4"][:count], sites=[site], name=f"of-{count}"
        )
        for count in (1, 3)
    }
    widths = {}
    for count, (path,) in drawn.items():
        with Image.open(path) as image:
            widths[count] = image.width
    assert widths[3] == 2 * widths[1]
    assert illustrate_scales(["sinc"], spec, tmp_path, ["2"], sites=["elsewhere"], name="none") == []


def test_a_method_is_called_what_the_caller_says(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(2, 48, 48))
    ((one, pair),) = middles(testset.of_paths([tmp_path / "scan"], "CT"), (Fraction(2), Fraction(2)))
    models = [weights.load(name) for name in ("sinc", "bicubic")]
    assert list(restored(models, pair, one.window, names={"sinc": "windowed"})) == ["windowed", "bicubic"]
