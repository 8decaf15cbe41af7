"""Files gone wrong: real small ones and ours, with bytes changed, cut, doubled or swapped; a function of a number."""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless
from scans import dicom_series, enhanced_file

REAL = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
)
"""Of pydicom's own test files, those of a few dozen kilobytes."""
EXTREME = (0, 1, 0x7F, 0x80, 0xFF)


@cache
def originals() -> list[tuple[str, bytes]]:
    """Name and bytes of every file that is changed."""
    found = [(name, Path(str(get_testdata_file(name, download=False))).read_bytes()) for name in REAL]
    image = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 2)).astype(np.int16)
    nifti = nib.Nifti1Image(image, np.diag([0.7, 0.7, 2, 1])).to_bytes()
    found.append(("image.nii", nifti))
    array = io.BytesIO()
    np.save(array, image)
    found.append(("array.npy", array.getvalue()))
    picture = io.BytesIO()
    Image.fromarray(image[..., 0].view(np.uint16)).save(picture, "PNG")
    found.append(("picture.png", picture.getvalue()))
    # In memory, for pynrrd writes to names only.
    head = "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 7 6 2\n"
    head += "space directions: (0.7,0,0) (0,0.7,0) (0,0,2)\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n\n"
    found.append(("image.nrrd", head.encode() + image.T.astype("<i2").tobytes()))
    found += _made()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/slice.dcm", found[0][1])
    found.append(("study.zip", packed.getvalue()))
    return found


def _made() -> list[tuple[str, bytes]]:
    """What pydicom has no small file of: an Enhanced object, and the JPEG family."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        enhanced = enhanced_file(folder / "enhanced.dcm", size=(3, 12, 14)).paths[0]
        found = [("enhanced.dcm", enhanced.read_bytes())]
        for kind, syntax in (("ls", JPEGLSLossless), ("lossless", JPEGLosslessSV1)):
            scan = dicom_series(folder / kind, size=(1, 24, 28), syntax=syntax)
            found.append((f"jpeg-{kind}.dcm", scan.paths[0].read_bytes()))
    return found


def mutant(number: int, folder: Path) -> Path:
    """The file of this number, written into a folder; the same number always gives the same bytes."""
    name, data = originals()[number % len(originals())]
    path = folder / name
    path.write_bytes(changed(data, number))
    return path


def changed(data: bytes, number: int) -> bytes:
    """The bytes with one to three changes; the same number always makes the same."""
    chance = np.random.default_rng(number)
    found = bytearray(data)
    for _ in range(int(chance.integers(1, 4))):
        _CHANGES[int(chance.integers(len(_CHANGES)))](found, chance)
    return bytes(found)


def values_by_pydicom(path: Path) -> np.ndarray | None:
    """What pydicom and numpy give for a single MONOCHROME2 image; None where they do not read the file at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True)
            stored = dataset.pixel_array.astype(np.float64)
            slope, intercept = (
                float(dataset.get(key, default))
                for key, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
            )
            usual = dataset.get("PhotometricInterpretation") == "MONOCHROME2" and stored.ndim == 2
        except Exception:  # Whatever pydicom makes of a broken file is no measure of ours.
            return None
    return stored * slope + intercept if usual else None


def _place(data: bytearray, chance: np.random.Generator) -> int:
    """Somewhere, half of the time in the first part, where headers are."""
    most = max(1, len(data))
    return int(chance.integers(min(most, 2048) if chance.random() < 0.5 else most))


def _flip(data: bytearray, chance: np.random.Generator) -> None:
    if data:
        data[_place(data, chance) % len(data)] ^= 1 << int(chance.integers(8))


def _extreme(data: bytearray, chance: np.random.Generator) -> None:
    at, length = _place(data, chance), int(chance.choice([1, 2, 4, 8]))
    data[at : at + length] = bytes([int(chance.choice(EXTREME))]) * length


def _cut(data: bytearray, chance: np.random.Generator) -> None:
    del data[_place(data, chance) :]


def _remove(data: bytearray, chance: np.random.Generator) -> None:
    at = _place(data, chance)
    del data[at : at + int(chance.integers(1, 64))]


def _repeat(data: bytearray, chance: np.random.Generator) -> None:
    at = _place(data, chance)
    data[at:at] = data[at : at + int(chance.integers(1, 64))] * int(chance.integers(1, 8))


def _swap(data: bytearray, chance: np.random.Generator) -> None:
    a, b, length = _place(data, chance), _place(data, chance), int(chance.integers(1, 16))
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


_CHANGES: list[Callable[[bytearray, np.random.Generator], None]] = [
    _flip,
    _extreme,
    _cut,
    _remove,
    _repeat,
    _swap,
]
