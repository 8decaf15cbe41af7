"""The parts of a multipart/related answer (RFC 2046) as they arrive, so that a series never lies in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from ..errors import TooLarge, UnreadableInput
from ..limits import MAX_PART_HEADER_BYTES

_CHUNK = 1 << 18


class _Reader:
    """A stream that is read up to a mark."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._left = stream, limit
        self._held = b""

    def take(self, count: int) -> bytes:
        """The next bytes."""
        while len(self._held) < count:
            self._more()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def until(self, mark: bytes) -> Iterator[bytes]:
        """What comes before a mark, which is passed."""
        while (at := self._held.find(mark)) < 0:
            safe = len(self._held) - len(mark) + 1
            if safe > 0:
                piece, self._held = self._held[:safe], self._held[safe:]
                yield piece
            self._more()
        piece, self._held = self._held[:at], self._held[at + len(mark) :]
        yield piece

    def _more(self) -> None:
        chunk = self._stream.read(_CHUNK)
        if not chunk:
            raise ConnectionError("cut short")
        self._left -= len(chunk)
        if self._left < 0:
            raise TooLarge("dicomweb-too-large", "The series is larger than a series may be.")
        self._held += chunk


def parts(stream: IO[bytes], boundary: bytes, limit: int) -> Iterator[Iterator[bytes]]:
    """The body of every part, in pieces; take each whole before the next.

    Args:
        stream: the answer's body.
        boundary: from its Content-Type.
        limit: bytes of the whole.

    Raises:
        ConnectionError: it ends before its last boundary.
        UnreadableInput: code `dicomweb-answer`, a part's header is endless or a boundary is followed by something else.
        TooLarge: code `dicomweb-too-large`.
    """
    reader = _Reader(stream, limit)
    for _ in reader.until(b"--" + boundary):  # A preamble says nothing.
        pass
    while (after := reader.take(2)) != b"--":
        if after != b"\r\n":
            raise _nonsense()
        _skip_headers(reader)
        yield reader.until(b"\r\n--" + boundary)


def _skip_headers(reader: _Reader) -> None:
    """Up to and with the empty line."""
    left = MAX_PART_HEADER_BYTES
    while True:
        length = 0
        for piece in reader.until(b"\r\n"):
            length += len(piece)
            if length > left:
                raise _nonsense()
        if length == 0:
            return
        left -= length


def _nonsense() -> UnreadableInput:
    return UnreadableInput("dicomweb-answer", "The server's answer is not what DICOMweb says it is.")
