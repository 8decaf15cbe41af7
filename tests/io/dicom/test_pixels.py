"""Stored integers: every codec equals its uncompressed twin, every lie is refused (`dicom.md` §3 rows 4-9, 12, 25-26)."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from conftest import require_program
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from scans import NO_LOSS, dicom_series, enhanced_file

from mesr.errors import InputError, MesrError, TooLarge, UnreadableInput, UnsupportedInput
from mesr.io.dicom import discover
from mesr.io.dicom.header import read_header
from mesr.io.dicom.layout import layout_of
from mesr.io.dicom.pixels import stored_frame
from mesr.volume import Volume

NATIVE = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def open_all(folder: Path) -> Volume:
    (series,) = discover(sorted(folder.rglob("*.dcm"))).series
    return series.open()


def stored(path: Path, frame: int | None = None) -> npt.NDArray[np.integer]:
    return stored_frame(path, layout_of(read_header(path), path), frame).values


def refusal(path: Path) -> MesrError:
    """Why one file is refused, on discovery or on decoding."""
    found = discover([path])
    if found.refused:
        return found.refused[0]
    (series,) = found.series
    if series.error is not None:
        return series.error
    with pytest.raises(InputError) as caught:
        series.open().slices[0]
    assert caught.value.path == path
    return caught.value


@pytest.mark.parametrize("syntax", [*NATIVE, *NO_LOSS])
@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, False), (16, True), (12, True)])
def test_every_syntax_equals_the_uncompressed_twin(
    tmp_path: Path, syntax: str, bits: int, signed: bool
) -> None:
    scan = dicom_series(tmp_path, syntax=syntax, bits_stored=bits, signed=signed)
    np.testing.assert_array_equal(open_all(tmp_path).array, scan.values)


@pytest.mark.parametrize("syntax", [*NATIVE, *NO_LOSS])
def test_every_syntax_is_read_frame_by_frame(tmp_path: Path, syntax: str) -> None:
    scan = enhanced_file(tmp_path / "one.dcm", syntax=syntax)
    np.testing.assert_array_equal(open_all(tmp_path).array, scan.values)


def test_twelve_bit_jpeg_is_close_and_said_to_be_lossy(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, syntax=JPEGExtended12Bit, size=(2, 64, 64))
    volume = open_all(tmp_path)
    assert float(np.abs(volume.array - scan.values).mean()) < 10
    assert "lossy-source" in {note.code for note in volume.notes}


@pytest.mark.parametrize("predictor", range(1, 8))
def test_dcmtks_lossless_jpeg_is_read_with_every_predictor(tmp_path: Path, predictor: int) -> None:
    program = require_program("dcmcjpeg")
    source, packed = Path(str(get_testdata_file("CT_small.dcm"))), tmp_path / "packed.dcm"
    subprocess.run([program, "+el", "+sv", str(predictor), str(source), str(packed)], check=True)
    np.testing.assert_array_equal(stored(packed), pydicom.dcmread(source).pixel_array)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("MR_small_expb.dcm", "MR_small.dcm"),
        ("J2K_pixelrep_mismatch.dcm", "J2K_pixelrep_mismatch.dcm"),
    ],
)
def test_pydicoms_files_equal_their_twins(name: str, twin: str) -> None:
    expected = pydicom.dcmread(str(get_testdata_file(twin))).pixel_array
    np.testing.assert_array_equal(stored(Path(str(get_testdata_file(name)))), expected)


@pytest.mark.parametrize(
    "name",
    [
        "emri_small.dcm",
        "emri_small_RLE.dcm",
        "emri_small_big_endian.dcm",
        "emri_small_jpeg_2k_lossless.dcm",
        "emri_small_jpeg_ls_lossless.dcm",
    ],
)
def test_pydicoms_multi_frame_files_equal_their_twin(name: str) -> None:
    expected = pydicom.dcmread(str(get_testdata_file("emri_small.dcm"))).pixel_array
    path = Path(str(get_testdata_file(name)))
    for frame in range(10):
        np.testing.assert_array_equal(stored(path, frame), expected[frame])


def test_bits_above_those_stored_are_not_values(tmp_path: Path) -> None:
    def overlay(data: Dataset, k: int) -> None:
        pixels = np.frombuffer(data.PixelData, "<u2") | 0x8000
        data.PixelData = pixels.tobytes()

    scan = dicom_series(tmp_path, edit=overlay)
    np.testing.assert_array_equal(open_all(tmp_path).array, scan.values)


@pytest.mark.parametrize("signed", [True, False])
def test_padding_is_marked_and_keeps_its_value(tmp_path: Path, signed: bool) -> None:
    padding = -1500 if signed else 63_536
    scan = dicom_series(tmp_path, padding=padding, signed=signed, bits_stored=16)
    image = open_all(tmp_path).slices[0]
    np.testing.assert_array_equal(image.padding, scan.stored[0] == padding)
    np.testing.assert_array_equal(image.values, scan.values[0])


def test_padding_outside_the_stored_bits_is_still_found(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, padding=63_536)
    image = open_all(tmp_path).slices[0]
    np.testing.assert_array_equal(image.padding, scan.stored[0] == 63_536)


def test_padding_covers_the_range_to_its_limit(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path, padding=-2000, padding_limit=-150, signed=True, bits_stored=16)
    image = open_all(tmp_path).slices[0]
    np.testing.assert_array_equal(image.padding, scan.stored[0] <= -150)
    assert 0 < np.count_nonzero(scan.stored[0] == -2000) < np.count_nonzero(image.padding)


def test_a_volume_without_padding_has_no_mask(tmp_path: Path) -> None:
    dicom_series(tmp_path)
    assert open_all(tmp_path).slices[0].padding is None


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, *NO_LOSS])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, syntax: str, kept: float) -> None:
    (path,) = dicom_series(tmp_path, size=(1, 64, 64), syntax=syntax).paths
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert isinstance(refusal(path), UnreadableInput)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("kept", [2, 10, 300, 2000])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_truncated_frame_in_a_whole_file_is_refused(
    tmp_path: Path, syntax: str, kept: int, end: bytes
) -> None:
    def cut(data: Dataset, k: int) -> None:
        frame = bytes(data.PixelData)[16:]
        data.PixelData = encapsulate([frame[:kept] + end])

    (path,) = dicom_series(tmp_path, size=(1, 64, 64), syntax=syntax, edit=cut).paths
    assert isinstance(refusal(path), UnreadableInput)


@pytest.mark.parametrize("factor", [0, 0.5, 2, 10])
def test_pixels_of_another_length_than_declared_are_refused(tmp_path: Path, factor: float) -> None:
    def resize(data: Dataset, k: int) -> None:
        data.PixelData = (bytes(data.PixelData) * 10)[: int(factor * len(data.PixelData))]

    (path,) = dicom_series(tmp_path, size=(1, 32, 40), edit=resize).paths
    assert refusal(path).code == "pixel-length"


def test_a_file_without_pixels_is_refused(tmp_path: Path) -> None:
    def strip(data: Dataset, k: int) -> None:
        del data.PixelData

    (path,) = dicom_series(tmp_path, size=(1, 32, 40), edit=strip).paths
    assert refusal(path).code == "no-pixels"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize(("rows", "columns"), [(65_535, 65_535), (60_000, 60_000), (8_193, 8_193), (0, 16)])
def test_a_huge_declared_size_is_refused_before_anything_is_allocated(
    tmp_path: Path, syntax: str, rows: int, columns: int
) -> None:
    def lie(data: Dataset, k: int) -> None:
        data.Rows, data.Columns = rows, columns

    (path,) = dicom_series(tmp_path, size=(1, 32, 40), syntax=syntax, edit=lie).paths
    assert isinstance(refusal(path), TooLarge | UnreadableInput)


def test_a_stream_of_another_size_than_its_header_never_reaches_a_decoder(tmp_path: Path) -> None:
    def grow(data: Dataset, k: int) -> None:
        frame = bytearray(data.PixelData)
        at = frame.index(b"\xff\x4f\xff\x51") + 8
        frame[at : at + 8] = struct.pack(">II", 60_000, 60_000)
        data.PixelData = bytes(frame)

    (path,) = dicom_series(tmp_path, size=(1, 32, 40), syntax=JPEG2000Lossless, edit=grow).paths
    assert "60000×60000" in refusal(path).sentence


@pytest.mark.parametrize("frames", [0, 7, 2_000_000_000])
def test_a_false_number_of_frames_is_refused(tmp_path: Path, frames: int) -> None:
    def lie(data: Dataset, k: int) -> None:
        data.NumberOfFrames = frames

    scan = enhanced_file(tmp_path / "one.dcm", edit=lie)
    assert refusal(scan.paths[0]).code in ("frames", "too-large", "pixel-length")


@pytest.mark.parametrize(
    ("allocated", "stored_bits", "high"),
    [(0, 12, 11), (1, 1, 0), (24, 12, 11), (48, 12, 11), (16, 17, 16), (16, 12, 15)],
)
def test_odd_pixel_formats_are_refused(tmp_path: Path, allocated: int, stored_bits: int, high: int) -> None:
    def odd(data: Dataset, k: int) -> None:
        data.BitsAllocated, data.BitsStored, data.HighBit = allocated, stored_bits, high

    (path,) = dicom_series(tmp_path, size=(1, 32, 40), edit=odd).paths
    assert isinstance(refusal(path), UnsupportedInput)
