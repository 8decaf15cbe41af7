"""CBCT and CT of one patient to a paired training set, and what becomes of it in training."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import torch
from pydicom import Dataset
from scans import dicom_series
from typer.testing import CliRunner
from volumes import volume

pytest.importorskip("SimpleITK", reason="needs SimpleITK")

from mesr import deformation, io, itk, paired
from mesr.alignment import Alignment, Placed, Rigid, agreement
from mesr.cli import app
from mesr.data import TrainingSlice, load_slices, read_manifest
from mesr.degrade import ConeBeam
from mesr.errors import InputError, OutputError, UsageError
from mesr.geometry import Geometry
from mesr.io.dicom.identity import MANUFACTURER
from mesr.models import weights
from mesr.models.weights import Card
from mesr.paired import PairedScan, PairingConfig, field_of_view, plane_grid
from mesr.pairing import prepare_pairs, stored
from mesr.patients import PatientSpec, cohort
from mesr.prepare import ScanSpec, SetSpec, prepare
from mesr.provenance import about
from mesr.quality import Quality
from mesr.recipe import ModelConfig, TrainConfig, ValidationConfig
from mesr.registration import assess
from mesr.sampling import PatchSampler, SamplingConfig
from mesr.testset import assert_unseen, of_paths
from mesr.train import train
from mesr.volume import FloatImage

PLACE = phantoms.geometry((8, 76, 80))
AS_PLACED = PairingConfig(register="none")


def noisy(values: np.ndarray, seed: int = 9) -> np.ndarray:
    """A scan as a worse scanner with another zero sees it."""
    return np.asarray(values + 30 + np.random.default_rng(seed).normal(0, 25, values.shape), np.float32)


def patient(
    folder: Path, seed: int = 0, suffix: str = ".mha", other: int | None = None, place: Geometry = PLACE
) -> Path:
    """A folder with `ct` and `cbct`, of two people where `other` is given."""
    folder.mkdir(parents=True)
    ct, _ = phantoms.body(seed, place)
    seen, _ = phantoms.body(seed if other is None else other, place)
    io.write(volume(place, ct), folder / f"ct{suffix}")
    io.write(volume(place, noisy(seen)), folder / f"cbct{suffix}")
    return folder


def paired_set(folder: Path, config: PairingConfig = AS_PLACED) -> Path:
    """Two patients' set."""
    for n in range(2):
        patient(folder / "in" / f"2PA00{n}", n)
    prepare_pairs(cohort([folder / "in"], simulated=False).patients, folder / "set", config)
    return folder / "set"


def test_the_synthrad_layout_becomes_a_set_that_training_reads(tmp_path: Path) -> None:
    patient(tmp_path / "in" / "2PA001", 0, ".nii.gz")
    patient(tmp_path / "in" / "2THB002", 1)
    rows = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert [(row.patient, row.status, row.slices) for row in rows] == [
        ("2PA001", "paired", 8),
        ("2THB002", "paired", 8),
    ]
    assert sorted(row.split for row in rows) == ["train", "val"]
    series = read_manifest(tmp_path / "set")["series"]
    assert [one["paired"] for one in series] == ["cbct", "cbct"]
    found = [*load_slices(tmp_path / "set", "train", ["CT"]), *load_slices(tmp_path / "set", "val", ["CT"])]
    assert {one.site for one in found} == {"pelvis", "thorax"}
    for one in found:
        assert one.paired is not None
        assert one.paired.shape == one.values.shape
        assert one.values.dtype == one.paired.dtype == np.int16
        inside = one.values > -500
        assert 15 < (one.paired - one.values)[inside].mean() < 45
        assert 15 < (one.paired - one.values)[inside].std() < 35
        assert (one.values[[0, -1]] == -1024).all()
        assert (one.paired[[0, -1]] == -1024).all()


