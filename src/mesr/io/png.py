"""Greyscale PNG of 8 or 16 bits, one slice a file.

PNG holds whole numbers from 0 to 65535. What else there is to know — the value a stored 0 stands for, the value
of one step, the unit — is written as text chunks `mesr:…` and understood again, so that HU come back as HU.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UnreadableInput, UnsupportedInput
from ..geometry import Geometry
from ..volume import FloatImage, Note, Slice, Unit, Volume
from .raw import check_size, opened
from .stored import Encoding, OnSlice, Source, encoded, provenance

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HU = Encoding(np.dtype("<u2"), 1.0, -32768.0)
"""HU in a PNG: stored = HU + 32768."""


@dataclass(frozen=True)
class PngSource(Source):
    """A PNG; its integer scale is what is carried over."""


class PngSlice:
    """The one slice of a PNG, decoded when it is asked for."""

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        self._path = path
        self._size = size
        self._encoding = encoding

    def __len__(self) -> int:
        return 1

    def __getitem__(self, k: int, /) -> Slice:
        if k != 0:
            raise IndexError(k)
        with _open(self._path) as image:
            try:
                stored = np.asarray(image)
            except (OSError, SyntaxError, ValueError):
                raise _damaged(self._path) from None
        if stored.shape != self._size:
            raise _damaged(self._path)
        return Slice(self._encoding.decode(stored))


def read(path: Path) -> Volume:
    """The picture in `path` as a volume of one slice and unknown geometry.

    The values are the stored numbers, or what this module's text chunks say they stand for.

    Raises:
        UnreadableInput: codes `not-png`, `empty`.
        UnsupportedInput: code `voxel-type`, colour, a palette, transparency or fewer than 8 bits.
        TooLarge: code `too-large`.
    """
    with opened(path) as stream:
        head = stream.read(33)
    if not head.startswith(SIGNATURE) or head[12:16] != b"IHDR" or len(head) < 33:
        raise UnreadableInput("not-png", "The file does not begin with a PNG header.", path=path)
    columns, rows, depth, colour = struct.unpack(">IIBB", head[16:26])
    check_size((1, rows, columns), path)
    if colour != 0 or depth not in (8, 16):
        raise UnsupportedInput(
            "voxel-type",
            "A greyscale PNG of 8 or 16 bits was expected, found colour, transparency or another depth.",
            path=path,
        )
    with _open(path) as image:
        # Text behind the pixels would need them decoded; our own stands before them.
        told = {name: text for name, text in image.info.items() if isinstance(text, str)}
    encoding, unit = _told(told, np.dtype("<u2" if depth == 16 else "u1"), path)
    geometry = Geometry.unknown((1, rows, columns))
    source = PngSource("png", path, encoding, geometry)
    return Volume(geometry, PngSlice(path, (rows, columns), encoding), unit=unit, source=source)


def write(volume: Volume, paths: list[Path], on_slice: OnSlice = None) -> tuple[int, tuple[Note, ...]]:
    """Write slice k to `paths[k]`; the clipped voxels and what is worth telling.

    A PNG source keeps its own bits and scale; HU are stored + 32768; a source of 8- or 16-bit numbers
    keeps its steps; anything else is mapped linearly from the whole volume's range to 0…65535, for which
    the slices are held in a temporary file until the range is known.
    """
    notes: list[Note] = []
    if volume.geometry.known:
        notes.append(Note("geometry-lost", "A PNG file holds no spacing or position; they were left out."))
    encoding = _encoding(volume)
    if encoding is not None:
        total = 0
        for path, (stored, clipped) in zip(paths, encoded(volume, encoding, on_slice), strict=True):
            total += clipped
            _save(stored, encoding, volume, path)
        return total, tuple(notes)
    with tempfile.TemporaryFile() as held:
        low, high = np.inf, -np.inf
        for values, _ in encoded(volume, Encoding(np.dtype("<f4")), on_slice):
            held.write(np.ascontiguousarray(values).data)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        encoding = Encoding(np.dtype("<u2"), (high - low) / 65535 or 1.0, low)
        held.seek(0)
        for path, values in zip(paths, _again(held, volume), strict=True):
            stored, _ = encoding.encode(values)
            _save(stored, encoding, volume, path)
    notes.append(Note("mapped-range", f"The values {low:g} … {high:g} were mapped to 0 … 65535."))
    return 0, tuple(notes)


def _again(held: Any, volume: Volume) -> Iterator[FloatImage]:
    rows, columns = volume.geometry.size[1:]
    for _ in range(len(volume.slices)):
        yield np.frombuffer(held.read(4 * rows * columns), dtype=np.float32).reshape(rows, columns)


def _encoding(volume: Volume) -> Encoding | None:
    """The encoding that is known before the first slice is; None where the range decides."""
    if isinstance(volume.source, PngSource):
        return volume.source.encoding
    if volume.unit == "HU":
        return HU
    held = volume.source.encoding if isinstance(volume.source, Source) else None
    if held is None or held.dtype.kind not in "iu" or held.dtype.itemsize > 2:
        return None
    below = 32768 if held.dtype.kind == "i" else 0
    return Encoding(np.dtype("<u2"), held.slope, held.intercept - below * held.slope)


def _save(stored: npt.NDArray[Any], encoding: Encoding, volume: Volume, path: Path) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    if not encoding.is_plain or volume.unit:
        chunks.add_text("mesr:slope", repr(encoding.slope))
        chunks.add_text("mesr:intercept", repr(encoding.intercept))
        chunks.add_text("mesr:unit", volume.unit)
    if line := provenance(volume):
        chunks.add_text("Software", line)
    Image.fromarray(stored).save(path, format="PNG", pnginfo=chunks)


def _told(chunks: dict[str, str], dtype: np.dtype[Any], path: Path) -> tuple[Encoding, Unit]:
    try:
        slope = float(chunks.get("mesr:slope", "1"))
        intercept = float(chunks.get("mesr:intercept", "0"))
    except ValueError:
        raise _damaged(path) from None
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        raise _damaged(path)
    return Encoding(dtype, slope, intercept), "HU" if chunks.get("mesr:unit") == "HU" else ""


def _open(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path, formats=["PNG"])
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        raise _damaged(path) from None


def _damaged(path: Path) -> UnreadableInput:
    return UnreadableInput("not-png", "The PNG file is damaged or cut short.", path=path)
