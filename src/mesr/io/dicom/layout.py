"""How a file stores its pixels: checked against itself and the file's size before anything is allocated."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from ...errors import TooLarge, UnreadableInput, UnsupportedInput
from ...limits import MAX_SIDE, MAX_SLICE_PIXELS, MAX_SLICES
from .header import Header, PixelElement

NATIVE = frozenset(
    ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
)
RLE = "1.2.840.10008.1.2.5"
JPEG_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
COMPRESSED = frozenset((RLE, *JPEG_LOSSY, *JPEG_LOSSLESS, *JPEG_LS, *JPEG_2000))
LOSSY = frozenset((*JPEG_LOSSY, "1.2.840.10008.1.2.4.81"))
"""Syntaxes that always lost something; the others that may have say so in LossyImageCompression."""

_GREY = ("MONOCHROME1", "MONOCHROME2")


class Span(NamedTuple):
    """Bytes of a file."""

    offset: int
    length: int


@dataclass(frozen=True)
class Layout:
    """How a file stores its pixels; one for all frames of a multi-frame file.

    Attributes:
        transfer_syntax: UID.
        rows, columns, frames: as declared, within the limits.
        bits_allocated: 8, 16 or 32; bits_stored: at most as many; signed: two's complement.
        swap_bytes: 8-bit pixels packed in big-endian words.
        spans: for each frame its bytes in the file (fragments, where compressed) or in the inflated data set.
        deflated_at: where the deflated data set begins in the file; None where it is not deflated.
    """

    transfer_syntax: str
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    swap_bytes: bool
    spans: tuple[tuple[Span, ...], ...]
    deflated_at: int | None = None

    @property
    def dtype(self) -> np.dtype[np.integer[Any]]:
        """Of the stored integers, in the file's byte order."""
        order = ">" if self.transfer_syntax == ExplicitVRBigEndian else "<"
        return np.dtype(f"{order}{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def layout_of(header: Header, path: Path) -> Layout:
    """Check what a header says of its pixels against itself and against the file's size.

    Raises:
        UnreadableInput: codes `no-pixels`, `cut-short`, `pixel-length`, `frames`.
        UnsupportedInput: codes `colour`, `pixel-format`, `transfer-syntax`.
        TooLarge: code `too-large`.
    """
    dataset, element, syntax = header.dataset, header.pixels, header.transfer_syntax
    if element is None:
        raise UnreadableInput(
            "no-pixels", "The file has no pixel data, or is cut short before it.", "Export it again.", path
        )
    if syntax not in NATIVE and syntax not in COMPRESSED:
        raise UnsupportedInput(
            "transfer-syntax",
            "The pixels are stored in a transfer syntax that is not handled.",
            "Convert the file to an uncompressed, JPEG-LS or JPEG 2000 one.",
            path,
        )
    meaning = dataset.get("PhotometricInterpretation")
    if meaning is None:
        raise UnsupportedInput("colour", "The file does not say whether its pixels are grey.", path=path)
    if dataset.get("SamplesPerPixel", 1) != 1 or meaning not in _GREY:
        raise UnsupportedInput(
            "colour", "Expected one grey value a pixel, found colour or a palette.", path=path
        )
    rows, columns, frames = _size(dataset, path)
    allocated, stored, signed = _format(dataset, path)
    if (element.length is None) != (syntax in COMPRESSED):
        raise UnreadableInput(
            "pixel-length", "The pixel data is not packed as the transfer syntax says.", path=path
        )
    if element.length is None:
        spans = _fragments(path, element.offset, frames)
    else:
        spans = _cuts(path, element, frames, rows * columns * allocated // 8)
    swap = syntax == ExplicitVRBigEndian and allocated == 8 and element.vr == "OW"
    if swap and rows * columns % 2:
        raise UnsupportedInput(
            "pixel-format", "Expected an even number of 8-bit pixels in big-endian words.", path=path
        )
    return Layout(syntax, rows, columns, frames, allocated, stored, signed, swap, spans, element.deflated_at)


def _size(dataset: Dataset, path: Path) -> tuple[int, int, int]:
    """Rows, columns and frames, within the limits."""
    rows, columns = _whole(dataset.get("Rows")), _whole(dataset.get("Columns"))
    frames = _whole(dataset.get("NumberOfFrames", 1))
    if rows < 1 or columns < 1 or frames < 1:
        raise UnreadableInput(
            "frames",
            f"Expected a size above zero, found {rows} rows, {columns} columns, {frames} frames.",
            path=path,
        )
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_SLICE_PIXELS or frames > MAX_SLICES:
        raise TooLarge(
            "too-large", f"The file declares {frames} frames of {rows}×{columns} pixels.", path=path
        )
    return rows, columns, frames


def _format(dataset: Dataset, path: Path) -> tuple[int, int, bool]:
    """Bits allocated, bits stored, and whether the pixels are signed."""
    allocated, stored = _whole(dataset.get("BitsAllocated")), _whole(dataset.get("BitsStored"))
    high, sign = _whole(dataset.get("HighBit", stored - 1)), _whole(dataset.get("PixelRepresentation", 0))
    whole = allocated in (8, 16, 32) and 1 <= stored <= allocated
    if not whole or high != stored - 1 or sign not in (0, 1):
        raise UnsupportedInput(
            "pixel-format",
            f"Expected 8, 16 or 32 bits a pixel, lowest first, signed or not; found {allocated} allocated, "
            f"{stored} stored, highest {high}, representation {sign}.",
            path=path,
        )
    return allocated, stored, sign == 1


def _cuts(path: Path, element: PixelElement, frames: int, size: int) -> tuple[tuple[Span, ...], ...]:
    """Where each uncompressed frame of `size` bytes lies, once the element is seen to hold just these."""
    assert element.length is not None
    if element.length - size * frames not in (0, size * frames % 2):
        raise UnreadableInput(
            "pixel-length",
            f"Expected {size * frames} bytes of pixels, found {element.length} declared.",
            "Export the file again.",
            path,
        )
    if element.deflated_at is None and element.offset + size * frames > path.stat().st_size:
        raise cut_short(path)
    return tuple((Span(element.offset + frame * size, size),) for frame in range(frames))


def cut_short(path: Path) -> UnreadableInput:
    """What is said of a file that ends before its pixels do."""
    return UnreadableInput(
        "cut-short", "The file ends before its pixel data does.", "Copy or export it again.", path
    )


def _fragments(path: Path, offset: int, frames: int) -> tuple[tuple[Span, ...], ...]:
    """The fragments of each frame of encapsulated pixel data (PS3.5 A.4)."""
    size = path.stat().st_size
    items: list[Span] = []
    with path.open("rb") as file:
        while True:
            file.seek(offset)
            head = file.read(8)
            if len(head) < 8:
                raise cut_short(path)
            tag, length = struct.unpack("<4sI", head)
            offset += 8
            if tag == b"\xfe\xff\xdd\xe0":
                break
            if tag != b"\xfe\xff\x00\xe0" or offset + length > size:
                raise cut_short(path)
            if len(items) > 64 * MAX_SLICES:
                raise TooLarge("too-large", "The pixel data is in too many fragments.", path=path)
            items.append(Span(offset, length))
            offset += length
        if not items:
            raise cut_short(path)
        table, pieces = items[0], items[1:]
        if frames == 1 and pieces:
            return (tuple(pieces),)
        if len(pieces) == frames:
            return tuple((piece,) for piece in pieces)
        file.seek(table.offset)
        starts = np.frombuffer(file.read(min(table.length, 4 * frames)), "<u4").tolist()
    # Offsets in the table count from the first fragment's item tag.
    base = pieces[0].offset - 8 if pieces else 0
    owners = {start + base: n for n, start in enumerate(starts)}
    groups: list[list[Span]] = []
    for piece in pieces:
        if owners.get(piece.offset - 8) == len(groups):
            groups.append([])
        if not groups:
            break
        groups[-1].append(piece)
    if len(groups) != frames:
        raise UnreadableInput(
            "frames",
            f"Expected {frames} compressed frames, found {len(pieces)} pieces that cannot be told apart.",
            path=path,
        )
    return tuple(tuple(group) for group in groups)


def _whole(value: object) -> int:
    """A header's integer; -1 where it is absent or not one."""
    return int(value) if isinstance(value, int) else -1