def test_a_mask_that_is_given_bounds_the_pairs(tmp_path: Path) -> None:
    folder = patient(tmp_path / "in" / "a")
    mask = np.zeros(PLACE.size, np.float32)
    mask[:, :, :40] = 1
    io.write(volume(PLACE, mask), folder / "mask.mha")
    prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    for one in load_slices(tmp_path / "set", "train", ["CT"]):
        assert one.paired is not None
        columns = (one.values > -500).any(axis=0)
        assert columns.any()
        assert not columns[-20:].any()
        assert not (one.paired > -500).any(axis=0)[-20:].any()


def _filled(values: np.ndarray) -> Callable[[Dataset, int], None]:
    def edit(data: Dataset, k: int) -> None:
        data.PixelData = np.clip(np.rint(values[k]) + 1024, 0, 4095).astype("<u2").tobytes()

    return edit


def test_two_dicom_series_are_paired_and_nothing_tells_whose_they_are(tmp_path: Path) -> None:
    values, place = phantoms.body(0, PLACE)
    common: dict[str, Any] = {"size": place.size, "spacing": place.spacing, "origin": place.origin}
    folder = tmp_path / "in" / "ZZPHI^MARKER"
    dicom_series(folder / "ct", **common, edit=_filled(values))
    dicom_series(folder / "cbct", **common, series="1.2.3.4", edit=_filled(noisy(values)))
    prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    files = [path for path in (tmp_path / "set").rglob("*") if path.is_file()]
    assert len(files) == 2 * 8 + 3
    assert not [
        path for path in files if "ZZPHI" in str(path.relative_to(tmp_path)) or b"ZZPHI" in path.read_bytes()
    ]
    (one,) = read_manifest(tmp_path / "set")["series"]
    assert one["patient"] == "patient-0000"


def _told(values: np.ndarray, **said: str) -> Callable[[Dataset, int], None]:
    fill = _filled(values)

    def edit(data: Dataset, k: int) -> None:
        fill(data, k)
        data.update(said)

    return edit


def exported(folder: Path, *said: dict[str, str]) -> Path:
    """A patient's files in one heap, as an archive exports them: a series for each of `said`, a worse scan after the first."""
    values, place = phantoms.body(0, PLACE)
    for n, words in enumerate(said):
        common: dict[str, Any] = {"size": place.size, "spacing": place.spacing, "origin": place.origin}
        edit = _told(noisy(values) if n else values, **words)
        scan = dicom_series(folder / str(n), **common, series=f"1.2.{ord(folder.name[0])}.{n}", edit=edit)
        for k, path in enumerate(scan.paths):
            path.rename(folder / f"IM{n}{k:03d}")
        (folder / str(n)).rmdir()
    return folder


def test_the_series_of_a_heap_of_files_are_told_apart(tmp_path: Path) -> None:
    exported(
        tmp_path / "in" / "somebody", {"SeriesDescription": "Pelvis 3 mm"}, {"ManufacturerModelName": "XVI"}
    )
    (row,) = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert (row.status, row.slices) == ("paired", 8)
    (one,) = read_manifest(tmp_path / "set")["series"]
    assert one["paired"] == "cbct"
    first = load_slices(tmp_path / "set", "train", ["CT"])[0]
    assert first.paired is not None
    assert 15 < (first.paired - first.values)[first.values > -500].mean() < 45


def test_a_result_of_ours_and_an_mr_series_beside_the_two_are_passed_over(tmp_path: Path) -> None:
    folder = exported(tmp_path / "in" / "a", {}, {"SeriesDescription": "CBCT"})
    made = Dataset()
    made.Manufacturer = MANUFACTURER

    def ours(data: Dataset, k: int) -> None:
        data.ContributingEquipmentSequence = [made]

    dicom_series(folder / "ours", series="1.2.3.8", edit=ours)
    dicom_series(folder / "mr", series="1.2.3.9", modality="MR")
    (row,) = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert row.status == "paired"


