"""Who is to be paired: layouts on disk, specifications, and the split by patient."""

from __future__ import annotations

from pathlib import Path

import pytest
from scans import dicom_series

from mesr.errors import InputError, UsageError
from mesr.patients import PatientSpec, cohort, drawn, ratio_of


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_synthrad_layout_is_found_at_any_depth_with_its_regions(tmp_path: Path) -> None:
    for patient, suffix in (("pelvis/2PA001", ".nii.gz"), ("brain/2BC090", ".nii.gz"), ("2HNA012", ".mha")):
        _touch(*(tmp_path / "Task2" / patient / f"{name}{suffix}" for name in ("ct", "cbct", "mask")))
    _touch(
        tmp_path / "Task2" / "overview" / "2PA001.png", tmp_path / "Task2" / "pelvis" / "2PA002" / "ct.nii.gz"
    )
    found = {one.patient: one for one in cohort([tmp_path], simulated=False)}
    assert {name: list(one.sites) for name, one in found.items()} == {
        "2BC090": ["brain"],
        "2HNA012": ["head-neck"],
        "2PA001": ["pelvis"],
    }
    assert found["2PA001"].mask.endswith("2PA001/mask.nii.gz")
    assert found["2HNA012"].cbct.endswith("2HNA012/cbct.mha")


def test_two_dicom_folders_are_a_patient_whose_name_is_not_taken_over(tmp_path: Path) -> None:
    _touch(tmp_path / "ZZPHI^MARKER" / "CT" / "1.dcm", tmp_path / "ZZPHI^MARKER" / "CBCT" / "1.dcm")
    (one,) = cohort([tmp_path], simulated=False)
    assert one.patient == "patient-0000"
    assert (Path(one.ct).name, Path(one.cbct).name, one.mask) == ("CT", "CBCT", "")


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path / "a" / "ct.mha", tmp_path / "b" / "cbct.mha", tmp_path / ".hidden" / "ct" / "x")
    with pytest.raises(InputError, match="found none") as caught:
        cohort([tmp_path], simulated=False)
    assert caught.value.code == "no-patients"


def test_a_folder_of_dicom_files_under_other_names_is_a_patient_and_so_is_one_beside_named_ones(
    tmp_path: Path,
) -> None:
    for folder in ("a/1.2.3", "a/1.2.4", "b", "c/ct", "c/cbct", ".hidden"):
        dicom_series(tmp_path / folder, size=(1, 8, 8))
    _touch(tmp_path / "d" / "notes.txt")
    found = cohort([tmp_path], simulated=False)
    assert [(Path(one.ct).name, Path(one.cbct).name) for one in found] == [
        ("ct", "cbct"),
        ("a", "a"),
        ("b", "b"),
    ]
    assert len({one.patient for one in found}) == 3
    (one,) = cohort([tmp_path / "b"], simulated=False)
    assert one.ct == one.cbct == str(tmp_path / "b")
    (one,) = cohort([tmp_path / "c"], simulated=False)
    assert Path(one.ct).name == "ct"


def test_a_specification_says_it_all(tmp_path: Path) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text(
        "root: scans\npatients:\n"
        "  - {ct: a/plan, cbct: a/day1, patient: p01, split: val, sites: {pelvis: [0, 99]}, licence: in-house}\n"
    )
    (one,) = cohort([path], simulated=False)
    assert one.ct == str(tmp_path / "scans/a/plan")
    assert (one.split, one.licence, one.sites) == ("val", "in-house", {"pelvis": [0, 99]})
    path.write_text("patients: [{ct: a, patient: p01}]")
    with pytest.raises(UsageError, match="needs a cbct"):
        cohort([path], simulated=False)
    path.write_text("patients: [{ct: a, cbct: b, patient: p, split: test}]")
    with pytest.raises(UsageError, match=r"must be one of train, val"):
        cohort([path], simulated=False)


def test_the_ct_scans_of_a_training_set_s_specification_can_be_simulated(tmp_path: Path) -> None:
    path = tmp_path / "scans.yaml"
    path.write_text(
        "scans:\n  - {path: a, split: train, patient: a, modality: CT, sites: {lung: [0, 9]}}\n"
        "  - {path: b, split: val, patient: b, modality: MR}\n"
    )
    (one,) = cohort([path], simulated=True)
    assert (one.ct, one.cbct, one.split, one.sites) == (str(tmp_path / "a"), "", "train", {"lung": [0, 9]})


def test_eighteen_patients_are_split_five_to_one_as_the_paper_s() -> None:
    patients = [PatientSpec("ct", f"p{n:02d}", "cbct") for n in range(18)]
    split = [one.split for one in drawn(patients, (5, 1))]
    assert (split.count("train"), split.count("val")) == (15, 3)
    assert split == [one.split for one in drawn(patients[::-1], (5, 1))][::-1]
    assert split != [one.split for one in drawn(patients, (5, 1), seed=1)]


def test_a_patient_s_scans_stay_together_and_a_split_given_is_kept() -> None:
    patients = [PatientSpec(f"ct{n}", f"p{n // 3}", "cbct") for n in range(12)]
    patients[4].split = "val"
    found: dict[str, set[str]] = {}
    for one in drawn(patients, (5, 1)):
        found.setdefault(one.patient, set()).add(one.split)
    assert found["p1"] == {"val"}
    assert all(len(splits) == 1 for splits in found.values())


def test_two_patients_leave_one_to_validate_on_and_one_leaves_none() -> None:
    two = [PatientSpec("a", "a", "x"), PatientSpec("b", "b", "x")]
    assert sorted(one.split for one in drawn(two, (5, 1))) == ["train", "val"]
    assert [one.split for one in drawn(two[:1], (5, 1))] == ["train"]


@pytest.mark.parametrize("text", ["5", "0:1", "5:1:1", "a:b", "-5:1", "5:"])
def test_a_split_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="train:val"):
        ratio_of(text)
    assert ratio_of("15:3") == (15, 3)
