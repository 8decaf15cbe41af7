"""NumPy's `.npy`: a bare array of two or three dimensions, memory-mapped; it says nothing of millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from ..errors import UnreadableInput, UnsupportedInput
from ..geometry import Geometry
from ..volume import ArraySlices, Note, Slice, Volume
from .raw import check_size, opened
from .stored import Encoding, OnSlice, Source, append

DAMAGE = (
    ArithmeticError,
    EOFError,
    MemoryError,
    OSError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
"""What NumPy's parser of the header, a Python literal, raises on a damaged one."""


@dataclass(frozen=True)
class NpySource(Source):
    """An array file; `dimensions` is 2 for a single slice saved as such."""

    dimensions: int = 3


class NpySlices(ArraySlices):
    """Slices of a mapped array, converted one by one without a warning where float32 cannot hold a value."""

    def __getitem__(self, k: int, /) -> Slice:
        with np.errstate(over="ignore"):
            return super().__getitem__(k)


def read(path: Path) -> Volume:
    """The array in `path`, (D, H, W) or (H, W), as a volume of unknown geometry; nothing is unpickled.

    Raises:
        UnreadableInput: codes `not-npy`, `empty`, `unreadable`.
        UnsupportedInput: codes `four-dimensional`, `voxel-type`.
        TooLarge: code `too-large`.
    """
    with opened(path) as stream:
        if stream.read(6) != np.lib.format.MAGIC_PREFIX:
            raise _damaged(path)
    try:
        # Nothing is allocated: a shape beyond the file's length cannot be mapped.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE:
        raise _damaged(path) from None
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise UnsupportedInput("voxel-type", "Voxels must be real numbers.", path=path)
    if array.ndim not in (2, 3):
        raise UnsupportedInput(
            "four-dimensional",
            f"An array (slices, rows, columns) or (rows, columns) was expected, found {array.ndim} dimensions.",
            path=path,
        )
    size = (array.shape[0] if array.ndim == 3 else 1, array.shape[-2], array.shape[-1])
    check_size(size, path)
    geometry = Geometry.unknown(size)
    source = NpySource("npy", path, Encoding(array.dtype), geometry, array.ndim)
    return Volume(geometry, NpySlices(array.reshape(size)), source=source)


def write(volume: Volume, path: Path, on_slice: OnSlice = None) -> tuple[int, tuple[Note, ...]]:
    """Write `path` as float32 (D, H, W), or (H, W) where the source was; never clips."""
    size = volume.geometry.size
    flat = isinstance(volume.source, NpySource) and volume.source.dimensions == 2 and size[0] == 1
    encoding = Encoding(np.dtype("<f4"))
    header = {"descr": "<f4", "fortran_order": False, "shape": size[1:] if flat else size}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        return append(stream, volume, encoding, on_slice), _unplaced(volume)


def _unplaced(volume: Volume) -> tuple[Note, ...]:
    if not volume.geometry.known:
        return ()
    return (Note("geometry-lost", "A .npy file holds no spacing or position; they were left out."),)


def _damaged(path: Path) -> UnreadableInput:
    return UnreadableInput(
        "not-npy", "The file is no array that NumPy can map, or it is cut short.", path=path
    )