def test_a_heap_that_holds_not_one_of_each_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    cone, plain = {"SeriesDescription": "CBCT"}, {"SeriesDescription": "Pelvis 3 mm"}
    for name, said in {
        "a": [plain, plain],
        "b": [plain, cone, cone],
        "c": [plain],
        "d": [plain, cone],
    }.items():
        exported(tmp_path / "in" / name, *({"PatientID": f"ZZPHI-{name}", **one} for one in said))
    (tmp_path / "in" / "d" / "IM1003").unlink()
    exported(tmp_path / "in" / "e", plain, cone)
    rows = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert [(row.patient, row.status, row.code) for row in rows] == [
        ("patient-0000", "refused", "not-told-apart"),
        ("patient-0001", "refused", "not-told-apart"),
        ("patient-0002", "refused", "not-told-apart"),
        ("patient-0003", "refused", "missing-slices"),
        ("patient-0004", "paired", ""),
    ]
    assert ["found 2 and 0" in rows[0].sentence, "found 1 and 2" in rows[1].sentence] == [True, True]
    kept = (path for path in (tmp_path / "set").rglob("*") if path.is_file())
    assert not [path for path in kept if b"ZZPHI" in path.read_bytes()]


def test_who_cannot_be_paired_is_refused_with_a_reason_and_the_others_go_on(tmp_path: Path) -> None:
    patient(tmp_path / "in" / "a", 0)
    patient(tmp_path / "in" / "b", 1, other=2)
    (patient(tmp_path / "in" / "c", 3) / "ct.mha").write_bytes(b"nonsense")
    told: list[str] = []
    rows = prepare_pairs(
        cohort([tmp_path / "in"], simulated=False).patients,
        tmp_path / "set",
        AS_PLACED,
        on_patient=lambda r: told.append(str(r)),
    )
    assert [(row.status, row.code) for row in rows] == [
        ("paired", ""),
        ("refused", "not-registered"),
        ("refused", "not-metaimage"),
    ]
    assert [row.split for row in rows] == ["train", "", ""]
    assert rows[1].detail_after is not None
    assert len(told) == 3
    assert "could not be laid over" in told[1]
    assert rows[0].extent_mm == pytest.approx(8 * read_manifest(tmp_path / "set")["series"][0]["spacing"][0])
    with (tmp_path / "set" / "quality.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["code"] for row in table] == ["", "not-registered", "not-metaimage"]
    written = json.loads((tmp_path / "set" / "quality.json").read_text(encoding="utf-8"))
    assert [row["slices"] for row in written["patients"]] == [8, 0, 0]
    assert not [path for path in (tmp_path / "set").iterdir() if path.name.startswith("0001")]


@pytest.mark.parametrize(
    ("status", "extent", "warned"),
    [("paired", 48.0, True), ("paired", 51.0, False), ("simulated", 48.0, False)],
)
def test_a_short_cbct_is_said_to_be_too_short_to_tell_whose_it_is(
    status: str, extent: float, warned: bool
) -> None:
    row = Quality("a", status, slices=16, extent_mm=extent, difference_hu=40.0)
    assert ("48 mm are too short to tell another patient by" in str(row)) is warned


def test_when_all_are_refused_nothing_is_left(tmp_path: Path) -> None:
    patient(tmp_path / "in" / "b", 1, other=2)
    with pytest.raises(InputError, match="could be paired") as caught:
        prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert caught.value.code == "no-pairs"
    assert not (tmp_path / "set").exists()


def test_one_scan_under_two_names_is_in_one_split_or_refused(tmp_path: Path) -> None:
    for name in "ab":
        patient(tmp_path / "in" / name, 0)
    with pytest.raises(InputError, match="same slice"):
        prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)


def test_two_fractions_of_one_patient_are_not_trained_and_validated_on(tmp_path: Path) -> None:
    """Each CBCT shows another part of the same CT, so what is kept of its slices differs."""
    values, _ = phantoms.body(0, PLACE)
    _, i, j = np.indices(PLACE.size)
    for name, radius in (("a", 37.5), ("b", 35.0)):
        folder = patient(tmp_path / "in" / name, 0)
        seen = noisy(values)
        seen[(i - 37.5) ** 2 + (j - 39.5) ** 2 > radius**2] = -1000
        io.write(volume(PLACE, seen), folder / "cbct.mha", force=True)
    with pytest.raises(InputError, match="same slice") as raised:
        prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert "`patient`" in raised.value.fix


