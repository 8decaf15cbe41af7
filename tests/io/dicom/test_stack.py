"""Which frames of a series make a volume, and which are split off, dropped or refused (`dicom.md` §3 rows 17-22)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from found import assert_same, code_of, files, only
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from scans import dicom_series

from mesr.errors import GeometryInput
from mesr.io.dicom import discover, open_slices


def test_a_missing_slice_is_refused_by_its_place(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, size=(8, 16, 20))
    scan.paths[3].unlink()
    assert code_of(tmp_path) == "missing-slices"
    assert "37.50 mm" in str(only(tmp_path).error)


@pytest.mark.parametrize(("gone", "said"), [([3], "1 slice is missing"), ([3, 5], "2 slices are missing")])
def test_missing_slices_are_counted_in_plain_words(tmp_path: Path, gone: list[int], said: str) -> None:
    scan = dicom_series(tmp_path, size=(9, 16, 20))
    for k in gone:
        scan.paths[k].unlink()
    assert said in str(only(tmp_path).error)


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


@pytest.mark.parametrize("alike", [0, 2, 4])
def test_phases_keep_slices_that_are_alike(tmp_path: Path, alike: int) -> None:
    for phase in (1, 2):

        def blank(data: Dataset, k: int, phase: int = phase) -> None:
            data.AcquisitionNumber = phase
            if k == alike:
                data.PixelData = bytes(len(data.PixelData))

        dicom_series(tmp_path / str(phase), seed=phase, edit=blank)
    found = discover(files(tmp_path)).series
    assert [series.error for series in found] == [None, None]
    assert [len(series.open().slices) for series in found] == [5, 5]


def test_a_copy_under_another_acquisition_number_is_still_one(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path)
    copy = dcmread(scan.paths[2])
    copy.AcquisitionNumber, copy.SOPInstanceUID = 9, generate_uid()
    copy.save_as(tmp_path / "copy.dcm")
    volume = only(tmp_path).open()
    assert_same(volume, scan)
    assert "duplicate-dropped" in {note.code for note in volume.notes}


def test_phases_of_unequal_length_are_told(tmp_path: Path) -> None:
    def second(data: Dataset, k: int) -> None:
        data.AcquisitionNumber = 2

    dicom_series(tmp_path / "a")
    dicom_series(tmp_path / "b", seed=1, edit=second).paths[-1].unlink()
    found = discover(files(tmp_path)).series
    for series in found:
        (note,) = (note for note in series.open().notes if note.code == "split-by-phase")
        assert "of 5, 4 slices" in note.text


def test_slices_of_two_frames_of_reference_are_no_volume(tmp_path: Path) -> None:
    def moved(data: Dataset, k: int) -> None:
        data.FrameOfReferenceUID = f"1.2.3.{k // 3}"

    dicom_series(tmp_path, edit=moved)
    assert sorted(len(series.open().slices) for series in discover(files(tmp_path)).series) == [2, 3]


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


def test_a_phase_keeps_its_identifier_whatever_its_files_are_called(tmp_path: Path) -> None:
    def second(data: Dataset, k: int) -> None:
        data.AcquisitionNumber = 2

    one, two = dicom_series(tmp_path / "a").paths, dicom_series(tmp_path / "b", seed=1, edit=second).paths
    ids = [{s.id: s.open().array.sum() for s in discover(paths).series} for paths in (one + two, two + one)]
    assert len(ids[0]) == 2
    assert ids[0] == ids[1]
