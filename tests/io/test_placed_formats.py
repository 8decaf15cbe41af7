"""What NIfTI, NRRD and MetaImage share: they place the image, and other programs must find it there."""

from __future__ import annotations

import contextlib
import gzip
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import require_module
from volumes import counted, enlarged, oblique, sheared, upright, volume

from mesr import io
from mesr.errors import InputError, MesrError, OutputError
from mesr.geometry import Geometry

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]
PLACES = [upright, oblique, sheared]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_and_places_come_back(tmp_path: Path, suffix: str, place) -> None:
    made = volume(place())
    io.write(made, tmp_path / f"scan{suffix}")
    back = io.read(tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(back.array, made.array)
    np.testing.assert_allclose(back.geometry.affine, made.geometry.affine, atol=1e-6)
    assert back.modality is None
    assert back.unit == ""


# ITK refuses a sheared NIfTI; nibabel is asked below.
@pytest.mark.parametrize(
    ("suffix", "place"), [(s, p) for s in SUFFIXES for p in PLACES if p is not sheared or "nii" not in s]
)
def test_simpleitk_reads_the_same_result(tmp_path: Path, suffix: str, place) -> None:
    sitk = require_module("SimpleITK")
    result = enlarged(volume(place()))
    io.write(result, tmp_path / f"scan{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"scan{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), result.array)
    np.testing.assert_allclose(image.GetOrigin(), result.geometry.origin, atol=1e-5)
    np.testing.assert_allclose(image.GetSpacing(), result.geometry.spacing[::-1], atol=1e-6)
    directions = np.array(image.GetDirection()).reshape(3, 3).T[::-1]
    np.testing.assert_allclose(directions, result.geometry.directions, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".nhdr"])
