"""Headers that nobody vouches for: bombs, depths and the corpus of malformed files (`dicom.md` §3 rows 10, 11)."""

from __future__ import annotations

import logging
import struct
import tarfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from scans import dicom_series

from mesr.errors import MesrError
from mesr.io.dicom import discover, streams
from mesr.io.dicom.header import read_header
from mesr.limits import MAX_HEADER_BYTES, MAX_INFLATED_BYTES, MAX_SEQUENCE_DEPTH


def with_data(path: Path, data: bytes, *, deflated: bool = False) -> None:
    """Replace everything behind the file meta information of `path`."""
    meta = pydicom.filereader.read_file_meta_info(path)
    start = 132 + 12 + meta.FileMetaInformationGroupLength
    if deflated:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    path.write_bytes(path.read_bytes()[:start] + data)


def nested(depth: int, *, undefined: bool) -> bytes:
    """A private sequence inside itself, explicit little endian."""
    value = b""
    for _ in range(depth):
        length = 0xFFFFFFFF if undefined else len(value)
        item = struct.pack("<HHI", 0xFFFE, 0xE000, length) + value
        if undefined:
            item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        whole = 0xFFFFFFFF if undefined else len(item)
        value = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, whole) + item
        if undefined:
            value += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return value


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [MAX_SEQUENCE_DEPTH + 1, 400, 3000])
def test_deep_sequences_are_refused(tmp_path: Path, depth: int, undefined: bool) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    with_data(path, nested(depth, undefined=undefined))
    with pytest.raises(MesrError) as caught:
        read_header(path)
    assert caught.value.code == "sequence-depth"


def test_sequences_of_a_depth_found_in_practice_are_read(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    with_data(path, nested(MAX_SEQUENCE_DEPTH, undefined=True))
    assert read_header(path).pixels is None


def test_a_deflated_bomb_is_refused_in_time_and_memory(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8), syntax=DeflatedExplicitVRLittleEndian).paths
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0x3FFFFFFE)
    with_data(path, element + bytes(1 << 28), deflated=True)
    assert path.stat().st_size < MAX_INFLATED_BYTES >> 10
    started = time.process_time()
    (error,) = discover([path]).refused
    assert error.code == "inflated-too-large"
    assert time.process_time() - started < 5


def test_a_deflated_file_whose_own_description_is_huge_is_refused(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8), syntax=DeflatedExplicitVRLittleEndian).paths
    huge = struct.pack("<HH2sHI", 0x0002, 0x0102, b"OB", 0, MAX_HEADER_BYTES)
    data = path.read_bytes()
    group = int.from_bytes(data[140:144], "little") + len(huge) + MAX_HEADER_BYTES
    with path.open("wb") as file:
        file.write(data[:140] + group.to_bytes(4, "little") + data[144:] + huge)
        file.truncate(file.tell() + MAX_HEADER_BYTES)  # sparse
    assert [error.code for error in discover([path]).refused] == ["header-too-large"]


def test_the_references_to_a_whole_series_are_read_only_when_asked_for(tmp_path: Path) -> None:
    def refer(data: Dataset, k: int) -> None:
        data.ReferencedSeriesSequence = [Dataset()]

    (path,) = dicom_series(tmp_path, size=(1, 8, 8), edit=refer).paths
    assert "ReferencedSeriesSequence" in read_header(path).dataset
    assert "ReferencedSeriesSequence" not in read_header(path, references=False).dataset


def test_a_header_that_never_ends_is_refused(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    with path.open("r+b") as file:
        file.seek(0, 2)
        start = file.tell()
        file.truncate(start + (1 << 28))  # sparse
    data = bytearray(path.read_bytes()[:start])
    meta = pydicom.filereader.read_file_meta_info(path)
    at = 132 + 12 + meta.FileMetaInformationGroupLength
    data[at:] = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, (1 << 28) - (1 << 20))
    with path.open("r+b") as file:
        file.write(data)
    assert [error.code for error in discover([path]).refused] == ["header-too-large"]


def test_a_header_of_countless_pieces_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_HEADER_READS", 5000)
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    pieces = b"".join(struct.pack("<HH2sH", 0x0009, tag, b"LO", 0) for tag in range(10_000))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(pieces)) + pieces
    for data in (pieces, struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(item)) + item):
        with_data(path, data)
        assert [error.code for error in discover([path]).refused] == ["header-too-large"]


def test_a_damaged_length_is_told_from_a_large_header(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    with_data(path, struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0x7FFFFFFE))
    assert [error.code for error in discover([path]).refused] == ["damaged-header"]


def test_elements_that_contradict_the_header_behind_the_pixels_are_refused(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    again = struct.pack("<HH2sHH", 0x0028, 0x0010, b"US", 2, 4)
    path.write_bytes(path.read_bytes() + again)
    assert [error.code for error in discover([path]).refused] == ["damaged-header"]


def test_padding_behind_the_pixels_is_allowed(tmp_path: Path) -> None:
    def trail(data: Dataset, k: int) -> None:
        data.add_new(0xFFFCFFFC, "OB", bytes(16))

    dicom_series(tmp_path, edit=trail)
    (series,) = discover(sorted(tmp_path.glob("*.dcm"))).series
    assert series.error is None


def test_no_exception_or_log_line_quotes_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    def spoil(data: Dataset, k: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.add_new("SeriesNumber", "LO", "ZZPHI^MARKER")
            data.add_new("PixelSpacing", "LO", "ZZPHI^MARKER")

    (path,) = dicom_series(tmp_path, size=(1, 8, 8), edit=spoil).paths
    with caplog.at_level(logging.DEBUG):
        found = discover([path])
    told = [str(error) for error in found.refused] + [str(series.error) for series in found.series]
    assert told
    assert "ZZPHI" not in "".join(told) + caplog.text + "".join(str(w.message) for w in recwarn)


def reference(path: Path) -> np.ndarray:
    """What pydicom and numpy make of a file, in rescaled values."""
    data = pydicom.dcmread(path, force=True)
    values = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    return np.asarray(values, np.float32).reshape(-1, data.Rows, data.Columns)


@pytest.mark.filterwarnings("ignore")
def test_no_malformed_file_crashes_hangs_or_is_read_otherwise_than_pydicom_reads_it(
    shared_data: Path, tmp_path: Path
) -> None:
    with tarfile.open(shared_data / "malformed.tar.gz") as corpus:
        corpus.extractall(tmp_path, filter="data")
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(paths) > 350
    outputs = 0
    for path in paths:
        started = time.monotonic()
        found = discover([path])
        for series in (series for series in found.series if series.error is None):
            try:
                values = series.open().array
            except MesrError:
                continue
            outputs += 1
            np.testing.assert_array_equal(values, reference(path), err_msg=path.name)
            position = pydicom.dcmread(path, force=True, stop_before_pixels=True).get("ImagePositionPatient")
            np.testing.assert_allclose(series.open().geometry.origin, position or (0, 0, 0), atol=1e-3)
        assert time.monotonic() - started < 10, path.name
        assert found.refused or found.foreign or found.skipped or found.series, path.name
    assert outputs > 150


def test_a_header_is_read_in_the_syntax_it_was_written_in(tmp_path: Path) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 8, 8)).paths
    header = read_header(path)
    assert header.transfer_syntax == ExplicitVRLittleEndian
    assert header.pixels is not None
    assert header.pixels.length == 8 * 8 * 2
