"""NRRD's own rules: spaces, units, encodings, detached data, what is refused."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from volumes import counted, enlarged, oblique, volume

from mesr import io
from mesr.errors import InputError

FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "6 5 4",
    "space directions": "(0.6,0,0) (0,0.7,0) (0,0,2.5)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,2,3)",
}
VOXELS = counted().astype("<i2").tobytes()


def save(path: Path, data: bytes = VOXELS, keys: str = "", **fields: str | None) -> Path:
    """A file with `FIELDS`, some of them changed, or left out where None; `_` stands for a space."""
    changed = {**FIELDS, **{name.replace("_", " "): value for name, value in fields.items()}}
    lines = "".join(f"{name}: {value}\n" for name, value in changed.items() if value is not None)
    path.write_bytes(f"NRRD0005\n# made for a test\n{lines}{keys}\n".encode() + data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        io.read(path)
    return caught.value.code


@pytest.mark.parametrize(
    ("space", "origin"),
    [
        ("left-posterior-superior", (1, 2, 3)),
        ("LPS", (1, 2, 3)),
        ("right-anterior-superior", (-1, -2, 3)),
        ("RAS", (-1, -2, 3)),
        ("left-anterior-superior", (1, -2, 3)),
        ("LPI", (1, 2, -3)),
        ("superior-left-posterior", (2, 3, 1)),
    ],
)
def test_a_position_is_found_from_any_space_and_written_back_in_it(
    tmp_path: Path, space: str, origin: tuple[float, ...]
) -> None:
    back = io.read(save(tmp_path / "a.nrrd", space=space))
    assert back.geometry.origin == pytest.approx(origin)
    io.write(back, tmp_path / "b.nrrd")
    assert f"space: {space}\n".encode() in (tmp_path / "b.nrrd").read_bytes()
    assert b"space origin: (1.0,2.0,3.0)\n" in (tmp_path / "b.nrrd").read_bytes()
    np.testing.assert_allclose(io.read(tmp_path / "b.nrrd").geometry.affine, back.geometry.affine)


def test_an_unknown_space_is_taken_as_lps_and_told(tmp_path: Path) -> None:
    back = io.read(save(tmp_path / "a.nrrd", space="3D-right-handed"))
    assert back.geometry.origin == (1, 2, 3)
    assert [note.code for note in back.notes] == ["unknown-space"]


def test_spacing_alone_is_kept_and_told(tmp_path: Path) -> None:
    bare = {"space": None, "space_directions": None, "space_origin": None}
    back = io.read(save(tmp_path / "a.nrrd", **bare, spacings="0.6 0.7 2.5"))
    assert back.spacing == (2.5, 0.7, 0.6)
    assert [note.code for note in back.notes] == ["no-orientation"]


def test_a_file_without_any_geometry_stays_without(tmp_path: Path) -> None:
    bare = {"space": None, "space_directions": None, "space_origin": None}
    back = io.read(save(tmp_path / "a.nrrd", **bare))
    assert not back.geometry.known
    io.write(back, tmp_path / "b.nrrd")
    assert not io.read(tmp_path / "b.nrrd").geometry.known


def test_another_unit_of_length_becomes_millimetres(tmp_path: Path) -> None:
    back = io.read(save(tmp_path / "a.nrrd", space_units='"cm" "cm" "cm"'))
    assert back.spacing == pytest.approx((25, 7, 6))
    assert back.geometry.origin == pytest.approx((10, 20, 30))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "gz", "bzip2", "bz2"])
@pytest.mark.parametrize("detached", [False, True])
def test_every_binary_encoding_is_read_attached_and_detached(
    tmp_path: Path, encoding: str, detached: bool
) -> None:
    pack = {"g": gzip.compress, "b": bz2.compress}.get(encoding[0], bytes)
    if detached:
        (tmp_path / "a.data").write_bytes(pack(VOXELS))
        path = save(tmp_path / "a.nhdr", b"", encoding=encoding, data_file="a.data")
    else:
        path = save(tmp_path / "a.nrrd", pack(VOXELS), encoding=encoding)
    np.testing.assert_array_equal(io.read(path).array, counted())


@pytest.mark.parametrize(
    "kind", ["uchar", "int8", "unsigned short", "int", "uint32", "long long", "float", "double"]
)
@pytest.mark.parametrize("endian", ["little", "big"])
def test_every_type_and_byte_order_is_read(tmp_path: Path, kind: str, endian: str) -> None:
    names = {"uchar": "u1", "int8": "i1", "unsigned short": "u2", "int": "i4", "uint32": "u4"}
    code = names.get(kind) or {"long long": "i8", "float": "f4", "double": "f8"}[kind]
    values = np.arange(120).reshape(4, 5, 6)
    data = values.astype(np.dtype(code).newbyteorder(endian)).tobytes()
    np.testing.assert_array_equal(
        io.read(save(tmp_path / "a.nrrd", data, type=kind, endian=endian)).array, values
    )


def test_bytes_before_the_voxels_are_skipped(tmp_path: Path) -> None:
    for skip, data in (("3", b"abc" + VOXELS), ("-1", b"any number" + VOXELS)):
        np.testing.assert_array_equal(
            io.read(save(tmp_path / "a.nrrd", data, byte_skip=skip)).array, counted()
        )
    packed = gzip.compress(b"abc" + VOXELS)
    path = save(tmp_path / "a.nrrd", packed, encoding="gzip", byte_skip="3")
    np.testing.assert_array_equal(io.read(path).array, counted())


def test_keys_and_content_are_carried_over_and_the_maker_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nrrd", keys="content: a head\nmy key:=my value\n")
    io.write(enlarged(io.read(path)), tmp_path / "b.nrrd")
    text = (tmp_path / "b.nrrd").read_bytes().partition(b"\n\n")[0].decode()
    assert "\ncontent: a head" in text
    assert "\nmy key:=my value" in text
    assert "\nmesr:=mesr " in text
    assert "research only" in text


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "sub/a.raw", "LIST", "a%03d.raw 1 4 1", "..", "missing"]
)
def test_a_data_file_elsewhere_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(VOXELS)
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a.raw").write_bytes(VOXELS)
    assert refusal(save(tmp_path / "in/a.nhdr", b"", data_file=name)) == "data-file"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sizes": "6 5"}, "not-nrrd"),
        ({"sizes": None}, "not-nrrd"),
        ({"type": None}, "not-nrrd"),
        ({"endian": "middle"}, "not-nrrd"),
        ({"encoding": "ascii"}, "nrrd-encoding"),
        ({"line_skip": "2"}, "nrrd-encoding"),
        ({"byte_skip": "-7"}, "nrrd-encoding"),
        ({"type": "block"}, "voxel-type"),
        ({"sizes": "3 6 5 4", "dimension": "4"}, "four-dimensional"),
        ({"kinds": "RGB-color domain domain"}, "four-dimensional"),
        ({"sizes": "32000 32000 32000"}, "too-large"),
        ({"sizes": "6 5 -4"}, "empty"),
        ({"sizes": "6 5 40"}, "truncated"),
        ({"sizes": "6 5 3"}, "surplus"),
        ({"space_directions": "(0,0,0) (0,0.7,0) (0,0,2.5)"}, "spacing"),
        ({"space_directions": "(nan,0,0) (0,0.7,0) (0,0,2.5)"}, "spacing"),
        ({"space_directions": "none (0,0.7,0) (0,0,2.5)"}, "spacing"),
        ({"space_directions": "(1,0) (0,1) (1,1)"}, "orientation"),
        ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, "orientation"),
        ({"space_origin": "(inf,0,0)"}, "origin"),
        ({"space_units": '"furlong" "furlong" "furlong"'}, "unit"),
        ({"sizes": "9" * 400 + " 5 4"}, "empty"),
    ],
)
def test_an_unusable_header_is_refused(tmp_path: Path, fields: dict[str, str | None], code: str) -> None:
    assert refusal(save(tmp_path / "a.nrrd", **fields)) == code


def test_an_endless_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0005\n" + b"x" * (3 << 20))
    assert refusal(tmp_path / "a.nrrd") == "not-nrrd"


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_promises(tmp_path: Path) -> None:
    packed = gzip.compress(VOXELS + bytes(64 << 20))
    assert refusal(save(tmp_path / "a.nrrd", packed, encoding="gzip")) == "surplus"


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nrrd", "b.nrrd"):
        io.write(volume(oblique()), tmp_path / name)
    assert (tmp_path / "a.nrrd").read_bytes() == (tmp_path / "b.nrrd").read_bytes()
