"""Who is to be paired: layouts on disk, specifications, and the split by patient."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import Dataset
from scans import dicom_series

from mesr.errors import InputError, UsageError
from mesr.patients import PatientSpec, Split, cohort, drawn, ratio_of


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
    found = {one.patient: one for one in cohort([tmp_path], simulated=False).patients}
    assert {name: list(one.sites) for name, one in found.items()} == {
        "2BC090": ["brain"],
        "2HNA012": ["head-neck"],
        "2PA001": ["pelvis"],
    }
    assert found["2PA001"].mask.endswith("2PA001/mask.nii.gz")
    assert found["2HNA012"].cbct.endswith("2HNA012/cbct.mha")


def test_two_dicom_folders_are_a_patient_whose_name_is_not_taken_over(tmp_path: Path) -> None:
    _touch(tmp_path / "ZZPHI^MARKER" / "CT" / "1.dcm", tmp_path / "ZZPHI^MARKER" / "CBCT" / "1.dcm")
    (one,) = cohort([tmp_path], simulated=False).patients
    assert one.patient == "patient-0000"
    assert (Path(one.ct).name, Path(one.cbct).name, one.mask) == ("CT", "CBCT", "")


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path / "a" / "ct.mha", tmp_path / "b" / "cbct.mha", tmp_path / ".hidden" / "ct" / "x")
    with pytest.raises(InputError, match="found none") as caught:
        cohort([tmp_path], simulated=False)
    assert caught.value.code == "no-patients"


def _series(folder: Path, patient: str, n: int, **said: str) -> None:
    def edit(data: Dataset, k: int) -> None:
        data.PatientID = patient
        data.update(said)

    dicom_series(folder, size=(2, 8, 8), series=f"1.2.3.{n}", edit=edit)


CONE = {"ManufacturerModelName": "XVI"}


def test_series_under_any_names_are_sorted_by_whose_they_are(tmp_path: Path) -> None:
    _series(tmp_path / "2020" / "x", "A", 0)
    _series(tmp_path / "2021" / "y", "A ", 1, **CONE)
    _series(tmp_path / "2021" / "z", "B", 2)
    _series(tmp_path / "2021" / "named" / "ct", "C", 3)
    _series(tmp_path / "2021" / "named" / "cbct", "C", 4, **CONE)
    _series(tmp_path / ".hidden", "D", 5)
    dicom_series(tmp_path / "2021" / "mr", modality="MR", series="1.2.3.6")
    _touch(tmp_path / "notes.txt")
    found, notes = cohort([tmp_path, tmp_path / "2021"], simulated=False)
    assert [(one.patient, Path(one.ct).name, Path(one.cbct).name) for one in found] == [
        ("patient-0000", "ct", "cbct"),
        ("patient-0001", "x", "y"),
        ("patient-0002", "z", ""),
    ]
    assert [note.text for note in notes] == [
        "patient-0001: CT 2 × 2.5 mm, cone-beam CT 2 × 2.5 mm.",
        "patient-0002: CT 2 × 2.5 mm.",
    ]
    assert found[1].scans()[1].geometry.size == (2, 8, 8)
    with pytest.raises(InputError, match="found 1 and 0"):
        found[2].scans()
    assert not found[2].simulated


def test_files_that_name_nobody_are_one_s_where_they_lie_in_one_folder(tmp_path: Path) -> None:
    for n, folder in enumerate(("a", "b")):
        _series(tmp_path / folder / "1", "", 2 * n)
        _series(tmp_path / folder / "2", "", 2 * n + 1, **CONE)
    found = cohort([tmp_path], simulated=False).patients
    assert [Path(one.cbct).parent.name for one in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "cone"),
    [
        ({"ManufacturerModelName": "OBI Cone-beam CT"}, True),
        ({"ManufacturerModelName": "On-Board Imager"}, True),
        ({"ManufacturerModelName": "TrueBeam"}, True),
        ({"SeriesDescription": "kV_CBCT_1a"}, True),
        ({"SeriesDescription": "CB-CT pelvis"}, True),
        ({"ProtocolName": "Cone Beam"}, True),
        ({"ManufacturerModelName": "Mobius"}, False),
        ({"SeriesDescription": "Pelvis TrueBeam"}, False),
        ({"ProtocolName": "RT_PELVIS_ETHOS"}, False),
    ],
)
def test_a_machine_s_name_tells_where_it_made_the_scan_and_not_where_it_will_treat(
    tmp_path: Path, said: dict[str, str], cone: bool
) -> None:
    _series(tmp_path, "A", 0, **said)
    (one,) = cohort([tmp_path], simulated=False).patients
    assert bool(one.cbct) is cone
    assert bool(one.ct) is not cone


def test_links_bring_nobody_twice_and_lead_to_who_lies_elsewhere(tmp_path: Path) -> None:
    _series(tmp_path / "elsewhere" / "1", "A", 0)
    _series(tmp_path / "elsewhere" / "2", "A", 1, **CONE)
    _touch(tmp_path / "in" / "b" / "ct.mha", tmp_path / "in" / "b" / "cbct.mha")
    (tmp_path / "in" / "a").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    found = cohort([tmp_path / "in", tmp_path / "in" / "b"], simulated=False).patients
    assert [Path(one.cbct).name for one in found] == ["cbct.mha", "2"]
    assert Path(found[0].ct).parent.name == "b"


def test_what_cannot_be_used_is_told_and_a_patient_who_lacks_it_refused(tmp_path: Path) -> None:
    _series(tmp_path / "a", "A", 0)
    _series(tmp_path / "b", "A", 1, **CONE)
    _series(tmp_path / "c", "A", 2, **CONE)
    (tmp_path / "c" / "00000.dcm").write_bytes((tmp_path / "c" / "00000.dcm").read_bytes()[:-40])
    (tmp_path / "d.dcm").write_text("nonsense")
    found, notes = cohort([tmp_path], simulated=False)
    (one,) = found
    with pytest.raises(InputError, match="of the 2 files"):
        one.scans()
    assert [note.code for note in notes] == ["refused-beside"]
    assert notes[0].text.startswith("1 file, folder or series could not")
    with pytest.raises(InputError, match="no such file"):
        cohort([tmp_path, tmp_path / "mistyped"], simulated=False)


def test_a_zip_is_looked_into(tmp_path: Path) -> None:
    _series(tmp_path / "x" / "1", "A", 0)
    _series(tmp_path / "x" / "2", "A", 1, **CONE)
    shutil.make_archive(str(tmp_path / "in" / "export"), "zip", tmp_path / "x")
    (one,) = cohort([tmp_path / "in"], simulated=False).patients
    assert [scan.slices[1].values.shape for scan in one.scans()] == [(8, 8), (8, 8)]


def test_a_specification_says_it_all(tmp_path: Path) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text(
        "root: scans\npatients:\n"
        "  - {ct: a/plan, cbct: a/day1, patient: p01, split: val, sites: {pelvis: [0, 99]}, licence: in-house}\n"
    )
    (one,) = cohort([path], simulated=False).patients
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
    (one,) = cohort([path], simulated=True).patients
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
    assert sorted(one.split for one in drawn(two, (1, 3))) == ["train", "val"]
    assert [one.split for one in drawn(two, (5, 0))] == ["train", "train"]


@pytest.mark.parametrize(("given", "left"), [("train", "val"), ("val", "train")])
def test_one_patient_beside_one_whose_split_is_given_is_of_the_other(given: Split, left: Split) -> None:
    two = [PatientSpec("a", "a", "x", split=given), PatientSpec("b", "b", "x")]
    assert [one.split for one in drawn(two, (5, 1))] == [given, left]


@pytest.mark.parametrize("text", ["5", "0:1", "5:1:1", "a:b", "-5:1", "5:"])
def test_a_split_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="train:val"):
        ratio_of(text)
    assert ratio_of("15:3") == (15, 3)
