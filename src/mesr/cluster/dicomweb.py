"""A small DICOMweb client on the standard library: which series there are (QIDO-RS), and one of them (WADO-RS).

PS3.18, sections 10.4 and 10.6. The server is not trusted: answers have limits, identifiers are checked before they
become part of an address, redirections are refused so that the authorization goes nowhere else, and no answer is
quoted in an error.
"""

from __future__ import annotations

import email.message
import http.client
import ipaddress
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import InputError, TooLarge, UnreadableInput, UsageError
from ..limits import HTTP_ATTEMPTS, HTTP_SECONDS, MAX_ANSWER_BYTES, MAX_FETCHED_BYTES, MAX_SERIES, MAX_SLICES
from .multipart import parts

Answer = TypeVar("Answer")

PAGE = 500
"""Matches asked for at a time."""

_UID = re.compile(r"[0-9.]{1,64}")
_QUERY = re.compile(r"(?P<base>.*?)/(?P<level>studies(/[0-9.]{1,64}/series)?|series)/?")
_STUDY, _SERIES, _MODALITY, _INSTANCES = "0020000D", "0020000E", "00080060", "00201209"
_TRANSIENT = {408, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Series:
    """A series that matched a query.

    Attributes:
        study, series: their Instance UIDs.
        modality: as the server says it, or empty.
        instances: how many it says there are; None where it does not say.
    """

    study: str
    series: str
    modality: str
    instances: int | None


@dataclass(frozen=True)
class Client:
    """A server, and what is asked of it.

    Attributes:
        base: the service's address, before `/studies`.
        level: of the query: `studies`, `series` or `studies/UID/series`.
        query: its parameters.
        authorization: the header's value, `Bearer …` or `Basic …`; None where none is needed.
    """

    base: str
    level: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: str, authorization: str | None = None) -> Client:
        """From a query as the standard writes it, `https://host/dicom-web/studies?ModalitiesInStudy=CT`.

        Raises:
            UsageError: code `dicomweb-address`: it is none, or would send an authorization without TLS.
        """
        split = urlsplit(address)
        found = _QUERY.fullmatch(split.path)
        if (
            split.scheme not in ("http", "https")
            or not split.hostname
            or found is None
            or "@" in split.netloc
        ):
            raise UsageError(
                "dicomweb-address",
                "A DICOMweb query is an http or https address that ends in /studies or /series, with parameters"
                " after a ? and without a password.",
                "Such as https://host/dicom-web/studies?ModalitiesInStudy=CT&StudyDate=20260101-",
            )
        if authorization and split.scheme == "http" and not _is_loopback(split.hostname):
            raise UsageError(
                "dicomweb-address",
                "The authorization would be sent unencrypted to another machine.",
                "Use https, or unset MESR_DICOMWEB_AUTHORIZATION.",
            )
        base = urlunsplit((split.scheme, split.netloc, found["base"], "", ""))
        return cls(base, found["level"], tuple(parse_qsl(split.query, keep_blank_values=True)), authorization)

    def series(self) -> Iterator[Series]:
        """What matches, page by page, each once.

        Raises:
            InputError: codes `dicomweb`, `dicomweb-refused`, `dicomweb-answer`, `dicomweb-too-large`.
        """
        seen: set[str] = set()
        for one in self._matches(self.level, self.query):
            study = _value(one, _STUDY)
            if self.level == "studies":
                found: Iterable[Series] = (
                    _series(inner, study) for inner in self._matches(f"studies/{_uid(study)}/series", ())
                )
            else:
                found = [_series(one, self.level.split("/")[1] if "/" in self.level else study)]
            for series in found:
                if series.series not in seen:
                    seen.add(series.series)
                    yield series
                if len(seen) > MAX_SERIES:
                    raise TooLarge("dicomweb-too-large", f"The query matches more than {MAX_SERIES} series.")

    def fetch(self, study: str, series: str, folder: Path, instances: int | None = None) -> list[Path]:
        """The instances of a series as files in a folder, in the encoding the server keeps them in.

        Args:
            study, series: Instance UIDs.
            folder: empty.
            instances: how many there are at least, where that is known.

        Raises:
            InputError: as `series`; `dicomweb-incomplete`, the server gives some of them only.
        """
        address = f"{self.base}/studies/{_uid(study)}/series/{_uid(series)}"
        return _patiently(lambda: self._saved(address, folder, instances or 0))

    def _saved(self, address: str, folder: Path, least: int) -> list[Path]:
        """The parts of an answer as files; none of them where it fails."""
        files: list[Path] = []
        try:
            with self._open(
                address, 'multipart/related; type="application/dicom"; transfer-syntax=*'
            ) as answer:
                partial = answer.status == http.HTTPStatus.PARTIAL_CONTENT
                for part in parts(answer, _boundary(answer.headers), MAX_FETCHED_BYTES):
                    if len(files) == MAX_SLICES:
                        raise TooLarge("dicomweb-too-large", f"The series has over {MAX_SLICES} instances.")
                    files.append(folder / f"{len(files):06d}.dcm")
                    _save(part, files[-1])
            if partial or len(files) < least:
                raise _Incomplete
        except BaseException:
            for file in files:
                file.unlink(missing_ok=True)
            raise
        return files

    def _matches(self, level: str, query: tuple[tuple[str, str], ...]) -> Iterator[dict[str, Any]]:
        """The objects of a query's answers; page by page unless the query says a limit of its own."""
        single = any(key == "limit" for key, _ in query)
        known: set[str] = set()
        while True:
            more = () if single else (("limit", str(PAGE)), ("offset", str(len(known))))
            asked = urlencode([*query, ("includefield", _STUDY), ("includefield", _INSTANCES), *more])
            page = self._query(f"{self.base}/{level}?{asked}")
            fresh = [one for one in page if _identity(one) not in known]
            known.update(map(_identity, fresh))
            yield from fresh
            # A server that knows no paging sends the same again.
            if single or not fresh or len(known) > MAX_SERIES:
                return

    def _query(self, address: str) -> list[dict[str, Any]]:
        def read() -> bytes:
            with self._open(address, "application/dicom+json") as answer:
                return answer.read(MAX_ANSWER_BYTES + 1)

        text = _patiently(read)
        if len(text) > MAX_ANSWER_BYTES:
            raise TooLarge("dicomweb-too-large", "The server's answer to a query is beyond the limit.")
        try:
            found = json.loads(text) if text.strip() else []
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise _nonsense()
        return found

    def _open(self, address: str, accept: str) -> http.client.HTTPResponse:
        """An answer that succeeded.

        Raises:
            OSError: it may succeed another time.
            InputError: it will not.
        """
        headers = {"Accept": accept, "User-Agent": "mesr"}
        if self.authorization:
            headers["Authorization"] = self.authorization
        request = urllib.request.Request(address, headers=headers)
        try:
            answer: http.client.HTTPResponse = _OPENER.open(request, timeout=HTTP_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _TRANSIENT:
                    raise ConnectionError from None
                raise UnreadableInput(
                    "dicomweb-refused",
                    f"The DICOMweb server refused with status {error.code}.",
                    "Check the address, and MESR_DICOMWEB_AUTHORIZATION if it wants one.",
                ) from None
        except ValueError:  # An address that http.client does not take.
            raise _nonsense() from None
        return answer


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Another place is not what was named; the authorization would go along."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


class _Incomplete(ConnectionError):
    """Some instances of a series are missing; they may come another time."""


_OPENER = urllib.request.build_opener(_NoRedirection, urllib.request.ProxyHandler({}))
"""No proxy of the environment: patient data comes from the server that was named."""


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """What `ask` gives, asked again where that may help.

    Raises:
        InputError: code `dicomweb`, it did not; code `dicomweb-incomplete`, it gave a part at best.
    """
    incomplete = False
    for attempt in range(HTTP_ATTEMPTS):
        if attempt:
            time.sleep(2**attempt)
        try:
            return ask()
        except _Incomplete:
            incomplete = True
        except (OSError, http.client.HTTPException):
            incomplete = False
    if incomplete:
        raise UnreadableInput(
            "dicomweb-incomplete",
            "The DICOMweb server did not give all instances of the series.",
            "It may still be arriving there; try again later.",
        )
    raise UnreadableInput(
        "dicomweb",
        "The DICOMweb server cannot be reached, or broke off.",
        "Check the address; try again later.",
    )


def _save(part: Iterator[bytes], path: Path) -> None:
    """Write the pieces of a part. That the disk is full is no fault of the server's."""
    full = TooLarge(
        "no-space", "The temporary folder has no room for the series.", "Point TMPDIR at a larger one."
    )
    try:
        file = path.open("wb")
    except OSError:
        raise full from None
    with file:
        for piece in part:
            try:
                file.write(piece)
                file.flush()
            except OSError:
                raise full from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _value(attributes: dict[str, Any], tag: str) -> str:
    """The first value of an attribute in the DICOM JSON model (PS3.18, F.2), or nothing."""
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _series(attributes: dict[str, Any], study: str) -> Series:
    count = _value(attributes, _INSTANCES)
    return Series(
        _uid(study),
        _uid(_value(attributes, _SERIES)),
        _value(attributes, _MODALITY),
        int(count) if count.isascii() and count.isdigit() and len(count) < 9 else None,
    )


def _identity(attributes: dict[str, Any]) -> str:
    return _value(attributes, _SERIES) or _value(attributes, _STUDY)


def _uid(text: str) -> str:
    if not _UID.fullmatch(text):
        raise _nonsense()
    return text


def _boundary(headers: email.message.Message) -> bytes:
    found = headers.get_boundary()
    if headers.get_content_type() != "multipart/related" or not found or not found.isascii():
        raise _nonsense()
    return found.encode()


def _nonsense() -> InputError:
    return UnreadableInput("dicomweb-answer", "The server's answer is not what DICOMweb says it is.")
