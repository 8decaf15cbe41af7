"""The decoding worker: compressed frames come in on stdin, stored integers go out on stdout.

Decoders are native code and the files are untrusted, so they run here, in a process of their own with
limits, which imports neither torch nor the rest of mesr and may die without harm. Requests and answers are
fixed structs and plain bytes. `decoder.py` starts it by its path:

    python worker.py BYTES      address space it may use over what it takes at its start
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt
import openjpeg.utils
import rle.utils

REQUEST = struct.Struct("<64sIIBBBI")
"""Transfer syntax, rows, columns, bits a sample, bytes a pixel, signed, length of the frame that follows."""
ANSWER = struct.Struct("<BQ")
"""Status, length of the little-endian pixels that follow."""
DONE, DAMAGED, TOO_LARGE = range(3)

_RLE = "1.2.840.10008.1.2.5"
_JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
_END_OF_IMAGE = b"\xff\xd9"
_JPEG_LS = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))

Array = npt.NDArray[np.integer[Any]]


def decode_frame(
    data: bytes, syntax: str, rows: int, columns: int, precision: int, dtype: np.dtype[Any]
) -> Array:
    """One frame, whose stream declares `precision` bits, as stored integers (rows, columns) `dtype`.

    Raises:
        Exception: whatever the decoder makes of damaged data, or ValueError where its result does not fit.
    """
    if syntax == _RLE:
        bits = 8 * dtype.itemsize
        packed = rle.utils.decode_pixel_data(data, version=2, rows=rows, columns=columns, bits_allocated=bits)
        return np.frombuffer(packed, dtype).reshape(rows, columns)
    if syntax in _JPEG:
        image = _whole_jpeg(data)
    elif syntax in _JPEG_LS:
        buffer, _ = jpeg_ls.decode_buffer(data)
        image = np.frombuffer(buffer, np.uint8 if precision <= 8 else "<u2").reshape(rows, columns)
    else:
        image = openjpeg.utils.decode(data)
    if image.shape != (rows, columns):
        raise ValueError("the image does not fit the header")
    return resigned(image, precision, dtype)


def _whole_jpeg(data: bytes) -> Array:
    """Decode a JPEG whose scan is complete; ValueError where it is not.

    libjpeg fills what a scan lacks and only warns. A whole scan does not look at bytes put behind it; one
    that was cut short takes them for its missing pixels, so that the two results differ.
    """
    image: Array = imagecodecs.jpeg8_decode(data)
    # A marker may have any number of FF before it (T.81 B.1.1.2).
    scan = data[: data.rfind(_END_OF_IMAGE)].rstrip(b"\xff")
    if not np.array_equal(image, imagecodecs.jpeg8_decode(scan + b"\x55" * 4096 + _END_OF_IMAGE)):
        raise ValueError("the scan is cut short")
    return image


def resigned(image: Array, precision: int, dtype: np.dtype[Any]) -> Array:
    """`image` of `precision` bits read with the sign of `dtype`, whatever sign the stream gave it.

    JPEG and JPEG-LS know no sign, and JPEG 2000 streams are often written with the wrong one; the header's
    PixelRepresentation holds (as pydicom decides it).
    """
    if (image.dtype.kind == "i") == (dtype.kind == "i"):
        return image.astype(dtype)
    wide = image.astype(np.int64) & ((1 << precision) - 1)
    if dtype.kind == "i":
        wide -= (wide >> (precision - 1)) << precision
    return wide.astype(dtype)


def _limit(extra: int) -> None:
    """Bound the address space, and leave no core file: it would hold a patient's image."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the time limit of the parent holds there too.
        return
    taken = Path("/proc/self/statm")
    pages = int(taken.read_text().split()[0]) if taken.exists() else 0
    limit = pages * resource.getpagesize() + extra
    for kind, value in ((resource.RLIMIT_AS, limit), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # a stricter limit from outside is kept
            resource.setrlimit(kind, (value, value))


def _exactly(stream: BinaryIO, size: int) -> bytes | None:
    data = stream.read(size)
    return data if len(data) == size else None


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    while (head := _exactly(requests, REQUEST.size)) is not None:
        syntax, rows, columns, precision, width, signed, length = REQUEST.unpack(head)
        data = _exactly(requests, length)
        if data is None:
            return
        pixels = b""
        try:
            dtype = np.dtype(f"<{'i' if signed else 'u'}{width}")
            name = syntax.rstrip(b"\x00").decode("ascii")
            image = decode_frame(data, name, rows, columns, precision, dtype)
            status, pixels = DONE, image.tobytes()
        except MemoryError:
            status = TOO_LARGE
        except Exception:
            # Any decoder, any damage; what it says is not for anyone to read, it may quote the file.
            status = DAMAGED
        answers.write(ANSWER.pack(status, len(pixels)))
        answers.write(pixels)
        answers.flush()


def main() -> None:
    """Serve on stdin and stdout, with everything else the decoders print thrown away."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _limit(int(sys.argv[1]))
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
