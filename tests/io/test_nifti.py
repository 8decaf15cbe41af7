"""NIfTI's own rules: which form counts, units, codes, extensions, what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from volumes import counted, enlarged, oblique, sheared, volume

from mesr import io
from mesr.errors import InputError, TooLarge

DATA = counted().transpose(2, 1, 0).astype(np.int16)
AFFINE = np.diag([-0.6, -0.7, 2.5, 1.0])


def save(
    path: Path, data: np.ndarray = DATA, affine: np.ndarray | None = AFFINE, kind=nib.Nifti1Image, **fields
):
    """Write `data` by nibabel, then set header fields byte by byte, as no library would."""
    image = kind(data, affine)
    image.to_filename(path)
    if fields:
        content = bytearray(path.read_bytes())
        header = type(image.header)(bytes(content[: image.header.sizeof_hdr]), check=False)
        for name, value in fields.items():
            header[name] = value
        content[: header.sizeof_hdr] = header.binaryblock
        path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        io.read(path)
    return caught.value.code


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_dimensions_become_columns_rows_and_slices(tmp_path: Path, suffix: str, kind) -> None:
    back = io.read(save(tmp_path / f"a{suffix}", kind=kind))
    np.testing.assert_array_equal(back.array, counted())
    assert back.spacing == pytest.approx((2.5, 0.7, 0.6))
    assert back.geometry.column_direction == pytest.approx((1, 0, 0))
    assert back.geometry.row_direction == pytest.approx((0, 1, 0))


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_every_real_type_and_byte_order_is_read_as_nibabel_reads_it(
    tmp_path: Path, kind: str, order: str
) -> None:
    data = np.abs(DATA % 100).astype(kind)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(kind)
    nib.Nifti1Image(data, AFFINE, header).to_filename(tmp_path / "a.nii")
    np.testing.assert_array_equal(io.read(tmp_path / "a.nii").array, data.transpose(2, 1, 0))


def test_slope_and_intercept_are_applied_and_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", scl_slope=0.5, scl_inter=-1024)
    back = io.read(path)
    np.testing.assert_array_equal(back.array, counted() * 0.5 - 1024)
    io.write(back, tmp_path / "b.nii")
    np.testing.assert_array_equal(io.read(tmp_path / "b.nii").array, back.array)
    written = nib.load(tmp_path / "b.nii")
    assert written.get_data_dtype() == np.int16
    assert written.dataobj.slope == 0.5


def test_a_slope_of_zero_means_none(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        io.read(save(tmp_path / "a.nii", scl_slope=0, scl_inter=9)).array, counted()
    )


def test_the_sform_counts_where_both_are_given_and_a_note_says_that_they_differ(tmp_path: Path) -> None:
    image = nib.Nifti1Image(DATA, AFFINE)
    moved = AFFINE.copy()
    moved[:3, 3] = (5, 6, 7)
    image.set_sform(AFFINE, 2)
    image.set_qform(moved, 1)
    image.to_filename(tmp_path / "a.nii")
    back = io.read(tmp_path / "a.nii")
    assert back.geometry.origin == pytest.approx((0, 0, 0))
    assert [note.code for note in back.notes] == ["two-orientations"]
    io.write(enlarged(back, "2"), tmp_path / "b.nii")
    header = nib.load(tmp_path / "b.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 1)
    mapping = np.diag([0.5, 0.5, 1, 1.0])
    mapping[:2, 3] = -0.25
    np.testing.assert_allclose(header.get_qform(), moved @ mapping, atol=1e-5)
    np.testing.assert_allclose(header.get_sform(), AFFINE @ mapping, atol=1e-5)


def test_the_qform_places_an_image_without_sform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(DATA, None)
    image.set_qform(AFFINE, 3)
    image.set_sform(None, 0)
    image.to_filename(tmp_path / "a.nii")
    io.write(io.read(tmp_path / "a.nii"), tmp_path / "b.nii")
    header = nib.load(tmp_path / "b.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 3)
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-6)


def test_a_form_of_a_code_nobody_knows_places_the_image_and_keeps_it(tmp_path: Path) -> None:
    back = io.read(save(tmp_path / "a.nii", sform_code=257, qform_code=-3))
    io.write(enlarged(back, "2"), tmp_path / "b.nii")
    header = nib.Nifti1Header((tmp_path / "b.nii").read_bytes()[:348], check=False)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (257, -3)
    np.testing.assert_allclose(io.read(tmp_path / "b.nii").geometry.spacing, (2.5, 0.35, 0.3), rtol=1e-6)


def test_an_image_with_neither_form_keeps_its_spacing_and_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", sform_code=0, qform_code=0)
    back = io.read(path)
    assert back.spacing == pytest.approx((2.5, 0.7, 0.6))
    assert [note.code for note in back.notes] == ["no-orientation"]
    io.write(enlarged(back, "2"), tmp_path / "b.nii")
    header = nib.load(tmp_path / "b.nii").header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 0
    assert header.get_zooms() == pytest.approx((0.3, 0.35, 2.5))


def test_a_sheared_image_is_written_with_sform_only(tmp_path: Path) -> None:
    written = io.write(volume(sheared()), tmp_path / "a.nii")
    header = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert [note.code for note in written.notes] == ["sheared-qform"]


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (3, 0.001)])
def test_metres_and_micrometres_are_understood_and_kept(tmp_path: Path, code: int, factor: float) -> None:
    affine = np.diag([-0.6 / factor, -0.7 / factor, 2.5 / factor, 1.0])
    affine[:3, 3] = np.array([1, 2, 3]) / factor
    back = io.read(save(tmp_path / "a.nii", affine=affine, xyzt_units=code | 8))
    assert back.spacing == pytest.approx((2.5, 0.7, 0.6))
    assert back.geometry.origin == pytest.approx((-1, -2, 3))
    io.write(back, tmp_path / "b.nii")
    written = nib.load(tmp_path / "b.nii")
    np.testing.assert_allclose(written.affine, affine, rtol=1e-6)
    assert int(written.header["xyzt_units"]) == code | 8


def test_intent_extensions_and_trailing_dimensions_are_carried_over(tmp_path: Path) -> None:
    image = nib.Nifti1Image(DATA[..., None], AFFINE)
    image.header.set_intent("estimate", (), "thickness")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
    image.to_filename(tmp_path / "a.nii.gz")
    io.write(enlarged(io.read(tmp_path / "a.nii.gz")), tmp_path / "b.nii.gz")
    back = nib.load(tmp_path / "b.nii.gz")
    assert back.header.get_intent()[0::2] == ("estimate", "thickness")
    assert back.header.extensions[0].get_content() == b"kept"
    assert back.shape == (15, 13, 4, 1)
    description = bytes(back.header["descrip"]).rstrip(b"\0")
    assert description.startswith(b"mesr ")
    assert b"research only" in description


def test_a_single_slice_of_two_dimensions_stays_one(tmp_path: Path) -> None:
    back = io.read(save(tmp_path / "a.nii", data=DATA[..., 0]))
    assert back.geometry.size == (1, 5, 6)
    io.write(back, tmp_path / "b.nii")
    assert nib.load(tmp_path / "b.nii").shape == (6, 5)


def test_a_side_beyond_16_bits_becomes_nifti_2(tmp_path: Path) -> None:
    place = oblique()
    long = type(place)((40_000, 1, 2), place.spacing)
    io.write(volume(long, np.zeros(long.size, dtype=np.float32)), tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").header.sizeof_hdr == 540
    assert io.read(tmp_path / "a.nii").geometry.size == long.size


def test_a_gzipped_file_without_the_suffix_is_understood(tmp_path: Path) -> None:
    save(tmp_path / "a.nii")
    (tmp_path / "b.nii").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    np.testing.assert_array_equal(io.read(tmp_path / "b.nii").array, counted())


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pixdim": [1, 0, 0.7, 2.5, 1, 1, 1, 1], "sform_code": 0}, "spacing"),
        ({"pixdim": [1, 0, 0.7, 2.5, 1, 1, 1, 1], "sform_code": 0, "qform_code": 0}, "spacing"),
        ({"pixdim": [1, np.nan, 0.7, 2.5, 1, 1, 1, 1], "sform_code": 0}, "spacing"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "spacing"),
        ({"srow_x": [0, 0, 0, np.inf]}, "spacing"),
        ({"srow_x": [1e9, 0, 0, 0]}, "spacing"),
        ({"srow_x": [0, 0.7, 0, 0], "srow_y": [0, 0.7, 0, 0]}, "spacing"),
        ({"quatern_b": 5.0, "sform_code": 0, "qform_code": 1}, "spacing"),
        ({"xyzt_units": 5}, "unit"),
        ({"dim": [3, 6, 5, -4, 1, 1, 1, 1]}, "empty"),
        ({"dim": [3, 6, 5, 0, 1, 1, 1, 1]}, "empty"),
        ({"dim": [3, 32000, 32000, 32000, 1, 1, 1, 1]}, "too-large"),
        ({"dim": [3, 600, 500, 400, 1, 1, 1, 1]}, "truncated"),
        ({"dim": [3, 6, 5, 2, 1, 1, 1, 1]}, "surplus"),
        ({"dim": [4, 6, 5, 2, 2, 1, 1, 1]}, "four-dimensional"),
        ({"dim": [5, 6, 5, 2, 1, 2, 1, 1]}, "four-dimensional"),
        ({"dim": [1, 6, 5, 2, 1, 1, 1, 1]}, "four-dimensional"),
        ({"dim": [-3, 6, 5, 2, 1, 1, 1, 1]}, "four-dimensional"),
        ({"datatype": 32, "bitpix": 64}, "voxel-type"),
        ({"datatype": 128, "bitpix": 24}, "voxel-type"),
        ({"datatype": 2304, "bitpix": 32}, "voxel-type"),
        ({"datatype": 1, "bitpix": 1}, "voxel-type"),
        ({"datatype": 9999}, "voxel-type"),
        ({"scl_slope": 1.0, "scl_inter": np.nan}, "voxel-type"),
        ({"intent_code": 1002}, "label-map"),
        ({"magic": b"ni1"}, "pair"),
        ({"magic": b"xyz"}, "not-nifti"),
        ({"vox_offset": np.nan}, "not-nifti"),
        ({"vox_offset": 1e30}, "not-nifti"),
        ({"vox_offset": -352}, "not-nifti"),
        ({"vox_offset": 3}, "not-nifti"),
    ],
)
def test_an_unusable_header_is_refused(tmp_path: Path, fields: dict[str, object], code: str) -> None:
    assert refusal(save(tmp_path / "a.nii", **fields)) == code


def test_zero_pixdim_does_not_matter_where_the_sform_places_the_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", pixdim=[1, 0, 0, 0, 0, 0, 0, 0], qform_code=0)
    assert io.read(path).spacing == pytest.approx((2.5, 0.7, 0.6))


def test_a_small_gzip_that_promises_a_huge_image_is_refused_by_its_header(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((32000, 32000, 32000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(100)))
    with pytest.raises(TooLarge):
        io.read(tmp_path / "a.nii.gz")


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_promises(tmp_path: Path) -> None:
    save(tmp_path / "a.nii")
    with gzip.open(tmp_path / "a.nii.gz", "wb") as packed:
        packed.write((tmp_path / "a.nii").read_bytes())
        for _ in range(256):
            packed.write(bytes(1 << 20))
    assert (tmp_path / "a.nii.gz").stat().st_size < 1 << 19
    assert refusal(tmp_path / "a.nii.gz") == "surplus"


def test_a_gzip_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((8000, 8000, 250))
    header.set_data_dtype(np.float64)
    header["magic"], header["vox_offset"], header["pixdim"][1:4] = b"n+1", 352, 1
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(100)))
    with pytest.raises(TooLarge):
        io.read(tmp_path / "a.nii.gz")
