"""The pixels of one frame: its bytes in the file, and the stored integers they mean.

Uncompressed frames are cut out of the file here, one at a time, inflated within bounds where the data set is
deflated; compressed ones go to the decoding worker.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import TooLarge, UnreadableInput
from .codestream import describe
from .decoder import decode
from .layout import COMPRESSED, JPEG_2000, RLE, Layout, cut_short
from .streams import Inflated

IntImage = npt.NDArray[np.integer[Any]]


class Stored(NamedTuple):
    """Stored integers (rows, columns).

    Attributes:
        values: with the bits above BitsStored corrected.
        raw: as they were, whole container; the same array where nothing needed correcting.
    """

    values: IntImage
    raw: IntImage


def encoded_frame(path: Path, layout: Layout, frame: int | None) -> bytes:
    """The bytes of one frame as the file holds them, fragments joined; a deflated file's after inflating.

    Raises:
        UnreadableInput: code `unreadable` or `cut-short`.
        TooLarge: code `inflated-too-large`.
    """
    parts = []
    try:
        with path.open("rb") as file:
            stream = file if layout.deflated_at is None else Inflated(file, layout.deflated_at)
            for span in layout.spans[frame or 0]:
                stream.seek(span.offset)
                parts.append(stream.read(span.length))
                if len(parts[-1]) != span.length:
                    raise cut_short(path)
    except OSError:
        raise UnreadableInput("unreadable", "The file cannot be opened and read.", path=path) from None
    except zlib.error:
        raise UnreadableInput("damaged-pixels", "The deflated data is damaged.", path=path) from None
    except TooLarge as error:
        error.path = path
        raise
    return b"".join(parts)


def stored_frame(path: Path, layout: Layout, frame: int | None) -> Stored:
    """Decode one frame to the integers that are stored.

    Raises:
        UnreadableInput: the frame is cut short, damaged, or not of the size the header declares.
        TooLarge: decoding took more memory or time than allowed.
    """
    data = encoded_frame(path, layout, frame)
    size = (layout.rows, layout.columns)
    if layout.transfer_syntax in COMPRESSED:
        raw = decode(data, layout.transfer_syntax, size, _precision(data, layout, path), layout.dtype, path)
        # JPEG 2000 knows its own precision and sign, which the worker has settled.
        exact = layout.transfer_syntax in JPEG_2000
    else:
        if layout.swap_bytes:
            data = np.frombuffer(data, np.uint16).byteswap().tobytes()
        raw = np.frombuffer(data, layout.dtype).reshape(size)
        exact = False
    shift = layout.bits_allocated - layout.bits_stored
    if exact or shift == 0:
        return Stored(raw, raw)
    # The bits above BitsStored mean nothing (PS3.5 8.1.1): old scanners kept overlays there.
    values = np.left_shift(raw, shift).astype(raw.dtype)
    return Stored(np.right_shift(values, shift), raw)


def _precision(data: bytes, layout: Layout, path: Path) -> int:
    """Bits a sample of a compressed frame, once it is seen to agree with the header."""
    if layout.transfer_syntax == RLE:
        return layout.bits_allocated
    stream = describe(data)
    if stream is None:
        raise UnreadableInput(
            "damaged-pixels", "The compressed image has no header or no end.", "Export the file again.", path
        )
    found = f"{stream.rows}×{stream.columns}, {stream.samples} samples of {stream.precision} bits"
    if stream[:2] != (layout.rows, layout.columns) or stream.samples != 1:
        raise UnreadableInput(
            "damaged-pixels",
            f"The header declares {layout.rows}×{layout.columns} pixels, the compressed image {found}.",
            "Export the file again.",
            path,
        )
    if not 2 <= stream.precision <= layout.bits_allocated:
        raise UnreadableInput(
            "damaged-pixels",
            f"The header has room for {layout.bits_allocated} bits a pixel, the compressed image is {found}.",
            "Export the file again.",
            path,
        )
    return stream.precision
