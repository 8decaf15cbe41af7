"""Scans to a training set: cropped to the body, split by patient."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scans import dicom_series

from mesr.data import digest, load_slices
from mesr.errors import InputError, OutputError, UsageError
from mesr.prepare import (
    ScanSpec,
    SetSpec,
    crop_to_body,
    of_paths,
    prepare,
    prepared,
    specification,
)
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


def test_a_ct_that_does_not_say_so_gets_the_window_of_ct(tmp_path: Path) -> None:
    """The weights are used with it later, whatever the file's format."""
    manifest = prepare(SetSpec([_scan(tmp_path, "a", 0)]), tmp_path, tmp_path / "set")
    assert manifest["series"][0]["window"] == [-1000, 1000]


def test_a_ct_is_not_prepared_as_mr(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(2, 48, 48))
    spec, root = of_paths([tmp_path / "scan"], "MR", 0)
    with pytest.raises(InputError, match="is CT, expected MR"):
        prepare(spec, root, tmp_path / "set")


def test_the_names_of_one_s_own_files_stay_out_of_the_set(tmp_path: Path) -> None:
    _scan(tmp_path, "DOE_JOHN_1960", 0)
    spec, root = of_paths([tmp_path / "DOE_JOHN_1960.npy"], "CT", 0)
    prepare(spec, root, tmp_path / "set")
    written = [path.relative_to(tmp_path).as_posix() for path in (tmp_path / "set").rglob("*")]
    assert not any("DOE" in text for text in [*written, (tmp_path / "set" / "manifest.json").read_text()])


def test_a_scan_has_the_same_digest_under_any_name(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        scan = _scan(tmp_path, name, seed)
        (series,) = prepare(SetSpec([scan]), tmp_path, tmp_path / name)["series"]
        digests.append(digest(entry["sha256"] for entry in series["slices"]))
    assert digests[0] == digests[1] != digests[2]
    assert digest(one.sha256 for one in prepared(tmp_path / "b.npy", "CT")) == digests[0]


def test_two_scans_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their slices would be filed under it, one over the other."""
    scans = [_scan(tmp_path, "a", 0), replace(_scan(tmp_path, "b", 1), name="a.npy")]
    with pytest.raises(InputError) as raised:
        prepare(SetSpec(scans), tmp_path, tmp_path / "set")
    assert raised.value.code == "same-name"


def test_a_set_inside_its_scan_is_not_read_as_more_of_it(tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    _scan(tmp_path / "scan", "a", 0)
    spec, root = of_paths([tmp_path / "scan"], "CT", 0)
    prepare(spec, root, tmp_path / "scan" / "set")
    with pytest.raises(OutputError) as raised:
        prepare(spec, root, tmp_path / "scan" / "set", force=True)
    assert raised.value.code == "output-is-input"


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


def test_only_an_earlier_training_set_is_replaced(tmp_path: Path) -> None:
    spec = SetSpec([_scan(tmp_path, "a", 0)])
    prepare(spec, tmp_path, tmp_path / "set")
    with pytest.raises(OutputError) as raised:
        prepare(spec, tmp_path, tmp_path / "set")
    assert raised.value.code == "exists"
    first = sorted((tmp_path / "set").rglob("*"))
    prepare(spec, tmp_path, tmp_path / "set", force=True)
    assert sorted((tmp_path / "set").rglob("*")) == first


@pytest.mark.parametrize("place", ["notes.txt", "more/scan.npy", ".hidden"])
@pytest.mark.parametrize("among", ["alone", "beside a set"])
def test_what_no_prepare_made_is_never_deleted(tmp_path: Path, place: str, among: str) -> None:
    spec = SetSpec([_scan(tmp_path, "a", 0)])
    if among == "beside a set":
        prepare(spec, tmp_path, tmp_path / "set")
    own = tmp_path / "set" / place
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("mine")
    with pytest.raises(OutputError) as raised:
        prepare(spec, tmp_path, tmp_path / "set", force=True)
    assert raised.value.code == "other-files"
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    "manifest", ["nonsense", "[]", '{"format": 1, "studies": []}', '{"format": 1, "series": [{}]}']
)
def test_a_manifest_of_something_else_makes_no_training_set(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.json").write_text(manifest)
    with pytest.raises(OutputError) as raised:
        prepare(SetSpec([_scan(tmp_path, "a", 0)]), tmp_path, tmp_path / "set", force=True)
    assert raised.value.code == "other-files"
    assert (tmp_path / "set" / "manifest.json").read_text() == manifest


def test_the_scans_are_never_replaced_by_the_set_made_of_them(tmp_path: Path) -> None:
    (tmp_path / "scans" / "a").mkdir(parents=True)
    scan = _scan(tmp_path / "scans" / "a", "one", 0)
    before = (tmp_path / "scans" / "a" / scan.path).read_bytes()
    for root, path in (("scans/a", scan.path), ("scans", "a")):
        scan.path = path
        for out in (tmp_path / "scans", tmp_path / "scans" / "a", tmp_path / "scans" / "a" / "one.npy"):
            with pytest.raises(OutputError) as raised:
                prepare(SetSpec([scan]), tmp_path / root, out, force=True)
            assert raised.value.code in ("output-is-input", "other-files")
    assert (tmp_path / "scans" / "a" / "one.npy").read_bytes() == before


def test_blank_slices_of_two_patients_are_no_common_slice(tmp_path: Path) -> None:
    scans = [_scan(tmp_path, "a", 0), _scan(tmp_path, "b", 1)]
    scans[1].split = "val"
    for name in ("a", "b"):
        values = np.load(tmp_path / f"{name}.npy")
        values[1] = -1024
        np.save(tmp_path / f"{name}.npy", values)
    manifest = prepare(SetSpec(scans), tmp_path, tmp_path / "set")
    blank = [[one.get("blank", False) for one in series["slices"]] for series in manifest["series"]]
    assert blank == [[False, True, False]] * 2


def test_a_region_that_no_slice_is_in_is_refused(tmp_path: Path) -> None:
    scan = _scan(tmp_path, "a", 0)
    scan.sites = {"chest": [0, 1], "pelvis": [500, 999]}
    with pytest.raises(InputError, match=r"no slice in sites\.pelvis, 500 to 999; it has 0 to 2"):
        prepare(SetSpec([scan]), tmp_path, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_of_several_scans_one_is_always_kept_to_validate_on(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcd"]
    splits = [scan.split for scan in of_paths(paths, "CT", 0.1)[0].scans]
    assert sorted(splits) == ["train"] * 3 + ["val"]
    assert {scan.split for scan in of_paths(paths, "CT", 0.0)[0].scans} == {"train"}
