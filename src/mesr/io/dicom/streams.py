"""What the header parser reads through: streams that refuse to deliver more than a header may hold.

A deflated data set is inflated here and not in the decoding worker: its header lies inside, nothing but zlib
touches the bytes, and no more is inflated than was asked for, within `MAX_INFLATED_BYTES`.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

from ...errors import TooLarge, UnreadableInput
from ...limits import MAX_HEADER_BYTES, MAX_HEADER_READS, MAX_INFLATED_BYTES


def damaged(path: Path | None) -> UnreadableInput:
    """What is said of a header that cannot be parsed."""
    return UnreadableInput(
        "damaged-header", "The DICOM header is damaged or cut short.", "Export the file again.", path
    )


def header_too_large() -> TooLarge:
    return TooLarge("header-too-large", f"The header is larger than {MAX_HEADER_BYTES >> 20} MiB.")


class Budget:
    """What one header may still take: bytes of its file, and read calls, those of its sequences included."""

    def __init__(self) -> None:
        self._bytes = MAX_HEADER_BYTES
        self._reads = MAX_HEADER_READS

    def call(self, size: int | None) -> None:
        """Count one read call."""
        self._reads -= 1
        if self._reads < 0:
            raise TooLarge("header-too-large", "The header is in more pieces than one image needs.")
        if size is None or size < 0:
            raise header_too_large()

    def fits(self, size: int) -> bool:
        return size <= self._bytes

    def take(self, size: int) -> None:
        self._bytes -= size


class BoundedFile(io.BufferedReader):
    """A file that refuses to deliver more than a header may hold, in bytes or in pieces."""

    def __init__(self, raw: io.RawIOBase, budget: Budget) -> None:
        super().__init__(raw, 1 << 16)
        self.budget = budget
        self._end = raw.seek(0, io.SEEK_END)
        raw.seek(0)

    def peek_at_start(self, size: int) -> bytes:
        start = super().read(size)
        self.seek(0)
        return start

    def read(self, size: int | None = -1, /) -> bytes:
        self.budget.call(size)
        if not self.budget.fits(size or 0):
            # Most often a damaged length, which reaches beyond the file.
            raise header_too_large() if self.tell() + (size or 0) <= self._end else damaged(None)
        data = super().read(size)
        self.budget.take(len(data))
        return data


class BoundedBytes(io.BytesIO):
    """The value of a sequence, whose pieces count like those of the file."""

    def __init__(self, value: bytes, budget: Budget) -> None:
        super().__init__(value)
        self._budget = budget

    def read(self, size: int | None = -1, /) -> bytes:
        self._budget.call(size)
        return super().read(size)


class Inflated:
    """A read-only view of a deflated data set (PS3.5 A.5), inflated as far as it is read and no further.

    Args:
        file: positioned anywhere.
        start: byte of the file where the deflated stream begins.
        budget: where the read calls are counted; None to read pixels.
    """

    def __init__(self, file: BinaryIO, start: int, budget: Budget | None = None) -> None:
        self._file = file
        self._budget = budget
        self._next = start
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._data = bytearray()
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise header_too_large()
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; raises `TooLarge` beyond `MAX_INFLATED_BYTES`, and zlib.error on damage."""
        if self._budget is not None:
            self._budget.call(size)
        if size < 0 or self._at + size > MAX_INFLATED_BYTES:
            raise TooLarge(
                "inflated-too-large",
                f"The deflated file unpacks to more than {MAX_INFLATED_BYTES >> 20} MiB.",
                "Convert it to an uncompressed or JPEG-LS file.",
            )
        while len(self._data) < self._at + size and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                self._file.seek(self._next)
                packed = self._file.read(1 << 16)
                self._next += len(packed)
                if not packed:
                    break
            self._data += self._inflate.decompress(packed, 1 << 20)
        data = bytes(self._data[self._at : self._at + size])
        self._at += len(data)
        return data