def test_the_difference_told_is_that_inside_the_body(tmp_path: Path) -> None:
    """Air that both scans show alike does not make them look more alike."""
    folder = patient(tmp_path / "in" / "a", 0)
    values, _ = phantoms.body(0, PLACE)
    shifted = np.where(values > -1000, values + 40, values).astype(np.float32)
    io.write(volume(PLACE, shifted), folder / "cbct.mha", force=True)
    (row,) = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert row.difference_hu == pytest.approx(40, abs=1.5)


def test_slices_beyond_the_cbct_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = patient(tmp_path / "in" / "a")
    values, _ = phantoms.body(0, PLACE)
    origin = (*PLACE.origin[:2], PLACE.origin[2] + 2 * PLACE.spacing[0])
    short = replace(PLACE, size=(5, *PLACE.size[1:]), origin=origin)
    io.write(volume(short, noisy(values)[2:7]), folder / "cbct.mha", force=True)
    (row,) = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert (row.slices, row.left_out) == (5, 3)
    assert "3 CT slices left out" in str(row)


@pytest.mark.slow
def test_a_cbct_elsewhere_is_brought_to_the_ct_before_it_is_paired(tmp_path: Path) -> None:
    place = phantoms.geometry((20, 72, 80))
    values, _ = phantoms.body(0, place)
    known = Rigid((1.0, -1.0, 3.0), (12.0, -9.0, 4.0), (0.0, 0.0, 0.0))
    onto = phantoms.geometry((16, 72, 80))
    (tmp_path / "in" / "a").mkdir(parents=True)
    io.write(volume(place, values), tmp_path / "in" / "a" / "ct.mha")
    io.write(volume(onto, phantoms.cone_beam(values, place, known, onto)), tmp_path / "in" / "a" / "cbct.mha")
    (row,) = prepare_pairs(
        cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", PairingConfig()
    )
    centre = np.array([row.centre_x, row.centre_y, row.centre_z], np.float64)
    expected = known.matrix[:3, :3] @ centre + known.matrix[:3, 3] - centre
    shift = np.array([row.shift_x, row.shift_y, row.shift_z], np.float64)
    np.testing.assert_allclose(shift, expected, atol=0.5)
    assert row.dice_before is not None
    assert row.dice_after is not None
    assert row.dice_after > max(0.95, row.dice_before)
    assert "moved by (" in str(row)


def test_a_ct_alone_is_paired_with_a_simulated_scan_of_itself(tmp_path: Path) -> None:
    place = phantoms.geometry((3, 76, 80))
    values, _ = phantoms.body(0, place)
    io.write(volume(place, values), tmp_path / "ct.mha")
    config = PairingConfig(beam=ConeBeam(views=40, element_mm=4.0, photons=1e4))
    sets = []
    for name in "ab":
        (row,) = prepare_pairs(
            cohort([tmp_path / "ct.mha"], simulated=True).patients, tmp_path / name, config
        )
        sets.append(load_slices(tmp_path / name, "train", ["CT"]))
        assert (row.status, row.slices, row.metric_after) == ("simulated", 3, None)
    assert read_manifest(tmp_path / "a")["series"][0]["paired"] == "simulated-cbct"
    for one, two in zip(*sets, strict=True):
        assert one.paired is not None
        assert two.paired is not None
        assert np.array_equal(one.paired, two.paired)
        inside = one.values > -500
        assert 5 < np.abs(one.paired - one.values)[inside].mean() < 200


