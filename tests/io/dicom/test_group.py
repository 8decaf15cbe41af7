"""Discovery of series and their geometry (`dicom.md` §2, §3 rows 1-3, 13-16, 23, 24, 28, 33)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from found import assert_same, code_of, files, only
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import RTStructureSetStorage
from scans import Recipe, dicom_series, enhanced_file

from mesr.errors import UnsupportedInput
from mesr.io.dicom import discover, is_dicom, open_single, open_slices


def test_a_series_is_sorted_by_position_whatever_its_files_are_called(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path)
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    assert volume.modality == "CT"
    assert volume.unit == "HU"
    assert volume.spacing == pytest.approx((2.5, 0.8, 0.7))


def test_a_tilted_series_keeps_its_shear(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, tilt=-18.5)
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    assert volume.geometry.tilt_degrees == pytest.approx(18.5, abs=1e-3)


def test_an_oblique_series_keeps_its_orientation(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, modality="MR", orientation=(0.6, 0.8, 0.0, 0.0, 0.0, -1.0))
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    expected = scan.positions[2] + 3 * 0.8 * np.array([0, 0, -1]) + 4 * 0.7 * np.array([0.6, 0.8, 0])
    np.testing.assert_allclose(volume.geometry.position(2, 3, 4), expected, atol=1e-3)
    assert volume.unit == ""


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    scan = dicom_series(
        tmp_path, slopes=(1.0, 0.5, 2.25, 1.125, 3.0), intercepts=(-1024.0, 0.0, 5.5, 1.0, -3.0)
    )
    assert_same(only(tmp_path).open(), scan)


def test_an_enhanced_file_is_read_like_a_series(tmp_path: Path) -> None:
    scan = enhanced_file(tmp_path / "one.dcm", slopes=(1.0, 2.0, 0.5, 1.0, 1.0))
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    series = volume.source
    assert series.enhanced
    assert [instance.frame for instance in series.instances] == [4, 3, 2, 1, 0]
    assert series.frame_group(1, "PixelValueTransformationSequence").RescaleSlope == 2.0
    assert series.frame_group(1, "PixelMeasuresSequence").SliceThickness == 2.5
    assert series.frame_group(1, "MRDiffusionSequence") is None
    assert len({series.pixel_digest(k) for k in range(5)}) == 5


def test_two_series_in_one_folder_are_two_volumes(tmp_path: Path) -> None:
    one = dicom_series(tmp_path / "a")
    two = dicom_series(tmp_path / "b", series="1.2.3.4", series_number=8, seed=1)
    found = discover(files(tmp_path))
    assert len({series.id for series in found.series}) == 2
    for series, scan in zip(found.series, (one, two), strict=True):
        assert_same(series.open(), scan)
    assert found.series[0].open().source.sibling_series_numbers == {8}


def test_a_series_with_a_broken_file_is_refused_not_shortened(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path)
    data = scan.paths[-1].read_bytes()
    scan.paths[-1].write_bytes(data[:-100])
    error = only(tmp_path).error
    assert error is not None
    assert error.code == "cut-short"
    assert "1 of the 5 files" in error.sentence
    assert error.path == scan.paths[-1]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleIntercept", b"-1o24 "),
        ("PixelSpacing", b"0.8\\a.7 "),
        ("ImagePositionPatient", b"1\\2\\x100"),
    ],
)
def test_a_series_with_a_number_that_is_none_is_refused_not_shortened(
    tmp_path: Path, keyword: str, value: bytes
) -> None:
    def last(data: Dataset, k: int) -> None:
        if k == 4:
            tag = Tag(keyword)
            data[tag] = RawDataElement(tag, "DS", len(value), value, 0, False, True)

    scan = dicom_series(tmp_path, edit=last)
    error = only(tmp_path).error
    assert error is not None
    assert "1 of the 5 files" in error.sentence
    assert error.path == scan.paths[-1]


def test_a_file_that_cannot_be_opened_is_told_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = dicom_series(tmp_path)
    plain = Path.open

    def locked(path: Path, *args: object, **options: object) -> object:
        if path == scan.paths[-1]:
            raise PermissionError(13, "ZZPHI")
        return plain(path, *args, **options)

    monkeypatch.setattr(Path, "open", locked)
    (error,) = discover(files(tmp_path)).refused
    assert error.code == "unreadable"
    assert "ZZPHI" not in str(error)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_refuses_a_volume_but_not_a_single_image(tmp_path: Path, keyword: str) -> None:
    def strip(data: Dataset, k: int) -> None:
        del data[keyword]

    dicom_series(tmp_path / "many", edit=strip)
    assert code_of(tmp_path / "many") == "no-geometry"
    scan = dicom_series(tmp_path / "one", size=(1, 16, 20), edit=strip)
    volume = open_single(scan.paths[0])
    np.testing.assert_array_equal(volume.array, scan.values)
    assert volume.geometry.known == (keyword != "PixelSpacing")
    assert {note.code for note in volume.notes} & {"no-position", "no-spacing"}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 2, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [1, 0, 0]),
        ("ImagePositionPatient", ["nan", "0", "0"]),
        ("PixelSpacing", [0, 1]),
        ("PixelSpacing", [-0.5, 0.5]),
        ("PixelSpacing", [1e9, 1e9]),
        ("RescaleSlope", 0),
    ],
)
def test_geometry_that_cannot_be_is_refused(tmp_path: Path, keyword: str, value: object) -> None:
    def spoil(data: Dataset, k: int) -> None:
        setattr(data, keyword, value)

    dicom_series(tmp_path, size=(2, 8, 8), edit=spoil)
    assert only(tmp_path).error is not None


@pytest.mark.parametrize("value", ["RGB", "PALETTE COLOR", "YBR_FULL"])
def test_colour_is_refused(tmp_path: Path, value: str) -> None:
    def colour(data: Dataset, k: int) -> None:
        data.PhotometricInterpretation = value

    dicom_series(tmp_path, edit=colour)
    assert isinstance(only(tmp_path).error, UnsupportedInput)


def test_objects_that_are_no_images_are_counted_by_kind(tmp_path: Path) -> None:
    def structures(data: Dataset, k: int) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage

    dicom_series(tmp_path / "rt", size=(2, 8, 8), edit=structures)
    dicom_series(tmp_path / "ct")
    found = discover(files(tmp_path))
    assert found.skipped == {"RT Structure Set Storage": 2}
    assert len(found.series) == 1


@pytest.mark.parametrize(
    "content", [b"", b"some text\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(200), b"%PDF-1.7\n" * 40]
)
def test_files_that_are_not_dicom_are_refused_where_their_name_says_so(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "claims.dcm").write_bytes(content)
    (tmp_path / "notes.txt").write_bytes(content)
    found = discover(files(tmp_path))
    assert [error.code for error in found.refused] == ["not-dicom"]
    assert found.foreign == [tmp_path / "notes.txt"]


def test_a_file_without_preamble_is_read_with_a_note(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, size=(1, 16, 20))
    scan.paths[0].write_bytes(scan.paths[0].read_bytes()[132:])
    assert is_dicom(scan.paths[0])
    volume = only(tmp_path).open()
    np.testing.assert_array_equal(volume.array, scan.values)
    assert "no-preamble" in {note.code for note in volume.notes}


def test_what_was_lossy_or_has_text_burned_in_is_noted(tmp_path: Path) -> None:
    def mark(data: Dataset, k: int) -> None:
        data.LossyImageCompression, data.BurnedInAnnotation = "01", "YES"

    dicom_series(tmp_path, edit=mark)
    codes = [note.code for note in only(tmp_path).open().notes]
    assert codes.count("lossy-source") == codes.count("burned-in-annotation") == 1


def test_monochrome1_keeps_its_values(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, monochrome1=True)
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    assert volume.source.instances[0].monochrome1


def test_nothing_found_shows_patient_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def wild(data: Dataset, k: int) -> None:
        data.SeriesDescription = "/../\x1b[31m$(id) ZZPHI" + "x" * 70_000

    scan = dicom_series(tmp_path, edit=wild)
    scan.paths[0].write_bytes(scan.paths[0].read_bytes()[:-30])
    found = discover(files(tmp_path))
    shown = [series.id + series.label + str(series.error) for series in found.series]
    assert "ZZPHI" not in "".join(shown) + "".join(capfd.readouterr())


def test_the_header_comes_whole_and_without_pixels(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path)
    series = only(tmp_path).open().source
    header = series.header(3)
    assert header.PatientName == "ZZPHI^MARKER"
    assert header.InstanceNumber == 4
    assert "PixelData" not in header
    assert header.file_meta.TransferSyntaxUID == Recipe().syntax
    assert series.instances[3].path == scan.paths[3]


def test_reading_dicom_does_not_import_torch() -> None:
    code = "import sys, mesr.io.dicom, mesr.io.dicom.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pydicoms_own_scans_are_read_like_pydicom_reads_them() -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "J2K_pixelrep_mismatch.dcm", "eCT_Supplemental.dcm"):
        path = Path(str(get_testdata_file(name)))
        data = pydicom.dcmread(path)
        found = discover([path]).series
        assert found, name
        slices = [volume.array[0] for series in found for volume in open_slices(series)]
        frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
        holder = data
        if "SharedFunctionalGroupsSequence" in data:
            holder = data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        expected = frames * float(holder.get("RescaleSlope", 1)) + float(holder.get("RescaleIntercept", 0))
        for values in slices:
            assert any(np.array_equal(values, frame.astype(np.float32)) for frame in expected), name