@pytest.mark.parametrize("compress", [False, True])
def test_what_simpleitk_wrote_is_read_the_same(tmp_path: Path, suffix: str, compress: bool) -> None:
    sitk = require_module("SimpleITK")
    image = sitk.GetImageFromArray(counted().astype(np.int16))
    place = oblique()
    image.SetOrigin(place.origin)
    image.SetSpacing(place.spacing[::-1])
    image.SetDirection(place.directions[::-1].T.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"), compress)
    back = io.read(tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(back.array, counted())
    np.testing.assert_allclose(back.geometry.affine, place.affine, atol=1e-5)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scale", ["1.7", "2.5", "3"])
def test_the_field_of_view_keeps_its_eight_corners(tmp_path: Path, scale: str, place) -> None:
    source = volume(place())
    io.write(source, tmp_path / "in.nii")
    before = nib.load(tmp_path / "in.nii").affine
    io.write(enlarged(io.read(tmp_path / "in.nii"), scale), tmp_path / "out.nii")
    written = nib.load(tmp_path / "out.nii")
    sizes_in, sizes_out = np.array(source.geometry.size[::-1]), np.array(written.shape)
    step = sizes_in / sizes_out
    mapping = np.eye(4)
    mapping[:3, :3] = np.diag(step)
    mapping[:3, 3] = (step - 1) / 2
    np.testing.assert_allclose(written.affine, before @ mapping, atol=1e-5)
    for corner in np.ndindex(2, 2, 2):
        a = before @ [*(np.array(corner) * sizes_in - 0.5), 1]
        b = written.affine @ [*(np.array(corner) * sizes_out - 0.5), 1]
        assert math.dist(a, b) < 1e-4


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npy"])
def test_an_identity_gives_the_bytes_of_the_first_writing(tmp_path: Path, suffix: str) -> None:
    io.write(volume(), tmp_path / f"a{suffix}")
    io.write(io.read(tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_integers_stay_integers_and_clipped_voxels_are_counted(tmp_path: Path, suffix: str) -> None:
    sitk = require_module("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(counted().astype(np.int16)), str(tmp_path / f"in{suffix}"))
    source = io.read(tmp_path / f"in{suffix}")
    values = counted() + 0.4
    values[0, 0, :2] = 40000, -40000
    result = volume(source.geometry, values, source=source.source)
    written = io.write(result, tmp_path / f"out{suffix}")
    assert written.clipped == 2
    image = sitk.ReadImage(str(tmp_path / f"out{suffix}"))
    assert image.GetPixelID() == sitk.sitkInt16
    assert io.read(tmp_path / f"out{suffix}").array[0, 0, :3].tolist() == [32767, -32768, -486]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npy"])
def test_values_that_are_no_numbers_are_never_written(tmp_path: Path, suffix: str) -> None:
    values = counted()
    values[2, 1, 1] = np.nan
    with pytest.raises(OutputError) as caught:
        io.write(volume(array=values), tmp_path / f"scan{suffix}")
    assert caught.value.code == "not-finite"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha", ".npy"])
def test_nan_and_infinity_become_padding_and_are_told(tmp_path: Path, suffix: str) -> None:
    values = counted()
    values[1, 2, 3], values[3, 0, 0] = np.nan, np.inf
    _write_raw(tmp_path / f"scan{suffix}", values)
    back = io.read(tmp_path / f"scan{suffix}")
    assert [note.code for note in back.notes if note.code == "not-finite"]
    assert back.array[1, 2, 3] == back.array[3, 0, 0] == -500
    assert np.argwhere(back.slices[1].padding).tolist() == [[2, 3]]
    assert back.slices[0].padding is None


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha", ".npy"])
def test_an_image_of_nothing_but_nan_is_refused(tmp_path: Path, suffix: str) -> None:
    _write_raw(tmp_path / f"scan{suffix}", np.full((4, 5, 6), np.nan, dtype=np.float32))
    assert _refusal(tmp_path / f"scan{suffix}") == "not-finite"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npy"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    io.write(volume(), tmp_path / f"whole{suffix}")
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    for length in {0, 1, 3, 10, 60, len(whole) // 2, len(whole) - 1}:
        (tmp_path / f"cut{suffix}").write_bytes(whole[:length])
        with pytest.raises(InputError):
            io.read(tmp_path / f"cut{suffix}")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".png"])
def test_any_flipped_byte_of_a_header_is_met_with_a_plain_refusal_or_an_image(
    tmp_path: Path, suffix: str
) -> None:
    place = Geometry((1, 5, 6), (2.5, 0.7, 0.6))
    io.write(volume(place), tmp_path / f"whole{suffix}")
    whole = bytearray((tmp_path / f"whole{suffix}").read_bytes())
    random = np.random.default_rng(0)
    for _ in range(200):
        broken = whole.copy()
        for at in random.integers(0, min(len(whole), 360), 3):
            broken[at] = random.integers(0, 256)
        (tmp_path / f"broken{suffix}").write_bytes(broken)
        # Any exception but a MesrError ends the test.
        with contextlib.suppress(MesrError):
            assert np.isfinite(io.read(tmp_path / f"broken{suffix}").array).all()


def test_a_real_mr_is_read_as_simpleitk_reads_it(shared_data: Path) -> None:
    sitk = require_module("SimpleITK")
    path = shared_data / "test/pyradiomics/brain1.nrrd"
    image, back = sitk.ReadImage(str(path)), io.read(path)
    np.testing.assert_array_equal(back.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(back.geometry.origin, image.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(back.spacing[::-1], image.GetSpacing(), atol=1e-9)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tilted_ct_keeps_its_place_in_every_format(tmp_path: Path, shared_data: Path, suffix: str) -> None:
    scan = io.read(shared_data / "geometry/tilt-18.5")
    few = volume(scan.geometry, np.zeros(scan.geometry.size, dtype=np.int16), source=scan.source, unit="HU")
    io.write(few, tmp_path / f"scan{suffix}", format=suffix[1:])
    back = io.read(tmp_path / f"scan{suffix}")
    for corner in np.ndindex(2, 2, 2):
        at = np.array(corner) * (np.array(scan.geometry.size) - 1)
        assert math.dist(back.geometry.position(*at), scan.geometry.position(*at)) < 1e-3
    assert back.geometry.tilt_degrees == pytest.approx(18.5, abs=0.1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_damaged_checksum_is_noticed(tmp_path: Path, suffix: str) -> None:
    io.write(volume(), tmp_path / f"scan{suffix}")
    data = bytearray((tmp_path / f"scan{suffix}").read_bytes())
    data[-6] ^= 1
    (tmp_path / f"scan{suffix}").write_bytes(data)
    assert _refusal(tmp_path / f"scan{suffix}") == "truncated"


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        io.read(path)
    return caught.value.code


def _write_raw(path: Path, values: np.ndarray) -> None:
    """Write without asking what the values are: the finite file first, then its voxels exchanged."""
    marker = np.where(np.isfinite(values), values, 12345.0).astype(np.float32)
    io.write(volume(array=marker), path)
    data = path.read_bytes()
    if path.suffix == ".nrrd":
        head = data.partition(b"\n\n")[0]
        path.write_bytes(head + b"\n\n" + gzip.compress(values.tobytes()))
    else:
        path.write_bytes(data[: -values.nbytes] + values.tobytes())