@pytest.mark.parametrize("even", [True, False], ids=["evenly", "unevenly"])
def test_slices_that_are_simulated_have_noise_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, even: bool
) -> None:
    """Unevenly spaced ones are opened one by one, and each is the first of its volume."""
    seeds: list[int] = []

    def simulated(values: FloatImage, spacing: tuple[float, float], beam: ConeBeam, seed: int) -> FloatImage:
        seeds.append(seed)
        return values

    monkeypatch.setattr(paired, "simulate", simulated)
    values, _ = phantoms.body(0, phantoms.geometry((4, 76, 80)))

    def edit(data: Dataset, k: int) -> None:
        _filled(values)(data, k)
        if not even:
            data.ImagePositionPatient[2] = [0.0, 5.0, 11.0, 18.0][k]

    dicom_series(tmp_path / "ct", size=(4, 76, 80), edit=edit)
    (spec,) = cohort([tmp_path / "ct"], simulated=True).patients
    for _ in range(2):
        assert len(list(PairedScan(spec, PairingConfig()))) == 4
    assert len(set(seeds)) == 4
    assert seeds[:4] == seeds[4:]


def test_the_number_of_a_file_is_not_in_the_set(tmp_path: Path) -> None:
    """It could be the patient's."""
    values, _ = phantoms.body(0, phantoms.geometry((2, 76, 80)))
    dicom_series(tmp_path / "ct", size=(2, 76, 80), edit=_filled(values))
    for n, path in enumerate(sorted((tmp_path / "ct").iterdir())):
        path.rename(path.with_name(f"48213_{n}.dcm"))
    config = PairingConfig(beam=ConeBeam(views=12, element_mm=4.0))
    prepare_pairs(cohort([tmp_path / "ct"], simulated=True).patients, tmp_path / "set", config)
    prepare(
        SetSpec([ScanSpec("ct", "train", "p", "CT", sites={"x": [0, 99999]})]), tmp_path, tmp_path / "plain"
    )
    names = [path.name for place in ("set", "plain") for path in (tmp_path / place).rglob("*")]
    assert len([name for name in names if name.endswith(".npy")]) == 6
    assert not [name for name in names if "48213" in name]


def test_the_ct_is_brought_to_384_pixels_but_never_made_finer() -> None:
    place = Geometry((4, 512, 512), (2.5, 0.9, 0.9))
    grid = plane_grid(place, 384)
    assert grid.size_out == (4, 384, 384)
    assert place.resampled(grid).spacing == pytest.approx((2.5, 1.2, 1.2))
    assert plane_grid(replace(place, size=(4, 300, 512)), 384).size_out == (4, 225, 384)
    assert plane_grid(replace(place, size=(4, 200, 300)), 384).is_identity
    assert plane_grid(place, 0).is_identity


def test_values_are_clipped_to_the_window_only_when_asked_for() -> None:
    values = np.array([[-1500.0, 1800.4, 30.6]], np.float32)
    body = np.array([[True, True, False]])
    assert stored(values, body, clip=False).tolist() == [[-1024, 1800, -1024]]
    assert stored(values, body, clip=True).tolist() == [[-1000, 1000, -1000]]


def test_outside_a_cbct_s_cylinder_nothing_was_measured() -> None:
    values = np.full((4, 9, 9), -1000, np.float32)
    values[1:, 2:7, 3:6] = 0
    values[2, 4, 4] = -1000
    view = field_of_view(values)
    assert not view[0].any()
    assert view[2, 4, 4]
    assert view.sum() == 3 * 5 * 3


