"""The parent's side of the decoding worker: one process, started when first needed, replaced when it dies."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MesrError, TooLarge, UnreadableInput
from ...limits import DECODE_BYTES, DECODE_SECONDS
from . import worker


class Decoder:
    """A worker process and the one conversation with it; safe to call from several threads.

    Args:
        seconds: time one frame may take; then the worker is killed.
        extra_bytes: address space the worker may take over its start.
    """

    def __init__(self, seconds: float = DECODE_SECONDS, extra_bytes: int = DECODE_BYTES) -> None:
        self._seconds = seconds
        self._extra = extra_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id; None where none is running."""
        return None if self._process is None else self._process.pid

    def decode(
        self,
        data: bytes,
        syntax: str,
        size: tuple[int, int],
        precision: int,
        dtype: np.dtype[Any],
        path: Path,
    ) -> npt.NDArray[np.integer[Any]]:
        """One frame as stored integers `dtype`.

        Args:
            data: the encoded frame.
            syntax: transfer syntax UID.
            size: (rows, columns), which the stream must have.
            precision: bits a sample, as the stream declares them; unused for RLE.
            dtype: of the result, little-endian, with the sign the header gives.
            path: the file, for errors.

        Raises:
            UnreadableInput: code `damaged-pixels`, `decoder-crash` or `decoder-timeout`.
            TooLarge: code `decoder-memory`.
        """
        request = worker.REQUEST.pack(
            syntax.encode("ascii"), *size, precision, dtype.itemsize, dtype.kind == "i", len(data)
        )
        expected = size[0] * size[1] * dtype.itemsize
        with self._lock:
            status, pixels, timed_out = self._ask(request, data, expected)
        if timed_out:
            raise UnreadableInput(
                "decoder-timeout",
                f"Decoding one frame took longer than {self._seconds:g} seconds.",
                "The file is probably damaged; export it again.",
                path,
            )
        if status == worker.DONE and len(pixels) == expected:
            return np.frombuffer(pixels, dtype.newbyteorder("<")).reshape(size)
        raise _failure(status, path)

    def close(self) -> None:
        """End the worker; the next frame starts another."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _ask(self, request: bytes, data: bytes, expected: int) -> tuple[int | None, bytes, bool]:
        """Status (None where the worker died), pixels, and whether time ran out."""
        process = self._running()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(self._seconds, expire)
        timer.start()
        try:
            answer = _converse(process, request, data, expected)
        except OSError:  # a broken pipe: the worker died
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            self.close()
            return None, b"", expired.is_set()
        return *answer, False

    def _running(self) -> subprocess.Popen[bytes]:
        """The worker of this process; a forked child starts its own instead of sharing its parent's pipes."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            # By its path, so that only the standard library, numpy and the codecs are imported;
            # -P keeps the worker's folder, which has modules of common names, off the import path.
            command = [sys.executable, "-P", str(Path(worker.__file__)), str(self._extra)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._owner = os.getpid()
        return self._process


def _converse(
    process: subprocess.Popen[bytes], request: bytes, data: bytes, expected: int
) -> tuple[int, bytes] | None:
    """Status and pixels; None where the answer is cut short or not of the `expected` length."""
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None
    requests.write(request)
    requests.write(data)
    requests.flush()
    head = answers.read(worker.ANSWER.size)
    if len(head) != worker.ANSWER.size:
        return None
    status, length = worker.ANSWER.unpack(head)
    pixels = answers.read(length) if length == expected else b""
    return (status, pixels) if len(pixels) == length else None


def _failure(status: int | None, path: Path) -> MesrError:
    if status is None:
        return UnreadableInput(
            "decoder-crash", "The decoder stopped on this file.", "Export the file again.", path
        )
    if status == worker.TOO_LARGE:
        return TooLarge("decoder-memory", "Decoding one frame takes more memory than is allowed.", path=path)
    return UnreadableInput(
        "damaged-pixels", "The compressed pixel data is damaged or cut short.", "Export it again.", path
    )


_decoder = Decoder()
atexit.register(_decoder.close)
decode = _decoder.decode
