"""A DICOMweb server of one folder, on the loopback address: series and studies by query, series by retrieval."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

BOUNDARY = "a-boundary"


@dataclass
class Server:
    """What it holds, how it misbehaves, and what it was asked.

    Attributes:
        series: (study, series) UIDs to modality and files.
        authorization: the header it wants, if any.
        pages: whether it knows limit and offset.
        failures: answers 503 so often before it answers.
        cut: bytes a retrieval is cut short by.
        missing: instances that a retrieval leaves out; `status` is its answer's.
        answer: sent in place of what a query matches.
        redirect: where everything is sent on to.
        asked: paths with queries, in order.
    """

    address: str = ""
    series: dict[tuple[str, str], tuple[str, list[Path]]] = field(default_factory=dict)
    authorization: str | None = None
    pages: bool = True
    failures: int = 0
    cut: int = 0
    missing: int = 0
    status: int = 200
    answer: bytes | None = None
    redirect: str | None = None
    asked: list[str] = field(default_factory=list)

    def add(self, folder: Path) -> None:
        """Hold the instances in a folder."""
        for path in sorted(folder.rglob("*.dcm")):
            data = pydicom.dcmread(path, stop_before_pixels=True)
            key = (str(data.StudyInstanceUID), str(data.SeriesInstanceUID))
            self.series.setdefault(key, (str(data.Modality), []))[1].append(path)


@contextmanager
def serving(*folders: Path) -> Iterator[Server]:
    """A server that runs while the block does."""
    server = Server()
    for folder in folders:
        server.add(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

        def do_GET(self) -> None:
            server.asked.append(self.path)
            if server.redirect is not None:
                self._send(302, "text/plain", b"", {"Location": server.redirect})
            elif server.failures > 0:
                server.failures -= 1
                self._send(503, "text/plain", b"busy with ZZPHI")
            elif server.authorization not in (None, self.headers.get("Authorization")):
                self._send(401, "text/plain", b"no entry for ZZPHI")
            else:
                split = urlsplit(self.path)
                self._answer(split.path.removeprefix("/dicom-web/").split("/"), parse_qs(split.query))

        def _answer(self, parts: list[str], query: dict[str, list[str]]) -> None:
            match parts:
                case ["studies"]:
                    matches = [
                        _said({"0020000D": study}) for study in dict.fromkeys(s for s, _ in server.series)
                    ]
                    self._matches(matches, query)
                case ["series"]:
                    self._matches([_series(server, *key) for key in server.series], query)
                case ["studies", study, "series"]:
                    self._matches([_series(server, *key) for key in server.series if key[0] == study], query)
                case ["studies", study, "series", series] if (study, series) in server.series:
                    parts_ = [
                        f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() + b"\r\n"
                        for path in server.series[study, series][1][server.missing :]
                    ]  # fmt: skip
                    body = b"".join(parts_) + f"--{BOUNDARY}--\r\n".encode()
                    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
                    self._send(server.status, kind, body[: len(body) - server.cut])
                case _:
                    self._send(404, "text/plain", b"nothing")

        def _matches(self, matches: list[dict[str, Any]], query: dict[str, list[str]]) -> None:
            wanted = query.get("Modality")
            if wanted:
                matches = [one for one in matches if one["00080060"]["Value"] == wanted]
            if server.pages:
                first = int(query.get("offset", ["0"])[0])
                matches = matches[first : first + int(query.get("limit", ["1000"])[0])]
            body = json.dumps(matches).encode() if server.answer is None else server.answer
            self._send(200 if body else 204, "application/dicom+json", body)

        def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.address = f"http://127.0.0.1:{http.server_port}/dicom-web"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def _series(server: Server, study: str, series: str) -> dict[str, Any]:
    modality, files = server.series[study, series]
    return _said({"0020000D": study, "0020000E": series, "00080060": modality, "00201209": len(files)})


def _said(values: dict[str, object]) -> dict[str, Any]:
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}
