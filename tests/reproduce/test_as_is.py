"""Native resolution: a made-up phantom's inserts are found, and its figures are those it was made with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mesr.geometry import Geometry
from mesr.inference import Options
from mesr.reproduce import as_is
from mesr.reproduce.as_is import INSERT_MM, INSERTS, RADIUS_MM, Figures
from mesr.reproduce.findings import Finding, read, write
from mesr.volume import ArraySlices, FloatImage, Volume

SPACING = (0.8, 0.8)
MEANS = {"air": -1000.0, "Teflon": 990.0, "Delrin": 340.0, "acrylic": 120.0, "polystyrene": -35.0, "LDPE": -100.0, "PMP": -200.0}  # fmt: skip


FINER = 4


def _phantom(noise: float = 0.0) -> FloatImage:
    """A body of 200 mm at 80 HU, off the middle, with its inserts; a pixel is the mean of its area."""
    fine = 288 * FINER
    rows, columns = (
        (n + 0.5) * spacing / FINER for n, spacing in zip(np.indices((fine, fine)), SPACING, strict=True)
    )
    middle = (118.4, 112.8)
    image = np.full((fine, fine), -1000.0)
    image[np.hypot(rows - middle[0], columns - middle[1]) <= 100] = 80.0
    for name, angle in INSERTS.items():
        place = (
            middle[0] + RADIUS_MM * np.sin(np.radians(angle)),
            middle[1] + RADIUS_MM * np.cos(np.radians(angle)),
        )
        image[np.hypot(rows - place[0], columns - place[1]) <= INSERT_MM] = MEANS[name]
    image = image.reshape(288, FINER, 288, FINER).mean(axis=(1, 3))
    return np.asarray(image + np.random.default_rng(0).normal(0, noise, image.shape), dtype=np.float32)


def test_the_inserts_of_a_phantom_off_the_middle_are_found() -> None:
    assert as_is.insert_means(_phantom(), SPACING) == pytest.approx(MEANS, abs=1.0)


def test_the_slices_with_inserts_are_found() -> None:
    empty = np.full((288, 288), 80.0, np.float32)
    stack = np.stack([empty, _phantom(), _phantom(5.0), 0.5 * _phantom() + 0.5 * empty])
    volume = Volume(Geometry(stack.shape, (2.5, *SPACING)), ArraySlices(stack), "CT", "HU")
    assert as_is.insert_slices(volume) == [1, 2]


def test_noise_and_sharpness_are_told() -> None:
    figures = as_is.phantom_figures(_phantom(20.0), SPACING)
    assert figures["noise"] == pytest.approx(20.0, rel=0.1)
    # A square pixel's own, 0.6 of a line pair, is the most there can be.
    assert figures["MTF50, strong contrast"] == pytest.approx(0.6 / SPACING[0], rel=0.15)


def test_a_patients_tissue_and_skin_are_told_in_the_places_of_the_scan_itself() -> None:
    patient = _phantom(20.0)
    figures = as_is.look_at_tissue(patient, SPACING)
    found = figures(patient, SPACING)
    assert found["noise"] == pytest.approx(20.0, rel=0.1)
    assert found["mean soft tissue"] == pytest.approx(80.0, abs=2.0)
    assert found["MTF50, skin"] == pytest.approx(0.6 / SPACING[0], rel=0.15)
    blurred = (patient[:-1, :-1] + patient[1:, :-1] + patient[:-1, 1:] + patient[1:, 1:]) / 4
    assert figures(blurred, SPACING)["MTF50, skin"] < 0.8 * found["MTF50, skin"]


def test_where_there_is_no_skin_its_sharpness_is_no_number() -> None:
    patient = _phantom()
    assert math.isnan(as_is.tissue_figures(patient, SPACING, patient > 0, None)["MTF50, skin"])


def test_a_method_that_shifts_values_is_looked_at_in_the_same_tissue() -> None:
    patient = _phantom(20.0)
    figures = as_is.look_at_tissue(patient, SPACING)
    finer = np.kron(patient + np.float32(60), np.ones((2, 2), np.float32))
    shifted = figures(finer, (SPACING[0] / 2, SPACING[1] / 2))
    assert shifted["mean soft tissue"] == pytest.approx(
        figures(patient, SPACING)["mean soft tissue"] + 60, abs=0.01
    )


def test_what_is_gained_over_the_sinc_is_told_on_the_slices_all_have() -> None:
    stack = np.stack([_phantom(5.0), _phantom(5.0), _phantom(5.0)])
    volume = Volume(Geometry(stack.shape, (2.5, *SPACING)), ArraySlices(stack), "CT", "HU")

    def look(values: FloatImage, spacing: tuple[float, float]) -> Figures:
        return lambda result, place: {
            "rows": float(len(result)),
            "lost": math.nan,
            "mean": float(result.mean()),
        }

    found = as_is._each(volume, [0, 1, 2], "scan", [("sinc", "sinc"), ("net", "nearest")], Options(), look)
    told = {(one.measure, one.method): one for one in found}
    assert {measure for measure, _ in told} == {"rows", "mean"}
    assert (told["rows", "as it is"].value, told["rows", "net"].value, told["rows", "net"].count) == (
        288,
        576,
        3,
    )
    assert math.isnan(told["rows", "sinc"].gain)
    ahead = told["mean", "net"]
    assert ahead.low <= ahead.gain <= ahead.high
    assert ahead.gain == pytest.approx(ahead.value - told["mean", "sinc"].value, abs=1e-3)


def test_findings_come_back_from_their_file(tmp_path: Path) -> None:
    found = [Finding("phantom", "net", "id", "noise", 12.5, 1.5, 7, 0.5, 0.25, 0.75)]
    write(found, tmp_path / "native.csv")
    assert read(tmp_path / "native.csv") == found
    assert read(tmp_path / "none.csv") == []
