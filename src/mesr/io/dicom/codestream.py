"""What a compressed image says of itself, read without a decoder.

A header of 512×512 may wrap an image of 60000×60000, and a decoder fills what a truncated stream lacks with
grey and calls it done: the worker is never asked about a stream that disagrees with its header or does not end.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_FRAME_HEADERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)
"""Start-of-frame markers of JPEG baseline, extended, progressive, lossless (T.81 B.1) and JPEG-LS (T.87)."""
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


class Codestream(NamedTuple):
    """Size in pixels, bits a sample, samples a pixel."""

    rows: int
    columns: int
    precision: int
    samples: int


def describe(data: bytes) -> Codestream | None:
    """What a JPEG, JPEG-LS or JPEG 2000 stream declares; None where it has no such header or no end marker.

    A JPEG 2000 stream may lie inside a JP2 file, against PS3.5 A.4.4 but as some systems write it.
    """
    if not data.rstrip(b"\x00\xff").endswith(b"\xd9"):
        return None
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(data) < start + 43:
        return None
    width, height, left, top = struct.unpack_from(">4I", data, start + 8)
    samples, depth = struct.unpack_from(">HB", data, start + 40)
    return Codestream(height - top, width - left, (depth & 0x7F) + 1, samples)


def _jpeg(data: bytes) -> Codestream | None:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Codestream(rows, columns, precision, samples)
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
