"""STOW-RS out: a few files a request as `multipart/related` (PS3.18 10.5), over the standard library's HTTP.

Nothing is redirected, and no proxy of the environment is asked: patient data goes where the configuration says or
nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom import dcmread

from ..errors import UsageError
from ..io.dicom.header import quiet
from ..limits import NODE_STOW_ANSWER_BYTES, NODE_STOW_BYTES
from .config import ClientTls, Stow
from .cstore import DUPLICATE
from .send import Answer
from .tls import client_context

_OF_THE_BODY = (400, 409, 413, 415, 422)
"""Statuses that speak of what was sent, and not of who sends or of the server."""
_FAILED, _REFERENCED, _REASON = "00081198", "00081155", "00081197"
"""FailedSOPSequence, ReferencedSOPInstanceUID, FailureReason."""


class StowDestination:
    """A DICOMweb server.

    Raises:
        UsageError: code `certificate` or `secret`.
    """

    def __init__(self, config: Stow) -> None:
        parts = urlsplit(config.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._path = f"{parts.path.rstrip('/')}/studies"
        self._timeout = config.timeout_seconds
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = client_context(config.tls or ClientTls())
        self._authorization = _authorization(config)

    def send(self, files: Sequence[Path]) -> Answer:
        """Send files, some a request, until one request fails."""
        answer = Answer()
        for group in _groups(files):
            self._send(group, answer)
            if answer.trouble:
                break
        return answer

    def _send(self, files: Sequence[Path], answer: Answer) -> None:
        """Send files in one request; one by one where the server does not say which of them it would not take."""
        try:
            reason = self._post(files, answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer.trouble = f"the request failed ({type(error).__name__})"
            return
        if reason and len(files) == 1:
            answer.refused[files[0]] = reason
        elif reason:
            for path in files:
                if not answer.trouble:
                    self._send([path], answer)

    def _post(self, files: Sequence[Path], answer: Answer) -> str:
        """One request; why some of the files were not taken where it is not said which, else nothing."""
        boundary = secrets.token_hex(16)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
            "Content-Length": str(_length(files, boundary)),
        } | self._authorization
        connection = self._connection()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A server may refuse a body before it has it whole, and close.
                connection.request("POST", self._path, body=_body(files, boundary), headers=headers)
            response = connection.getresponse()
            text = response.read(NODE_STOW_ANSWER_BYTES)
        finally:
            connection.close()
        # 409 is "none was stored", for reasons that are told one by one (PS3.18 10.5.3).
        if response.status not in (200, 202, *_OF_THE_BODY):
            answer.trouble = f"HTTP status {response.status}"
            return ""
        failed = _failed(text)
        if (response.status in _OF_THE_BODY and not failed) or (response.status == 202 and failed is None):
            return f"HTTP status {response.status}"
        for path in files:
            reason = (failed or {}).get(_sop_instance_uid(path))
            if reason is None or reason == DUPLICATE:
                answer.sent.append(path)
            else:
                answer.refused[path] = f"reason {reason:04X}"
        return ""

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)


def _groups(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Runs of files that go into one request."""
    group: list[Path] = []
    size = 0
    for path in files:
        length = path.stat().st_size
        if group and size + length > NODE_STOW_BYTES:
            yield group
            group, size = [], 0
        group.append(path)
        size += length
    if group:
        yield group


def _head(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")


def _tail(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode("ascii")


def _body(files: Sequence[Path], boundary: str) -> Iterator[bytes]:
    """One part a file (RFC 2387), read when it is sent."""
    for path in files:
        yield _head(boundary)
        yield path.read_bytes()
        yield b"\r\n"
    yield _tail(boundary)


def _length(files: Sequence[Path], boundary: str) -> int:
    parts = sum(len(_head(boundary)) + path.stat().st_size + 2 for path in files)
    return parts + len(_tail(boundary))


def _failed(text: bytes) -> dict[str, int] | None:
    """The UIDs of the FailedSOPSequence (PS3.18 annex I) with their reasons; None where there is no such answer."""
    try:
        held: Any = json.loads(text)
        held = held[0] if isinstance(held, list) else held
        items = held.get(_FAILED, {}).get("Value", [])
        return {
            item[_REFERENCED]["Value"][0]: int(item.get(_REASON, {}).get("Value", [0])[0]) for item in items
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _sop_instance_uid(path: Path) -> str:
    """Of a file of ours."""
    with quiet():
        return str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _authorization(config: Stow) -> dict[str, str]:
    if config.token_file is not None:
        return {"Authorization": f"Bearer {_secret(config.token_file)}"}
    if config.user is not None and config.password_file is not None:
        pair = f"{config.user}:{_secret(config.password_file)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
    return {}


def _secret(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text or not text.isprintable():
        raise UsageError(
            "secret", "A password or token file of the configuration cannot be read, or is empty.", "", path
        )
    return text