def _cylinder(padding: float, spread: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy values in a cylinder as wide as the slices, padding around; and where that is."""
    _, i, j = np.indices((6, 64, 64))
    inside = np.hypot(i - 31.5, j - 31.5) < 31.5
    values = np.random.default_rng(0).normal(-900, spread, inside.shape)
    return np.where(inside, values, padding).astype(np.float32), inside


@pytest.mark.parametrize("padding", [-1000.0, 0.0])
def test_a_voxel_below_the_padding_does_not_make_padding_measured(padding: float) -> None:
    values, inside = _cylinder(padding)
    values[3, 30, 30] = -1010
    values[2, 20, 20] = padding
    assert np.array_equal(field_of_view(values), inside)


def test_a_scan_without_padding_was_measured_everywhere() -> None:
    noise = np.rint(np.random.default_rng(0).normal(-1000, 8, (5, 64, 64))).astype(np.float32)
    assert field_of_view(noise).all()
    assert field_of_view(np.maximum(noise, -1000)).all()


def test_empty_slices_of_a_scan_without_a_cylinder_were_not_measured() -> None:
    values = np.random.default_rng(0).normal(-1000, 8, (9, 64, 64)).astype(np.float32)
    values[7:] = -1000
    view = field_of_view(values)
    assert view[:7].all()
    assert not view[7:].any()


def test_a_finer_cbct_gives_no_more_noise_than_a_scanner_with_the_ct_s_voxels(tmp_path: Path) -> None:
    fine = phantoms.geometry((16, 152, 160), PLACE.spacing[0] / 2)
    spec = PatientSpec(str(tmp_path / "ct.mha"), "a", str(tmp_path / "cbct.mha"))
    io.write(volume(PLACE, phantoms.body(0, PLACE)[0]), tmp_path / "ct.mha")
    seen, _ = phantoms.body(0, fine)
    quiet, loud = np.random.default_rng(0).normal(0, 1, (2, *fine.size)) * np.reshape((1, 80), (2, 1, 1, 1))
    made = []
    for noise in (quiet, loud):
        io.write(volume(fine, np.asarray(seen + noise, np.float32)), tmp_path / "cbct.mha", force=True)
        made.append(list(PairedScan(spec, AS_PLACED)))
    left = np.concatenate([(b.cbct - a.cbct)[a.body & (a.ct > -500)] for a, b in zip(*made, strict=True)])
    assert left.std() == pytest.approx(80 / np.sqrt(8), rel=0.2)


BENT = phantoms.geometry((12, 72, 80))


def _bent_patient(folder: Path, size_mm: float, other: int = 0) -> PairedScan:
    """A CBCT in its place whose organs moved, to be paired by a B-spline."""
    (ct, _), (seen, _) = phantoms.body(0, BENT), phantoms.body(other, BENT)
    moved = itk.onto(BENT, itk.image(seen, BENT), phantoms.bent(BENT, size_mm), -1000.0)
    for name, values in (("ct", ct), ("cbct", noisy(moved))):
        io.write(volume(BENT, values), folder / f"{name}.mha")
    spec = PatientSpec(str(folder / "ct.mha"), "a", str(folder / "cbct.mha"))
    return PairedScan(spec, PairingConfig(register="deformable"))


@pytest.fixture(name="in_place")
def _in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rigid movement is known, and the B-spline is followed for seconds only."""
    monkeypatch.setattr(paired, "register", lambda cbct, ct, seed: assess(cbct, ct))
    monkeypatch.setattr(deformation, "ITERATIONS", 15)
    monkeypatch.setattr(deformation, "SAMPLES", 10_000)


@pytest.mark.slow
@pytest.mark.usefixtures("in_place")
def test_organs_that_moved_are_refused_as_rigid_and_accepted_after_a_b_spline(tmp_path: Path) -> None:
    scan = _bent_patient(tmp_path, 17.0)
    with pytest.raises(InputError, match="details agree"):
        list(PairedScan(scan.spec, AS_PLACED))
    assert len(list(scan)) == BENT.size[0]
    assert scan.alignment is not None
    assert scan.alignment.deformation_mm > 3
    scan.alignment.check()


@pytest.mark.slow
@pytest.mark.usefixtures("in_place")
def test_a_b_spline_does_not_make_one_patient_of_two(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        list(_bent_patient(tmp_path, 0.0, other=2))
    assert caught.value.code == "not-registered"


@pytest.mark.usefixtures("in_place")
def test_a_deformation_that_makes_it_worse_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(cbct: Placed, ct: Placed, start: Alignment, seed: int) -> tuple[itk.Transform, Alignment]:
        start.check()
        back = phantoms.bent(BENT, 24.0)
        return back, replace(start, after=agreement(cbct, ct, back), deformation_mm=24.0)

    monkeypatch.setattr(deformation, "refine", worse)
    scan = _bent_patient(tmp_path, 0.0)
    with pytest.raises(InputError, match="details agree") as caught:
        list(scan)
    assert caught.value.code == "not-registered"
    assert scan.alignment is not None
    assert scan.alignment.deformation_mm == 24.0


@pytest.mark.usefixtures("in_place")
def test_bodies_that_do_not_overlap_are_refused_before_a_b_spline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deformation, "refine", lambda *_: pytest.fail("asked for"))
    scan = _bent_patient(tmp_path, 0.0)
    away = replace(BENT, origin=(BENT.origin[0] + 90.0, *BENT.origin[1:]))
    io.write(volume(away, io.read(scan.spec.cbct).array), Path(scan.spec.cbct), force=True)
    with pytest.raises(InputError, match="bodies overlap"):
        list(scan)


def test_a_size_too_small_to_pair_is_refused() -> None:
    with pytest.raises(UsageError, match="pixels or more"):
        PairingConfig(size=10)


def _slices(paired: bool) -> list[TrainingSlice]:
    values = np.random.default_rng(0).integers(-900, 900, (90, 90)).astype(np.int16)
    return [
        TrainingSlice(values, -1000, 1000, "all", 0, "CT", "a", values + np.int16(200) if paired else None)
    ]


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.7])
def test_low_resolution_comes_from_the_cbct_and_the_truth_from_the_ct(scale: float) -> None:
    config = SamplingConfig(patch=8, batch=2, scales=[scale])
    alone, paired = (PatchSampler(_slices(flag), config).batch(5) for flag in (False, True))
    assert torch.equal(alone.hr, paired.hr)
    # Shrinking is linear and keeps constants: 200 HU more in the CBCT are 0.1 more in its shrunk form.
    torch.testing.assert_close(paired.lr, alone.lr + 0.1, atol=1e-5, rtol=0)


