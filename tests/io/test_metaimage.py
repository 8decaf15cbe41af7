"""MetaImage's own rules: fields and their aliases, compression, detached data, what is refused."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import require_module
from volumes import counted, enlarged, volume

from mesr import io
from mesr.errors import InputError

FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "1 2 3",
    "ElementSpacing": "0.6 0.7 2.5",
    "DimSize": "6 5 4",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
VOXELS = counted().astype("<i2").tobytes()


def save(path: Path, data: bytes = VOXELS, **fields: str | None) -> Path:
    """A file with `FIELDS`, some of them changed, or left out where None; the data file's name stays last."""
    changed = {**FIELDS, **fields}
    last = changed.pop("ElementDataFile")
    lines = [f"{name} = {value}\n" for name, value in changed.items() if value is not None]
    path.write_bytes("".join([*lines, f"ElementDataFile = {last}\n"]).encode() + data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        io.read(path)
    return caught.value.code


def test_the_older_names_of_fields_are_understood(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.mha", Offset=None, Position="4 5 6", TransformMatrix=None, Rotation="0 1 0 1 0 0 0 0 1"
    )
    back = io.read(path)
    assert back.geometry.origin == (4, 5, 6)
    assert back.geometry.column_direction == (0, 1, 0)
    assert back.geometry.row_direction == (1, 0, 0)


@pytest.mark.parametrize(
    "kind", ["MET_UCHAR", "MET_CHAR", "MET_USHORT", "MET_INT", "MET_LONG_LONG", "MET_FLOAT"]
)
@pytest.mark.parametrize("big", ["True", "False"])
def test_every_type_and_byte_order_is_read_as_simpleitk_reads_it(tmp_path: Path, kind: str, big: str) -> None:
    sitk = require_module("SimpleITK")
    codes = {"MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_INT": "i4", "MET_LONG_LONG": "i8"}
    values = np.arange(120).reshape(4, 5, 6)
    dtype = np.dtype(codes.get(kind, "f4")).newbyteorder(">" if big == "True" else "<")
    path = save(
        tmp_path / "a.mha", values.astype(dtype).tobytes(), ElementType=kind, BinaryDataByteOrderMSB=big
    )
    np.testing.assert_array_equal(io.read(path).array, values)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), values)


def test_compressed_voxels_are_read(tmp_path: Path) -> None:
    packed = zlib.compress(VOXELS)
    path = save(tmp_path / "a.mha", packed, CompressedData="True", CompressedDataSize=str(len(packed)))
    np.testing.assert_array_equal(io.read(path).array, counted())


def test_a_detached_data_file_beside_the_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"head" + VOXELS)
    for size in ("4", "-1"):
        path = save(tmp_path / "a.mhd", b"", HeaderSize=size, ElementDataFile="a.raw")
        np.testing.assert_array_equal(io.read(path).array, counted())


def test_a_header_size_counts_in_a_file_of_its_own_too(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mha", VOXELS, HeaderSize="1000")
    head = path.read_bytes()[: -len(VOXELS)]
    path.write_bytes(head.ljust(1000, b"#") + VOXELS)
    np.testing.assert_array_equal(io.read(path).array, counted())


def test_an_image_of_two_dimensions_is_one_slice(tmp_path: Path) -> None:
    flat = {"NDims": "2", "TransformMatrix": "1 0 0 1", "Offset": "1 2", "ElementSpacing": "0.6 0.7"}
    back = io.read(save(tmp_path / "a.mha", VOXELS[:60], **flat, DimSize="6 5"))
    assert back.geometry.size == (1, 5, 6)
    assert back.spacing == (1.0, 0.7, 0.6)
    np.testing.assert_array_equal(back.array, counted()[:1])


def test_a_file_without_spacing_stays_without(tmp_path: Path) -> None:
    back = io.read(save(tmp_path / "a.mha", ElementSpacing=None))
    assert not back.geometry.known
    io.write(back, tmp_path / "b.mha")
    assert not io.read(tmp_path / "b.mha").geometry.known


def test_the_maker_is_told_in_a_comment(tmp_path: Path) -> None:
    io.write(enlarged(volume()), tmp_path / "a.mha")
    assert b"\nComment = mesr " in (tmp_path / "a.mha").read_bytes()


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "sub/a.raw", "LIST", "a%03d.raw 1 4 1", "..", "missing"]
)
def test_a_data_file_elsewhere_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(VOXELS)
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a.raw").write_bytes(VOXELS)
    assert refusal(save(tmp_path / "in/a.mha", b"", ElementDataFile=name)) == "data-file"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"NDims": None}, "not-metaimage"),
        ({"DimSize": "6 5"}, "not-metaimage"),
        ({"DimSize": "6 5 x"}, "not-metaimage"),
        ({"HeaderSize": "-3"}, "not-metaimage"),
        ({"Offset": "1 2"}, "not-metaimage"),
        ({"TransformMatrix": "1 0 0"}, "not-metaimage"),
        ({"NDims": "4", "DimSize": "6 5 2 2"}, "four-dimensional"),
        ({"ElementNumberOfChannels": "3"}, "voxel-type"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "voxel-type"),
        ({"BinaryData": "False"}, "voxel-type"),
        ({"DimSize": "32000 32000 32000"}, "too-large"),
        ({"DimSize": "6 5 0"}, "empty"),
        ({"DimSize": "6 5 40"}, "truncated"),
        ({"DimSize": "6 5 3"}, "surplus"),
        ({"CompressedData": "True"}, "truncated"),
        ({"ElementSpacing": "0 1 1"}, "spacing"),
        ({"ElementSpacing": "nan 1 1"}, "spacing"),
        ({"ElementSpacing": "1e9 1 1"}, "spacing"),
        ({"Offset": "inf 0 0"}, "origin"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "orientation"),
        ({"DistanceUnits": "cm"}, "unit"),
    ],
)
def test_an_unusable_header_is_refused(tmp_path: Path, fields: dict[str, str | None], code: str) -> None:
    assert refusal(save(tmp_path / "a.mha", **fields)) == code


def test_an_endless_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(b"Comment = x\n" * (1 << 18))
    assert refusal(tmp_path / "a.mha") == "not-metaimage"


def test_a_zlib_bomb_is_unpacked_no_further_than_its_header_promises(tmp_path: Path) -> None:
    packed = zlib.compress(VOXELS + bytes(64 << 20))
    assert refusal(save(tmp_path / "a.mha", packed, CompressedData="True")) == "surplus"
