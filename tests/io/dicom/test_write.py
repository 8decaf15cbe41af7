"""Derived series on disk: values and places read back, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from derived import assert_same, dicom_errors, headers, magnified, opened
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scans import dicom_series, enhanced_file
from volumes import volume as array_volume

from mesr.errors import OutputError, UnreadableInput
from mesr.io.dicom import discover
from mesr.io.dicom.write import write_series
from mesr.volume import ArraySlices

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REAL = {
    "GE": ("train/CCTH-A01", "2.5"),
    "Philips": ("train/Lung_Dx-A0001-B", "1.7"),
    "Siemens": ("train/LungFCP-01-0001", "1.3x2.2"),
    "tilted": ("geometry/tilt-18.5", "1.7"),
    "MR": ("train/ReMIND-022-T2SPACE", "2.5"),
}


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("scale", ["1", "2.5", "1.7", "1.3x2.2"])
def test_values_and_places_read_back(tmp_path, modality, scale):
    made = magnified(opened(dicom_series(tmp_path / "source", modality=modality).paths), scale)
    report = write_series(made, tmp_path / "out")
    assert (report.files, report.clipped) == (5, 0)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        f"IM{k:04d}.dcm" for k in range(1, 6)
    ]
    assert_same(made, tmp_path / "out")


def test_a_tilted_series_keeps_its_shear(tmp_path):
    made = magnified(opened(dicom_series(tmp_path / "source", tilt=-18.5).paths))
    assert made.geometry.tilt_degrees == pytest.approx(18.5, abs=1e-3)
    write_series(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")


def test_an_oblique_series_reads_back(tmp_path):
    turned = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
    made = magnified(opened(dicom_series(tmp_path / "source", orientation=turned).paths), "1.7")
    write_series(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless]
)
def test_a_source_in_any_encoding_gives_the_same_series(tmp_path, syntax):
    made = magnified(opened(dicom_series(tmp_path / "source", syntax=syntax).paths))
    write_series(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")
    assert all(h.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1" for h in headers(tmp_path / "out"))


def test_padding_reads_back_where_it_was(tmp_path):
    scan = dicom_series(tmp_path / "source", signed=True, bits_stored=16, intercepts=(0.0,), padding=-1500)
    made = magnified(opened(scan.paths))
    assert made.slices[0].padding.any()
    write_series(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")


def test_slopes_that_differ_become_one_without_loss(tmp_path):
    scan = dicom_series(
        tmp_path / "source", modality="MR", slopes=(0.5, 1.0, 2.0, 4.0, 0.25), intercepts=(0.0,)
    )
    source = opened(scan.paths)
    report = write_series(source, tmp_path / "out")
    assert {h.RescaleSlope for h in headers(tmp_path / "out")} == {0.25}
    assert report.clipped == 0
    assert_same(source, tmp_path / "out", step=1e-9)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_source_that_uses_all_its_bits_loses_no_value(tmp_path, modality):
    def full(data, k):
        data.PixelData = np.linspace(0, 65535, 20 * 24).astype("<u2").tobytes()

    scan = dicom_series(
        tmp_path / "source", modality=modality, size=(2, 20, 24), bits_stored=16, slopes=(0.0625,), edit=full
    )
    made = opened(scan.paths)
    report = write_series(made, tmp_path / "out")
    assert report.clipped == 0
    np.testing.assert_array_equal(opened(sorted((tmp_path / "out").iterdir())).array, made.array)


def test_values_beyond_the_range_are_clipped_counted_and_told(tmp_path):
    source = opened(dicom_series(tmp_path / "source").paths)
    array = source.array.copy()
    array[2, :3, 0] = 40000
    made = replace(magnified(source, "1"), slices=ArraySlices(array))
    report = write_series(made, tmp_path / "out")
    assert report.clipped == 3
    assert [note.code for note in report.notes] == ["clipped"]
    files = headers(tmp_path / "out")
    assert "Clipped voxels: 3." in files[2].DerivationDescription
    assert "Clipped voxels: 0." in files[1].DerivationDescription
    assert opened(sorted((tmp_path / "out").iterdir())).array.max() == 31743


def test_the_same_job_gives_the_same_bytes_at_the_same_time(tmp_path):
    made = magnified(opened(dicom_series(tmp_path / "source").paths))
    for name in ("one", "two"):
        write_series(made, tmp_path / name, now=NOW)
    for one, two in zip(
        sorted((tmp_path / "one").iterdir()), sorted((tmp_path / "two").iterdir()), strict=True
    ):
        assert one.read_bytes() == two.read_bytes()


def test_only_dates_and_times_tell_two_runs_apart(tmp_path):
    made = magnified(opened(dicom_series(tmp_path / "source").paths))
    write_series(made, tmp_path / "one", now=NOW)
    write_series(made, tmp_path / "two", now=NOW.replace(year=2027, hour=7))
    for one, two in zip(headers(tmp_path / "one"), headers(tmp_path / "two"), strict=True):
        differing = {e.keyword for e in one if e.value != two[e.tag].value}
        assert differing == {
            *("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime", "ContentDate"),
            *("ContentTime", "ContributingEquipmentSequence"),
        }


def test_other_values_without_a_derivation_get_other_identifiers(tmp_path):
    source = opened(dicom_series(tmp_path / "source").paths)
    other = replace(source, slices=ArraySlices(source.array + 1))
    uids = {
        write_series(v, tmp_path / str(n)).series_instance_uid for n, v in enumerate((source, source, other))
    }
    assert len(uids) == 2


def test_progress_is_told_slice_by_slice(tmp_path):
    told: list[int] = []
    write_series(opened(dicom_series(tmp_path / "source").paths), tmp_path / "out", on_slice=told.append)
    assert told == [0, 1, 2, 3, 4]


def test_no_more_than_one_slice_is_asked_for_at_a_time(tmp_path):
    made = magnified(opened(dicom_series(tmp_path / "source").paths))
    asked: list[int] = []

    class Counting:
        def __len__(self):
            return len(made.slices)

        def __getitem__(self, k):
            written = [p for p in tmp_path.glob(".*out/*.dcm")]
            assert len(written) == len(asked) == k
            asked.append(k)
            return made.slices[k]

    write_series(replace(made, slices=Counting()), tmp_path / "out")
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "failure", [UnreadableInput("cut-short", "The file ends early."), KeyboardInterrupt()]
)
def test_a_failure_leaves_nothing_behind(tmp_path, failure):
    source = opened(dicom_series(tmp_path / "source").paths)

    class Failing:
        def __len__(self):
            return 5

        def __getitem__(self, k):
            if k == 3:
                raise failure
            return source.slices[k]

    with pytest.raises(type(failure)):
        write_series(replace(magnified(source, "1"), slices=Failing()), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_result_that_is_no_number_is_never_written(tmp_path):
    source = opened(dicom_series(tmp_path / "source").paths)
    array = source.array.copy()
    array[4, 5, 6] = np.nan
    with pytest.raises(OutputError) as refused:
        write_series(replace(magnified(source, "1"), slices=ArraySlices(array)), tmp_path / "out")
    assert refused.value.code == "not-finite"
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_replaced_only_by_force(tmp_path):
    source = opened(dicom_series(tmp_path / "source").paths)
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("kept")
    with pytest.raises(OutputError) as refused:
        write_series(source, out)
    assert refused.value.code == "exists"
    assert (out / "precious").read_text() == "kept"
    write_series(source, out, force=True)
    assert len(headers(out)) == 5


@pytest.mark.parametrize("place", ["source", "."])
def test_the_source_is_never_replaced_even_by_force(tmp_path, place):
    source = opened(dicom_series(tmp_path / "study" / "source").paths)
    with pytest.raises(OutputError) as refused:
        write_series(source, tmp_path / "study" / place, force=True)
    assert refused.value.code == "output-is-input"
    assert len(headers(tmp_path / "study" / "source")) == 5


def test_a_volume_that_was_not_dicom_is_refused(tmp_path):
    with pytest.raises(OutputError) as refused:
        write_series(array_volume(), tmp_path / "out")
    assert refused.value.code == "no-dicom-header"


def test_nothing_of_the_patient_is_logged_or_reported(tmp_path, caplog, recwarn):
    def marked(data: Dataset, k: int) -> None:
        data.SpecificCharacterSet = "ZZPHI SET"
        data.PatientName = "ZZPHI^MARKER"
        data.StudyDescription = "ZZPHI" * 30
        data.BurnedInAnnotation = "YES"

    source = opened(dicom_series(tmp_path / "source", edit=marked).paths)
    caplog.clear()
    recwarn.clear()
    report = write_series(magnified(source), tmp_path / "out")
    assert "ZZPHI" not in caplog.text
    assert not list(recwarn)
    assert "ZZPHI" not in repr(report)
    assert headers(tmp_path / "out")[0].PatientID == "ZZPHI-ID"


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_written_series_is_as_sound_as_its_source(tmp_path, modality):
    source = opened(dicom_series(tmp_path / "source", modality=modality).paths)
    write_series(magnified(source), tmp_path / "out")
    new = dicom_errors(tmp_path / "out" / "IM0001.dcm") - dicom_errors(source.source.instances[0].path)
    assert not new


def test_an_enhanced_ct_becomes_a_sound_classic_one(tmp_path):
    path = Path(get_testdata_file("eCT_Supplemental.dcm"))
    (found, *_) = discover([path]).series
    write_series(magnified(found.open(), "1.5"), tmp_path / "out")
    assert not dicom_errors(tmp_path / "out" / "IM0001.dcm") - dicom_errors(path)


@pytest.mark.parametrize("frames", ["CT", "MR"])
def test_an_enhanced_series_reads_back(tmp_path, frames):
    made = magnified(opened(enhanced_file(tmp_path / "enhanced.dcm", modality=frames).paths))
    write_series(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")


@pytest.mark.parametrize("maker", REAL)
def test_a_real_scan_reads_back_sound_and_in_its_place(shared_data, tmp_path, maker):
    folder, scale = REAL[maker]
    source = opened(sorted((shared_data / folder).rglob("*.dcm"))[:3])
    made = magnified(source, scale)
    write_series(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")
    for k in (0, 2):
        written = tmp_path / "out" / f"IM{k + 1:04d}.dcm"
        assert not dicom_errors(written) - dicom_errors(source.source.instances[k].path)


def test_slices_that_lean_against_each_other_a_little_are_written_in_one_orientation(tmp_path):
    def lean(data: Dataset, k: int) -> None:
        angle = 5e-5 * k
        data.ImageOrientationPatient = [np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0]

    made = magnified(opened(dicom_series(tmp_path / "source", edit=lean).paths))
    write_series(made, tmp_path / "out")
    found = np.array([header.ImageOrientationPatient for header in headers(tmp_path / "out")], float)
    assert np.abs(found - found[0]).max() < 1e-6
