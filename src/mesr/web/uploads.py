"""A request's files, streamed into a private folder: counted while they come, and their names never used.

A browser sends a dropped folder as one multipart body. It is taken apart as it arrives, so that neither memory
nor the system's temporary folder holds a copy, and no more than the limits is ever on disk.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from ..errors import TooLarge, UnreadableInput, UsageError
from ..io.archive import is_zip
from ..io.formats import claimed
from ..limits import MAX_UPLOAD_BYTES, MAX_UPLOAD_FILES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILES, ZIPS = "files", "zips"


async def receive(
    body: AsyncIterator[bytes],
    content_type: str,
    folder: Path,
    *,
    most_bytes: int = MAX_UPLOAD_BYTES,
    most_files: int = MAX_UPLOAD_FILES,
) -> list[Path]:
    """Write a multipart body's files below `folder`; the paths to discover studies in.

    Args:
        body: the request's, in chunks.
        content_type: the request's header, with the boundary.
        folder: private and empty.
        most_bytes, most_files: limits on the whole.

    Returns:
        The zips, each by itself, and the folder of all else, or its file where there is only one.

    Raises:
        UsageError: code `upload`, the body is no multipart form or holds no file.
        UnreadableInput: code `upload-cut`, it ended early.
        TooLarge: codes `upload-too-large`, `no-space`.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UsageError("upload", "Files were expected as a multipart form.")
    for name in (FILES, ZIPS):
        (folder / name).mkdir()
    parts = _Parts(folder, most_files)
    parser = MultipartParser(options[b"boundary"], parts.callbacks)
    taken = 0
    try:
        async for chunk in body:
            taken += len(chunk)
            if taken > most_bytes:
                raise TooLarge("upload-too-large", f"An upload may have {_size(most_bytes)}.")
            await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except FormParserError:
        # Its text quotes the body.
        raise UsageError("upload", "The multipart form is damaged.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TooLarge("no-space", "The temporary folder has no room for the upload.") from None
        raise
    finally:
        parts.close()
    if not parts.ended:
        raise UnreadableInput("upload-cut", "The upload ended before its files did.", "Send it again.")
    if not parts.count:
        raise UsageError("upload", "The upload holds no file.")
    return await run_in_threadpool(_sorted, folder)


class _Parts:
    """The files of a form as the parser meets them; other fields are passed over."""

    def __init__(self, folder: Path, most: int) -> None:
        self.count = 0
        self.ended = False
        self._folder = folder
        self._most = most
        self._file: BinaryIO | None = None
        self._name = self._value = b""
        self._disposition = b""
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._text,
            "on_header_end": self._header,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self.close,
            "on_end": self._end,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._disposition = self._name = self._value = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _open(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"filename")
        if name is None:
            return
        self.count += 1
        if self.count > self._most:
            raise TooLarge("upload-too-large", f"An upload may have {self._most} files.")
        suffix = claimed(name.decode("utf-8", "replace"))
        self._file = (self._folder / FILES / f"{self.count:06d}{suffix}").open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self.ended = True


def _sorted(folder: Path) -> list[Path]:
    """Zips apart, since in a folder they would be passed over; empty files, which folders hold for no reason, gone."""
    rest: list[Path] = []
    zips: list[Path] = []
    for file in sorted((folder / FILES).iterdir()):
        if file.stat().st_size == 0:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        elif is_zip(file):
            zips.append(file.replace(folder / ZIPS / file.name))
        else:
            rest.append(file)
    if not rest:
        return zips
    # A file that came alone must be an image; one among others may be something else.
    return [*zips, rest[0] if len(rest) == 1 else folder / FILES]


def _size(count: int) -> str:
    return f"{count / (1 << 30):.3g} GiB" if count >= 1 << 29 else f"{count / (1 << 20):.3g} MiB"
