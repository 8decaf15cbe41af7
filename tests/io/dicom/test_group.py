"""Discovery of series and their geometry (`dicom.md` §2, §3 rows 1-3, 13-22, 24, 28, 33)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import RTStructureSetStorage
from scans import Recipe, Scan, dicom_series, enhanced_file

from mesr.errors import GeometryInput, MesrError, UnsupportedInput
from mesr.io.dicom import FoundSeries, discover, is_dicom, open_single, open_slices
from mesr.volume import Volume


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def only(folder: Path) -> FoundSeries:
    found = discover(files(folder))
    assert not found.refused
    assert len(found.series) == 1
    return found.series[0]


def code_of(folder: Path) -> str:
    error = only(folder).error
    assert error is not None
    return error.code


def assert_same(volume: Volume, scan: Scan) -> None:
    """Values equal, and every corner within 1e-3 mm of the formula."""
    np.testing.assert_array_equal(volume.array, scan.values)
    for k, position in enumerate(scan.positions):
        np.testing.assert_allclose(volume.geometry.position(k, 0, 0), position, atol=1e-3)


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


def test_a_missing_slice_is_refused_by_its_place(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, size=(8, 16, 20))
    scan.paths[3].unlink()
    assert code_of(tmp_path) == "missing-slices"
    assert "37.50 mm" in str(only(tmp_path).error)


def test_uneven_slices_are_refused_as_a_volume_and_read_one_by_one(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, heights=(0.0, 1.08, 8.08, 12.0, 13.5))
    found = only(tmp_path)
    assert found.error is not None
    assert found.error.code == "uneven-slices"
    with pytest.raises(GeometryInput):
        found.open()
    slices = open_slices(found)
    for k, volume in enumerate(slices):
        np.testing.assert_array_equal(volume.array[0], scan.values[k])
        np.testing.assert_allclose(volume.geometry.origin, scan.positions[k], atol=1e-3)
        assert len(volume.source.instances) == 1


def test_places_within_a_hundredth_of_a_millimetre_are_even(tmp_path: Path) -> None:
    dicom_series(tmp_path, heights=(0.0, 2.508, 4.995, 7.5, 10.0))
    assert only(tmp_path).error is None


def test_thick_gaps_between_slices_are_noted(tmp_path: Path) -> None:
    def thin(data: Dataset, k: int) -> None:
        data.SliceThickness = 1.0

    dicom_series(tmp_path, edit=thin)
    assert "slice-gap" in {note.code for note in only(tmp_path).open().notes}


def test_exact_copies_are_left_out_with_a_note(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path)
    shutil.copy(scan.paths[2], tmp_path / "copy.dcm")
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    assert "duplicate-dropped" in {note.code for note in volume.notes}


def test_other_pixels_at_the_same_place_are_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "a")
    dicom_series(tmp_path / "b", seed=1)
    assert code_of(tmp_path) == "same-position"


@pytest.mark.parametrize("keyword", ["AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime"])
def test_phases_of_one_series_become_volumes(tmp_path: Path, keyword: str) -> None:
    scans = []
    for phase in (1, 2, 3):

        def number(data: Dataset, k: int, phase: int = phase) -> None:
            setattr(data, keyword, phase)

        scans.append(dicom_series(tmp_path / str(phase), seed=phase, edit=number))
    found = discover(files(tmp_path)).series
    assert len({series.id for series in found}) == 3
    for series, scan in zip(found, scans, strict=True):
        assert_same(series.open(), scan)


def test_a_phase_that_lacks_a_slice_refuses_the_series(tmp_path: Path) -> None:
    def second(data: Dataset, k: int) -> None:
        data.AcquisitionNumber = 2

    dicom_series(tmp_path / "a")
    dicom_series(tmp_path / "b", seed=1, edit=second).paths[2].unlink()
    assert code_of(tmp_path) == "same-position"


def localizer(data: Dataset, k: int) -> None:
    data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def test_a_series_of_localizers_is_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path, edit=localizer)
    assert code_of(tmp_path) == "localizer"


def test_a_localizer_inside_a_sound_series_is_left_out(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "a")
    across = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    dicom_series(tmp_path / "b", size=(1, 30, 30), orientation=across, edit=localizer)
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    assert "localizer-dropped" in {note.code for note in volume.notes}


def test_other_sizes_in_a_series_are_split_off(tmp_path: Path) -> None:
    one = dicom_series(tmp_path / "a")
    two = dicom_series(tmp_path / "b", size=(3, 24, 24))
    found = discover(files(tmp_path)).series
    for series, scan in zip(found, (one, two), strict=True):
        assert_same(series.open(), scan)


def test_a_series_with_a_broken_file_is_refused_not_shortened(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path)
    data = scan.paths[-1].read_bytes()
    scan.paths[-1].write_bytes(data[:-100])
    error = only(tmp_path).error
    assert error is not None
    assert error.code == "cut-short"
    assert "1 of the 5 files" in error.sentence
    assert error.path == scan.paths[-1]


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


SERIES = (
    "geometry/tilt-18.5",
    "train/ReMIND-022-T1c",
    "train/LungFCP-01-0001",
    "val/Lung_Dx-A0002-B70f",
    "test/CatPhan504-CBCT",
    "test/LungFCP-01-0006",
)


@pytest.mark.parametrize("name", SERIES)
def test_real_series_lie_where_the_formula_puts_them(shared_data: Path, name: str) -> None:
    found = only(shared_data / name)
    volume = found.open()
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files(shared_data / name)]
    row, column = (np.array(headers[0].ImageOrientationPatient[s], float) for s in (slice(3), slice(3, 6)))
    headers.sort(key=lambda h: float(np.cross(row, column) @ np.array(h.ImagePositionPatient, float)))
    dy, dx = (float(d) for d in headers[0].PixelSpacing)
    first, last = (np.array(h.ImagePositionPatient, float) for h in (headers[0], headers[-1]))
    step = (last - first) / (len(headers) - 1)
    for k, i, j in ((0, 0, 0), (len(headers) - 1, 511, 0), (len(headers) // 2, 100, 300)):
        expected = first + k * step + i * dy * column + j * dx * row
        np.testing.assert_allclose(volume.geometry.position(k, i, j), expected, atol=1e-3)


def test_the_real_tilted_series_keeps_its_shear(shared_data: Path) -> None:
    geometry = only(shared_data / "geometry/tilt-18.5").open().geometry
    assert geometry.tilt_degrees == pytest.approx(18.5, abs=0.05)


def test_the_uneven_head_is_read_one_by_one_with_its_padding_marked(shared_data: Path) -> None:
    found = only(shared_data / "test/dcm_qa_ct-GE-head")
    assert isinstance(found.error, MesrError)
    assert found.error.code == "uneven-slices"
    volumes = open_slices(found)
    assert len(volumes) == 28
    image = volumes[5].slices[0]
    assert image.padding is not None
    assert set(np.unique(image.values[image.padding])) == {-1500.0}
    assert image.values[~image.padding].min() > -1500
