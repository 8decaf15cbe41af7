"""The formats that place nothing: arrays and pictures."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from volumes import counted, enlarged, volume

from mesr import io
from mesr.errors import InputError
from mesr.geometry import Geometry


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        io.read(path)
    return caught.value.code


@pytest.mark.parametrize("kind", ["u1", "<i2", ">i2", "<u4", "<f2", "<f4", ">f8"])
@pytest.mark.parametrize("fortran", [False, True])
def test_an_array_of_any_real_type_and_order_is_read(tmp_path: Path, kind: str, fortran: bool) -> None:
    values = np.arange(120).reshape(4, 5, 6).astype(kind)
    np.save(tmp_path / "a.npy", np.asfortranarray(values) if fortran else values)
    back = io.read(tmp_path / "a.npy")
    np.testing.assert_array_equal(back.array, values)
    assert not back.geometry.known


def test_an_array_of_two_dimensions_is_one_slice_and_stays_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", counted()[0])
    back = io.read(tmp_path / "a.npy")
    assert back.geometry.size == (1, 5, 6)
    io.write(enlarged(back, "2"), tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").shape == (10, 12)


def test_an_array_is_written_as_float32_without_its_place_and_that_is_told(tmp_path: Path) -> None:
    written = io.write(volume(), tmp_path / "a.npy")
    assert [note.code for note in written.notes] == ["geometry-lost"]
    back = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, counted())


def test_values_beyond_float32_count_as_not_finite(tmp_path: Path) -> None:
    values = counted().astype(np.float64)
    values[0, 0, 0] = 1e300
    np.save(tmp_path / "a.npy", values)
    back = io.read(tmp_path / "a.npy")
    assert [note.code for note in back.notes] == ["not-finite"]
    assert back.slices[0].padding is not None


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.array([{}], dtype=object), "not-npy"),
        (np.zeros((4, 5, 6), dtype=complex), "voxel-type"),
        (np.zeros((4, 5, 6), dtype=bool), "voxel-type"),
        (np.zeros((4, 5), dtype=[("a", "f4")]), "voxel-type"),
        (np.zeros((2, 4, 5, 6)), "four-dimensional"),
        (np.zeros(7), "four-dimensional"),
        (np.zeros((0, 5, 6)), "empty"),
        (np.zeros((1, 1, 40_000), dtype=np.uint8), "too-large"),
    ],
)
def test_an_array_that_is_no_image_is_refused(tmp_path: Path, array: np.ndarray, code: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    assert refusal(tmp_path / "a.npy") == code


def test_an_archive_of_one_array_is_read_as_the_zip_it_is(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", counted())
    np.testing.assert_array_equal(io.read(tmp_path / "a.npz").array, counted())


def test_hounsfield_units_come_back_from_pngs(tmp_path: Path) -> None:
    values = counted()
    values[0, 0, :3] = -32768, 32767, -1024
    written = io.write(volume(array=values, unit="HU"), tmp_path / "stack", format="png")
    assert [path.name for path in written.paths] == ["00001.png", "00002.png", "00003.png", "00004.png"]
    assert np.asarray(Image.open(written.paths[0]))[0, :3].tolist() == [0, 65535, 31744]
    for k, path in enumerate(written.paths):
        back = io.read(path)
        assert back.unit == "HU"
        np.testing.assert_array_equal(back.array[0], values[k])


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_png_is_written_back_on_its_own_scale_and_clipping_is_counted(
    tmp_path: Path, kind, top: int
) -> None:
    stored = np.arange(30).reshape(5, 6).astype(kind)
    Image.fromarray(stored).save(tmp_path / "a.png")
    back = io.read(tmp_path / "a.png")
    np.testing.assert_array_equal(back.array[0], stored)
    values = back.array.copy()
    values[0, 0, :2] = top + 1, -1
    written = io.write(
        replace(back, slices=volume(array=values, geometry=back.geometry).slices), tmp_path / "b.png"
    )
    assert written.clipped == 2
    again = np.asarray(Image.open(tmp_path / "b.png"))
    assert again.dtype == kind
    assert again[0, :3].tolist() == [top, 0, 2]


def test_values_of_unknown_scale_are_mapped_from_their_range_and_told(tmp_path: Path) -> None:
    values = np.linspace(-0.3, 1.7, 120, dtype=np.float32).reshape(4, 5, 6)
    written = io.write(volume(array=values), tmp_path / "stack", format="png")
    assert "mapped-range" in [note.code for note in written.notes]
    back = np.concatenate([io.read(path).array for path in written.paths])
    np.testing.assert_allclose(back, values, atol=2.0 / 65535)


def test_a_constant_image_survives_the_mapping(tmp_path: Path) -> None:
    place = Geometry.unknown((1, 5, 6))
    io.write(volume(place, np.full(place.size, 0.25, dtype=np.float32)), tmp_path / "a.png")
    assert np.unique(io.read(tmp_path / "a.png").array).tolist() == [0.25]


def test_16_bit_integers_of_another_format_keep_their_steps(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", counted()[0].astype(np.int16))
    io.write(io.read(tmp_path / "a.npy"), tmp_path / "a.png")
    np.testing.assert_array_equal(io.read(tmp_path / "a.png").array[0], counted()[0])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_colour_palette_and_transparency_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (6, 5)).save(tmp_path / "a.png")
    assert refusal(tmp_path / "a.png") == "voxel-type"


def test_a_png_of_declared_gigapixels_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(60_000, 60_000, zlib.compress(bytes(1 << 20))))
    assert refusal(tmp_path / "a.png") == "too-large"


def test_a_png_cut_short_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for length in (0, 10, 32, 40, len(whole) // 2):
        (tmp_path / "b.png").write_bytes(whole[:length])
        assert refusal(tmp_path / "b.png") == "not-png"


@pytest.mark.parametrize("slope", ["0", "nan", "many"])
def test_nonsense_in_our_own_chunks_is_refused(tmp_path: Path, slope: str) -> None:
    told = PngImagePlugin.PngInfo()
    told.add_text("mesr:slope", slope)
    Image.fromarray(np.zeros((5, 6), dtype=np.uint16)).save(tmp_path / "a.png", pnginfo=told)
    assert refusal(tmp_path / "a.png") == "not-png"


def test_a_bomb_in_a_text_chunk_is_refused(tmp_path: Path) -> None:
    text = b"comment\0\0" + zlib.compress(bytes(200 << 20))
    (tmp_path / "a.png").write_bytes(_png(6, 5, zlib.compress(bytes(65)), _chunk(b"zTXt", text)))
    assert refusal(tmp_path / "a.png") == "not-png"


def _png(columns: int, rows: int, data: bytes, extra: bytes = b"") -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