def test_a_network_trains_and_validates_on_pairs_and_its_card_says_so(tmp_path: Path) -> None:
    config = TrainConfig(
        name="tiny", set=str(paired_set(tmp_path)), out=str(tmp_path / "run"), steps=2, threads=1,
        model=ModelConfig("mesr", {"blocks": 1, "features": 8, "hidden": 16}),
        validation=ValidationConfig(every=2, scales=[2.0], slices=1),
    )  # fmt: skip
    config.sampling.patch, config.sampling.batch, config.sampling.high = 8, 2, 2.0
    _, card = weights.load(train(config))
    assert card.about["training"]["degradation"] == "bicubic of cbct"


def test_the_command_pairs_and_tells_in_its_exit_code_who_was_refused(tmp_path: Path) -> None:
    patient(tmp_path / "in" / "a", 0)
    patient(tmp_path / "in" / "ZZPHI", 1, other=2)

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["prepare-pairs", *map(str, arguments)])

    done = run(tmp_path / "in", "-o", tmp_path / "set", "--register", "none")
    assert done.exit_code == 4, done.output
    assert "patient-0001: 8 pairs" in done.stdout
    assert "patient-0000: refused (not-registered)" in done.stdout
    assert "nothing is kept to validate on" in done.stdout
    assert "ZZPHI" not in done.output
    assert run(tmp_path / "in", "-o", tmp_path / "set").exit_code == 3
    assert run(tmp_path / "in", "-o", tmp_path / "b", "--split", "x").exit_code == 2
    assert run(tmp_path / "in", "-o", tmp_path / "b", "--beam", "views=3").exit_code == 2
    assert run(tmp_path / "in", "-o", tmp_path / "b", "--simulate", "--beam", "veiws=3").exit_code == 2


def test_only_an_earlier_paired_set_is_replaced_and_never_the_scans(tmp_path: Path) -> None:
    folder = paired_set(tmp_path)
    patients = cohort([tmp_path / "in"], simulated=False).patients
    prepare_pairs(patients, folder, AS_PLACED, force=True)
    scans = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*.mha")}
    with pytest.raises(OutputError) as raised:
        prepare_pairs(patients, tmp_path / "in", AS_PLACED, force=True)
    assert raised.value.code == "output-is-input"
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(OutputError) as raised:
        prepare_pairs(patients, folder, AS_PLACED, force=True)
    assert raised.value.code == "other-files"
    assert (folder / "mine.txt").read_text() == "kept"
    assert {path: path.read_bytes() for path in scans} == scans


