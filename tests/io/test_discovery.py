"""What is found in files, folders and zips: each volume once, bad ones told, the rest counted."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scans import dicom_series
from volumes import counted, volume

from mesr import io
from mesr.errors import UnreadableInput


def codes(found: io.Found) -> list[str]:
    return [refused.error.code for refused in found.refused]


def test_a_folder_is_searched_with_all_below_it(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "a/one.nii.gz")
    io.write(volume(), tmp_path / "b/deep/two.nrrd")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / ".hidden.nii").write_text("nothing")
    found = io.discover([tmp_path])
    assert [(item.format, item.name) for item in found.items] == [("nifti", "a/one"), ("nrrd", "b/deep/two")]
    assert [item.label for item in found.items] == ["NIfTI 6×5×4", "NRRD 6×5×4"]
    assert found.refused == []
    assert [note.code for note in found.notes] == ["other-files"]
    np.testing.assert_array_equal(found.items[1].open().array, counted())


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    dicom_series(tmp_path / "elsewhere")
    (tmp_path / "archive").mkdir()
    for name, to in (("linked", tmp_path / "elsewhere"), ("loop", tmp_path / "archive")):
        (tmp_path / "archive" / name).symlink_to(to, target_is_directory=True)
    (item,) = io.discover([tmp_path / "archive"]).items
    assert item.size[0] == 5


def test_a_pair_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "brain.hdr").write_bytes(bytes(348))
    assert codes(io.discover([tmp_path / "brain.hdr"])) == ["pair"]


def test_what_a_killed_run_left_in_a_hidden_folder_is_not_found(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan")
    dicom_series(tmp_path / ".0a1b.out", series="1.2.3")
    (item,) = io.discover([tmp_path]).items
    assert {path.parent.name for path in item.paths} == {"scan"}


def test_a_folder_that_cannot_be_entered_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom_series(tmp_path / "open")
    dicom_series(tmp_path / "shut", series="1.2.3")
    plain = os.scandir

    def guarded(path: str) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = io.discover([tmp_path])
    assert len(found.items) == 1
    assert codes(found) == ["unreadable"]


def test_one_bad_file_does_not_hide_the_others(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "good.nii")
    (tmp_path / "bad.nii").write_bytes(b"")
    found = io.discover([tmp_path])
    assert [item.name for item in found.items] == ["good"]
    assert codes(found) == ["not-nifti"]
    assert "refused-beside" in [note.code for note in io.read(tmp_path).notes]


def test_identifiers_follow_the_content_and_not_the_place(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "a/x.nii")
    io.write(volume(), tmp_path / "b/x.nii")
    io.write(volume(array=counted() + 1), tmp_path / "c/x.nii")
    first, second, third = (io.discover([tmp_path / name / "x.nii"]).items[0].id for name in "abc")
    assert first == second != third
    assert len(first) == 12
    assert int(first, 16) >= 0


def test_names_for_outputs_are_safe_and_unique(tmp_path: Path) -> None:
    for name in ("$(id) ü.nii", "x.nii", "x.nrrd", "X.mha"):
        io.write(volume(), tmp_path / name)
    names = [item.name for item in io.discover([tmp_path]).items]
    assert len({name.lower() for name in names}) == 4
    assert all(c.isascii() and (c.isalnum() or c in "-_./") for name in names for c in name)


def test_a_zip_is_searched_and_kept_while_its_volume_is_used(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "in/a.nii")
    io.write(volume(array=counted() + 1), tmp_path / "in/b.nrrd")
    shutil.make_archive(str(tmp_path / "both"), "zip", tmp_path / "in")
    found = io.discover([tmp_path / "both.zip"])
    assert {item.format for item in found.items} == {"nifti", "nrrd"}
    assert all(item.name.startswith("both/") for item in found.items)
    files = [item.paths[0] for item in found.items]
    back = next(item for item in found.items if item.format == "nrrd").open()
    del found
    gc.collect()
    np.testing.assert_array_equal(back.array, counted() + 1)
    del back
    gc.collect()
    assert not any(file.exists() for file in files)


def test_a_zip_is_unpacked_below_a_folder_and_gone_with_what_was_found(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in/ct")
    dicom_series(tmp_path / "in/uneven", size=(4, 8, 8), series="1.2.3").paths[1].unlink()
    (tmp_path / "in/bad.nii").write_bytes(b"nothing")
    shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "in")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "study.zip").read_bytes()[:-30])
    below = tmp_path / "private"
    below.mkdir()
    # What is imported on the way leaves cycles of its own, once.
    io.discover([tmp_path / "study.zip"])
    gc.collect()
    gc.disable()
    try:
        found = io.discover([tmp_path / "study.zip", tmp_path / "cut.zip"], below)
        assert len(found.items) == 1
        assert {"uneven-slices", "not-zip"} <= set(codes(found))
        (place,) = {path.parent for path in found.items[0].paths}
        assert place.parent == below
        del found
        assert list(below.iterdir()) == []
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["note.txt", "picture.dcm", "nothing", "list.csv"])
def test_a_named_file_that_is_no_image_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("" if name == "nothing" else "some text " * 100)
    found = io.discover([tmp_path / name])
    assert found.items == []
    assert len(found.refused) == 1
    assert isinstance(found.refused[0].error, UnreadableInput)


def test_a_folder_without_images_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    assert codes(io.discover([tmp_path])) == ["no-images"]
    assert codes(io.discover([tmp_path / "missing"])) == ["not-found"]


def test_previews_beside_scans_are_left_alone(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "a/scan.nii")
    Image.new("RGB", (6, 5)).save(tmp_path / "a/preview.png")
    found = io.discover([tmp_path])
    assert ([item.format for item in found.items], codes(found)) == (["nifti"], [])
    assert [note.code for note in found.notes] == ["pictures"]
    assert codes(io.discover([tmp_path / "a/preview.png"])) == ["voxel-type"]


def test_slices_named_one_by_one_are_one_series(shared_data: Path) -> None:
    files = sorted((shared_data / "geometry/tilt-18.5").iterdir())
    found = io.discover(files)
    assert [item.size[0] for item in found.items] == [len(files)]
    assert found.items[0].paths == io.discover([files[0].parent]).items[0].paths


def test_a_zip_of_a_series_is_read_after_what_found_it_is_gone(tmp_path: Path) -> None:
    made = dicom_series(tmp_path / "in")
    shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "in")
    scan = io.read(tmp_path / "study.zip")
    gc.collect()
    np.testing.assert_array_equal(scan.array, made.values)
    io.write(scan, tmp_path / "out")


def test_slices_can_be_taken_one_by_one_each_in_its_place(tmp_path: Path) -> None:
    made = dicom_series(tmp_path / "in/ct")
    io.write(volume(), tmp_path / "in/scan.nii")
    for item in io.discover([tmp_path / "in"]).items:
        whole, slices = item.open(), item.open_slices()
        assert [one.geometry.size[0] for one in slices] == [1] * item.size[0]
        np.testing.assert_array_equal(slices[2].array[0], whole.array[2])
        assert slices[2].geometry.origin == pytest.approx(whole.geometry.position(2, 0, 0))
    made.paths[1].unlink()
    (refused,) = io.discover([tmp_path / "in/ct"]).refused
    assert refused.open_slices is not None
    assert len(refused.open_slices()) == 4
