"""Zip input: private, bounded, and blind to the names inside (`dicom.md` §3 row 32)."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scans import dicom_series

from mesr import io, limits
from mesr.errors import MesrError
from mesr.io import archive
from mesr.io.archive import is_zip, private_folder, unpack
from mesr.io.dicom import discover


def make_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in entries.items():
            opened.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return path


def refusal(path: Path) -> MesrError:
    with private_folder() as name:
        with pytest.raises(MesrError) as caught:
            unpack(path, Path(name))
        assert not list(Path(name).parent.glob("evil*"))
    assert caught.value.path == path
    return caught.value


def test_a_zipped_series_is_read_like_its_folder(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "series")
    entries = {f"ZZPHI^MARKER/{path.name}": path.read_bytes() for path in scan.paths}
    path = make_zip(tmp_path / "study.zip", {**entries, "__MACOSX/._x": b"x", ".DS_Store": b"x"})
    assert is_zip(path)
    with private_folder() as name:
        unpacked = unpack(path, Path(name))
        (series,) = discover(unpacked.files).series
        np.testing.assert_array_equal(series.open().array, scan.values)
        assert "ZZPHI" not in "".join(str(file) for file in Path(name).rglob("*"))
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o700
    assert not Path(name).exists()


def test_an_empty_slice_in_a_zip_is_refused_like_one_in_a_folder(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "series")
    scan.paths[-1].write_bytes(b"")
    path = make_zip(tmp_path / "study.zip", {path.name: path.read_bytes() for path in scan.paths})
    told = [[one.error.code for one in io.discover([place]).refused] for place in (tmp_path / "series", path)]
    assert told[0] == told[1] != []


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil", "C:evil", "a\0/../evil"]
)
def test_names_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "a.zip", {"good.dcm": b"x", "X" * len(name): b"x"})
    # zipfile would clean the name while writing it.
    path.write_bytes(path.read_bytes().replace(b"X" * len(name), name.encode()))
    assert refusal(path).code == "hostile-zip"


def test_links_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(entry, "/etc/passwd")
    assert refusal(tmp_path / "a.zip").code == "hostile-zip"


def test_bombs_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(1 << 27)})
    assert refusal(path).code == "zip-too-large"


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ZIP_BYTES", 1000)
    path = make_zip(tmp_path / "a.zip", {"one": bytes(600), "two": bytes(600)})
    assert refusal(path).code == "zip-too-large"


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"one": b"x"})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", limits.MAX_ZIP_ENTRIES * 1000)
    path.write_bytes(data)
    assert refusal(path).code == "zip-too-large"


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"one": bytes(range(256)) * 40})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 256 * 40), struct.pack("<I", 999)))
    assert refusal(path).code == "damaged-zip"


def test_an_archive_inside_the_archive_is_left_out_and_told(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"x": b"x"}).read_bytes()
    path = make_zip(tmp_path / "a.zip", {"inner.zip": inner, "b.dcm": b"b"})
    with private_folder() as name:
        unpacked = unpack(path, Path(name))
        assert [file.read_bytes() for file in unpacked.files] == [b"b"]
        assert [error.code for error in unpacked.refused] == ["nested-zip"]


@pytest.mark.parametrize("kept", [0, 4, 30, 100, -1, -30])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: int) -> None:
    path = make_zip(tmp_path / "a.zip", {"one": bytes(range(256)) * 40})
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path).code in ("not-zip", "damaged-zip")


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"one": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert refusal(path).code == "encrypted-zip"