def test_one_patient_s_bug_does_not_cost_the_others_their_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        patient(tmp_path / "in" / f"2PA00{n}", n)
    real = PairedScan._measured

    def measured(self: PairedScan) -> Any:
        if self.spec.patient == "2PA000":
            raise ZeroDivisionError("a patient's name")
        return real(self)

    monkeypatch.setattr(PairedScan, "_measured", measured)
    rows = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert [(row.status, row.code) for row in rows] == [("refused", "internal"), ("paired", "")]
    assert "name" not in rows[0].sentence
    assert [one["patient"] for one in read_manifest(tmp_path / "set")["series"]] == ["2PA001"]


def test_a_cbct_of_one_value_is_refused(tmp_path: Path) -> None:
    patient(tmp_path / "in" / "a", 0)
    io.write(
        volume(PLACE, np.full(PLACE.size, 100, np.float32)),
        patient(tmp_path / "in" / "b", 1) / "cbct.mha",
        force=True,
    )
    rows = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert [(row.status, row.code) for row in rows] == [("paired", ""), ("refused", "no-body")]


def test_what_a_ct_did_not_measure_is_no_truth(tmp_path: Path) -> None:
    folder = patient(tmp_path / "in" / "a", 0)
    ct, _ = phantoms.body(0, PLACE)
    ct[:, 36:40, 36:40] = -3024
    io.write(volume(PLACE, ct), folder / "ct.mha", force=True)
    (spec,) = cohort([tmp_path / "in"], simulated=False).patients
    for one in PairedScan(spec, replace(AS_PLACED, size=0)):
        assert not one.body[36:40, 36:40].any()
        assert one.body[30:34, 36:40].all()
        assert (one.ct[36:40, 36:40] > -900).all(), (
            "filled before it is shrunk, so that no edge is seen there"
        )


def test_a_network_trained_on_pairs_is_not_measured_on_their_ct(tmp_path: Path) -> None:
    root = paired_set(tmp_path)
    series = {one["patient"]: one for one in read_manifest(root)["series"]}
    learned = about(
        TrainConfig(), {"series": [one for one in series.values() if one["split"] == "train"]}, 1, 1.0
    )
    card = Card("tiny", {}, "0", learned)
    for name, one in series.items():
        spec = of_paths([tmp_path / "in" / name / "ct.mha"], "CT")
        if one["split"] == "train":
            with pytest.raises(UsageError, match="trained on a scan") as refused:
                assert_unseen(spec, [card])
            assert refused.value.code == "trained-on"
        else:
            assert_unseen(spec, [card])
    for n in (0, 1):  # Numbered patients of a set are others than those that are measured.
        learned["data"][0]["id"] = f"patient-{n:04d}"
        assert_unseen(
            of_paths(
                [tmp_path / "in" / name / "ct.mha" for name, one in series.items() if one["split"] == "val"],
                "CT",
            ),
            [card],
        )


def test_a_damaged_file_beside_a_ct_costs_nobody_their_pairs(tmp_path: Path) -> None:
    folder = patient(tmp_path / "in" / "a")
    (folder / "ct").mkdir()
    (folder / "ct.mha").rename(folder / "ct" / "a.mha")
    (folder / "ct" / "broken.nii").write_bytes(b"junk")
    (row,) = prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert row.status == "paired"
    assert read_manifest(tmp_path / "set")["series"][0]["digest"]


def test_a_full_disk_ends_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient(tmp_path / "in" / "a")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match="No space left") as refused:
        prepare_pairs(cohort([tmp_path / "in"], simulated=False).patients, tmp_path / "set", AS_PLACED)
    assert refused.value.code == "unwritable"
