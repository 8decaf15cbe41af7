"""Voxels as one run of bytes behind a header, which is how NIfTI, NRRD and MetaImage all keep them.

Slices are read one at a time. A compressed run is unpacked once, never beyond what its header promised,
into an unnamed temporary file, so that it too is read slice by slice and vanishes with the process.
"""

from __future__ import annotations

import bz2
import gzip
import os
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import numpy as np

from ..errors import TooLarge, UnreadableInput
from ..limits import MAX_EAGER_BYTES, MAX_SIDE, MAX_SLICE_PIXELS, MAX_SLICES, MAX_VOLUME_VOXELS
from ..volume import Slice
from .stored import Encoding

Compression = Literal["", "gzip", "zlib", "bzip2"]
CHUNK = 1 << 20


def check_size(size: tuple[int, int, int], path: Path) -> None:
    """Refuse a (slices, rows, columns) beyond the limits, before anything is allocated.

    Raises:
        TooLarge: code `too-large`.
        UnreadableInput: code `empty`, a side is not positive.
    """
    if min(size) < 1:
        raise UnreadableInput("empty", f"The header gives an image of size {_times(size)}.", path=path)
    slices, rows, columns = size
    if (
        slices > MAX_SLICES
        or max(rows, columns) > MAX_SIDE
        or rows * columns > MAX_SLICE_PIXELS
        or slices * rows * columns > MAX_VOLUME_VOXELS
    ):
        raise TooLarge(
            "too-large", f"The header gives an image of size {_times(size)}, beyond the limits.", path=path
        )


def opened(path: Path) -> IO[bytes]:
    """`path` opened for reading.

    Raises:
        UnreadableInput: code `unreadable`.
    """
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "unknown reason"
        raise UnreadableInput("unreadable", f"The file could not be opened: {reason}.", path=path) from None


def beside(header: Path, name: str) -> Path:
    """The data file that a detached header names; only one in the header's own folder is followed.

    Raises:
        UnreadableInput: code `data-file`.
    """
    data = header.with_name(name) if name and name == Path(name).name and "\\" not in name else None
    if data is None or not data.is_file():
        raise UnreadableInput(
            "data-file",
            "The header must name one data file in its own folder, and it does not or the file is missing.",
            "Put the data file beside the header, or convert the pair to a single file.",
            header,
        )
    return data


class RawSlices:
    """Lazy slices of a run of voxels in (slice, row, column) order, columns fastest.

    Args:
        path: the file.
        start: byte where the run, or its compressed form, begins.
        size: (slices, rows, columns).
        encoding: how values are stored.
        compression: of the bytes from `start` on.
        skip: bytes before the first voxel, counted after unpacking.

    Raises:
        TooLarge: code `too-large`.
        UnreadableInput: codes `empty`, `truncated`, `surplus`; for a compressed run when a slice is first read.
    """

    def __init__(
        self,
        path: Path,
        start: int,
        size: tuple[int, int, int],
        encoding: Encoding,
        compression: Compression = "",
        skip: int = 0,
    ) -> None:
        check_size(size, path)
        self._path = path
        self._start = start
        self._size = size
        self._encoding = encoding
        self._compression = compression
        self._skip = skip
        self._slice_bytes = size[1] * size[2] * encoding.dtype.itemsize
        self._lock = threading.Lock()
        self._stream: IO[bytes] | None = None
        needed = skip + size[0] * self._slice_bytes
        if not compression:
            with opened(path) as stream:
                self._check_length(stream.seek(0, os.SEEK_END) - start, needed)
        elif needed > MAX_EAGER_BYTES:
            raise TooLarge(
                "too-large",
                f"The compressed image would unpack to {needed >> 20} MiB.",
                "Unpack it first; an uncompressed file is read slice by slice.",
                path,
            )

    def __len__(self) -> int:
        return self._size[0]

    def __getitem__(self, k: int, /) -> Slice:
        if not 0 <= k < len(self):
            raise IndexError(k)
        with self._lock:
            stream = self._stream or self._open()
            stream.seek((0 if self._compression else self._start) + self._skip + k * self._slice_bytes)
            data = stream.read(self._slice_bytes)
        self._check_length(len(data), self._slice_bytes)
        stored = np.frombuffer(data, dtype=self._encoding.dtype).reshape(self._size[1:])
        return Slice(self._encoding.decode(stored))

    def _open(self) -> IO[bytes]:
        stream = opened(self._path)
        if self._compression:
            with stream:
                stream.seek(self._start)
                stream = self._unpacked(stream)
        weakref.finalize(self, stream.close)
        self._stream = stream
        return stream

    def _unpacked(self, packed: IO[bytes]) -> IO[bytes]:
        needed = self._skip + len(self) * self._slice_bytes
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 — lives as long as the slices
        length = 0
        try:
            for chunk in unpack(packed, self._compression):
                unpacked.write(chunk)
                length += len(chunk)
                if length >= needed + self._slice_bytes:
                    break
            self._check_length(length, needed)
        except (EOFError, OSError, zlib.error) as error:
            unpacked.close()
            if isinstance(error, OSError) and error.errno:
                raise UnreadableInput(
                    "unpack", f"The file could not be unpacked: {os.strerror(error.errno)}.", path=self._path
                ) from None
            raise UnreadableInput(
                "truncated", "The compressed image is damaged or cut short.", path=self._path
            ) from None
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def _check_length(self, found: int, needed: int) -> None:
        if found < needed:
            raise UnreadableInput(
                "truncated",
                f"The header promises {needed} bytes of voxels, the file has {max(found, 0)}.",
                path=self._path,
            )
        if found >= needed + self._slice_bytes:
            raise UnreadableInput(
                "surplus",
                f"The header promises {needed} bytes of voxels, the file has at least a slice more.",
                path=self._path,
            )


def unpack(stream: IO[bytes], compression: Compression) -> Iterator[bytes]:
    """The unpacked bytes of `stream` in chunks of at most 1 MiB, whatever the ratio."""
    if compression == "zlib":
        yield from _inflate(stream)
        return
    reader = gzip.GzipFile(fileobj=stream) if compression == "gzip" else bz2.BZ2File(stream)
    while chunk := reader.read(CHUNK):
        yield chunk


def _inflate(stream: IO[bytes]) -> Iterator[bytes]:
    # 47: MetaIO reads zlib and gzip headers alike.
    inflater = zlib.decompressobj(47)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or stream.read(CHUNK)
        if not packed:
            raise EOFError
        if chunk := inflater.decompress(packed, CHUNK):
            yield chunk


def _times(size: tuple[int, int, int]) -> str:
    return " × ".join(str(n) for n in size)
