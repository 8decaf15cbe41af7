"""Measuring runs on small synthetic series: what is recorded, what is skipped, what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import dicom_series
from tiny import tiny_weights

from mesr import evaluate, metrics, testset
from mesr.data import reference_pair
from mesr.errors import InputError, UsageError
from mesr.inference import Options
from mesr.intensity import HU_WINDOW
from mesr.results import COLUMNS, read_results
from mesr.volume import Modality

PLAIN = Options(device="cpu", precision="float32")
SIZE = (3, 48, 56)


@pytest.fixture(autouse=True)
def _one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one test are of one code, also while someone edits it."""
    monkeypatch.setattr(evaluate, "code_identity", lambda: "0123456789ab")


@pytest.fixture
def spec(tmp_path: Path) -> testset.EvaluationSpec:
    dicom_series(tmp_path / "scan", size=SIZE)
    return testset.of_paths([tmp_path / "scan"], "CT")


def test_a_run_has_a_row_for_each_slice_scale_and_method(
    spec: testset.EvaluationSpec, tmp_path: Path
) -> None:
    told: list[tuple[int, int, str]] = []
    rows = evaluate.run(
        ["sinc", "bicubic"], spec, tmp_path / "out", scales=["2", 2.5],
        options=PLAIN, on_slice=lambda *what: told.append(what),
    )  # fmt: skip
    assert len(rows) == 3 * 2 * 2
    assert told == [(1, 3, "measured-0000"), (2, 3, "measured-0000"), (3, 3, "measured-0000")]
    assert {(row.model, row.scale) for row in rows} == {
        (m, s) for m in ("sinc", "bicubic") for s in ("2", "2.5")
    }
    assert len({row.data_sha256 for row in rows}) == 3
    assert {row.patient for row in rows} == {"measured-0000"}
    assert (tmp_path / "out" / "results.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [row.key for row in read_results(tmp_path / "out" / "results.csv")] == [row.key for row in rows]


def test_a_row_equals_the_measures_taken_by_hand(spec: testset.EvaluationSpec, tmp_path: Path) -> None:
    (row, *_) = evaluate.run(["nearest"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    (first, *_) = testset.subjects(spec)
    values = testset.counted_air(first.volume.slices[first.k], "HU", HU_WINDOW)
    hr = (values.astype(np.float64) + 1000) / 2000
    lr = torch.nn.functional.interpolate(
        torch.from_numpy(hr)[None, None], size=(24, 28), mode="bicubic", antialias=True, align_corners=False
    )
    sr = lr[0, 0].numpy().repeat(2, 0).repeat(2, 1)
    assert row.psnr == pytest.approx(metrics.psnr(sr, hr, 2), abs=1e-4)
    assert row.ssim == pytest.approx(metrics.ssim(sr, hr, 2), abs=1e-5)
    assert (row.scale_rows, row.scale_columns, row.rows, row.columns) == (2.0, 2.0, 48, 56)


def test_a_network_and_an_interpolator_stand_side_by_side(
    spec: testset.EvaluationSpec, tmp_path: Path
) -> None:
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    rows = evaluate.run([weights, "sinc"], spec, tmp_path / "out", scales=["1.37", "1.3x2.2"], options=PLAIN)
    assert [row.model for row in rows[:2]] == ["tiny-1", "sinc"]
    assert rows[0].data_sha256 == rows[1].data_sha256
    uneven = next(row for row in rows if row.scale == "1.3x2.2")
    assert uneven.scale_rows == pytest.approx(1.3, abs=0.02)
    assert uneven.scale_columns == pytest.approx(2.2, abs=0.05)
    assert all(math.isfinite(row.psnr) for row in rows)


def test_a_second_run_measures_nothing_again(
    spec: testset.EvaluationSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    calls: list[object] = []
    original = evaluate.degraded
    monkeypatch.setattr(evaluate, "degraded", lambda *all: calls.append(all) or original(*all))
    again = evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    assert not calls
    assert [row.key for row in again] == [row.key for row in first]
    more = evaluate.run(["sinc", "bicubic"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    assert len(calls) == 3
    assert len(more) == 6
    assert len(read_results(tmp_path / "out" / "results.csv")) == 6


def test_a_killed_run_loses_only_its_unfinished_line(spec: testset.EvaluationSpec, tmp_path: Path) -> None:
    rows = evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    path = tmp_path / "out" / "results.csv"
    path.write_text(path.read_text()[:-40])
    assert len(read_results(path)) == 2
    again = evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    assert [row.key for row in again] == [row.key for row in rows]
    assert len(read_results(path)) == 3


def test_results_of_another_version_are_not_added_to(spec: testset.EvaluationSpec, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.csv").write_text("commit,psnr\nabc,40\n")
    with pytest.raises(InputError, match="columns"):
        evaluate.run(["sinc"], spec, tmp_path / "out", options=PLAIN)


@pytest.mark.parametrize("scale", ["0.5", "1x2x3", "big", 0])
def test_a_scale_that_cannot_be_measured_is_refused(scale: object) -> None:
    with pytest.raises(UsageError):
        evaluate.parse_scale(scale)  # type: ignore[arg-type]


def test_scales_have_one_name_however_they_are_written() -> None:
    names = [
        evaluate.label(evaluate.parse_scale(s)) for s in ("2", 2.0, "5/2", "2.5x2.5", "1.3x2.2", "3.14159265")
    ]
    assert names == ["2", "2", "2.5", "2.5", "1.3x2.2", "3.14159265"]


def test_a_pair_per_axis_is_cropped_per_axis() -> None:
    hr = torch.rand(1, 1, 53, 61)
    lr, cut, grid = reference_pair(hr, (Fraction("1.5"), Fraction(3)))
    assert tuple(lr.shape[2:]) == (34, 20)
    assert tuple(cut.shape[2:]) == (51, 60)
    assert grid.scale[1:] == (1.5, 3.0)


def test_the_low_resolution_image_depends_on_the_seed_only_where_there_is_noise() -> None:
    hr = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    one, two = (evaluate.degraded(hr, evaluate.parse_scale("2"), seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.lr, two.lr)


def test_a_scale_a_method_is_not_defined_for_has_no_row(
    spec: testset.EvaluationSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mesr.models import IntegerScales, weights

    model, card = weights.load("bicubic")
    model.scales = IntegerScales(frozenset({2}))
    monkeypatch.setattr(evaluate.weights_files, "load", lambda name: (model, card))
    rows = evaluate.run(["bicubic"], spec, tmp_path / "out", scales=["2", "2.5"], options=PLAIN)
    assert {row.scale for row in rows} == {"2"}


@pytest.mark.parametrize(("modality", "scales"), [("MR", ["2"]), ("CT", [])])
def test_nothing_to_measure_is_said(tmp_path: Path, modality: Modality, scales: list[str]) -> None:
    dicom_series(tmp_path / "scan", size=(1, 48, 48))
    with pytest.raises(UsageError) as raised:
        evaluate.run(
            ["nearest"], testset.of_paths([tmp_path / "scan"], modality), tmp_path / "out", scales=scales
        )
    assert raised.value.code == "nothing-to-measure"


def test_a_corrected_specification_corrects_what_is_there(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=SIZE)
    scan = testset.MeasuredScan("scan", "CT", patient="p1", sites={"pelvis": [0, 99999]})
    first = testset.EvaluationSpec([scan], str(tmp_path))
    evaluate.run(["nearest"], first, tmp_path / "out", scales=["2"], options=PLAIN)
    scan = testset.MeasuredScan(
        "scan", "CT", patients={"p1": [0, 0], "p2": [1, 99999]}, sites={"head": [0, 99999]}
    )
    second = testset.EvaluationSpec([scan], str(tmp_path))
    rows = evaluate.run(["nearest"], second, tmp_path / "out", scales=["2"], options=PLAIN)
    assert [(row.site, row.patient) for row in rows] == [("head", "p1"), ("head", "p2"), ("head", "p2")]
    held = read_results(tmp_path / "out" / "results.csv")
    assert [(row.site, row.patient) for row in held] == [(row.site, row.patient) for row in rows]


def test_the_same_weights_under_two_names_are_measured_once(
    spec: testset.EvaluationSpec, tmp_path: Path
) -> None:
    first, second = (
        tiny_weights(tmp_path / "a.safetensors"),
        tiny_weights(tmp_path / "b.safetensors", "tiny-2"),
    )
    rows = evaluate.run(
        ["sinc", first, "bicubic", "sinc", second], spec, tmp_path / "out", scales=["2"], options=PLAIN
    )
    assert [row.model for row in rows[:3]] == ["sinc", "tiny-1", "bicubic"]
    assert len(rows) == 3 * 3


def test_a_site_without_a_slice_is_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=SIZE)
    scan = testset.MeasuredScan("scan", "CT", sites={"pelvis": [100_000, 100_001]})
    with pytest.raises(InputError, match=r"no slice in sites\.pelvis") as refused:
        list(testset.subjects(testset.EvaluationSpec([scan], str(tmp_path))))
    assert refused.value.code == "no-slices"


def test_scans_by_path_are_of_the_modality_that_their_files_say(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=SIZE, modality="MR")
    assert [scan.modality for scan in testset.of_paths([tmp_path / "scan"], None).scans] == ["MR"]
    np.save(tmp_path / "a.npy", np.zeros(SIZE, np.float32))
    with pytest.raises(UsageError) as refused:
        testset.of_paths([tmp_path / "a.npy"], None)
    assert refused.value.code == "modality-needed"
