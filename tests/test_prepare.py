"""Scans to a training set: cropped to the body, split by patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mesr.data import load_slices
from mesr.errors import InputError, UsageError
from mesr.prepare import ScanSpec, SetSpec, crop_to_body, of_paths, prepare, specification
from mesr.volume import Slice


def _scan(folder: Path, name: str, seed: int, shape: tuple[int, ...] = (3, 300, 320)) -> ScanSpec:
    values = np.full(shape, -1000, np.int16)
    values[:, 60:250, 80:290] = np.random.default_rng(seed).integers(-100, 200, (shape[0], 190, 210))
    np.save(folder / f"{name}.npy", values)
    return ScanSpec(
        f"{name}.npy", "train", name, "CT", "CC BY 4.0", "made", {"chest": [0, 1], "neck": [2, 2]}
    )


def test_slices_are_cropped_to_the_body_and_listed(tmp_path: Path) -> None:
    scans = [_scan(tmp_path, "a", 0), _scan(tmp_path, "b", 1)]
    scans[1].split = "val"
    manifest = prepare(SetSpec(scans), tmp_path, tmp_path / "set")
    found = load_slices(tmp_path / "set", "train", ["CT"])
    assert [one.site for one in found] == ["chest", "chest", "neck"]
    assert all(one.values.dtype == np.int16 for one in found)
    assert found[0].values.shape[0] < 300
    assert manifest == json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["series"][0]["licence"] == "CC BY 4.0"


def test_a_patient_in_two_splits_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    scans = [_scan(tmp_path, "a", 0), _scan(tmp_path, "b", 1)]
    scans[1].split, scans[1].patient = "val", "a"
    with pytest.raises(InputError, match="both train and val"):
        prepare(SetSpec(scans), tmp_path, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_same_slice_under_two_names_is_refused(tmp_path: Path) -> None:
    scans = [_scan(tmp_path, "a", 0), _scan(tmp_path, "b", 0)]
    scans[1].split = "val"
    with pytest.raises(InputError, match="same slice"):
        prepare(SetSpec(scans), tmp_path, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_test_scans_are_never_prepared(tmp_path: Path) -> None:
    path = tmp_path / "scans.yaml"
    path.write_text("scans: [{path: a, split: test, patient: a, modality: CT}]")
    with pytest.raises(UsageError, match="never prepared"):
        specification(path)


def test_one_s_own_scans_are_split_by_path(tmp_path: Path) -> None:
    spec, _ = of_paths([tmp_path / f"{n}" for n in range(10)], "CT", 0.2)
    assert sorted(scan.split for scan in spec.scans) == ["train"] * 8 + ["val"] * 2
    assert len({scan.patient for scan in spec.scans}) == 10


def test_air_is_floored_and_padding_filled() -> None:
    values = np.full((260, 260), -3024, np.float32)
    values[40:220, 40:220] = 30
    values[100, 100] = -1100
    cropped = crop_to_body(Slice(values), "CT", [-1000, 1000])
    assert cropped.min() == -1024
    assert cropped.max() == 30
    assert cropped.dtype == np.int16


def test_fractions_are_kept_as_floats() -> None:
    values = np.linspace(0, 1, 260 * 260, dtype=np.float32).reshape(260, 260)
    assert crop_to_body(Slice(values), "MR", [0, 1]).dtype == np.float32
