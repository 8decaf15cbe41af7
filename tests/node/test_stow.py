"""STOW-RS out, against servers that answer as servers do, well and badly."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from scans import dicom_series

from mesr.errors import UsageError
from mesr.node import stow
from mesr.node.config import Stow
from mesr.node.stow import StowDestination

pytestmark = pytest.mark.usefixtures("node_libraries")


class _Web:
    """A web server that keeps what is posted and answers as it is told."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any, bytes]] = []
        self.status, self.answer, self.headers = 200, b"{}", {}  # type: tuple[int, bytes, dict[str, str]]
        self.refuses: Callable[[bytes], tuple[int, bytes] | None] = lambda body: None
        self.port = 0

    def uids(self) -> list[list[str]]:
        """The UIDs of the objects in each request, by a parser that is not ours."""
        found = []
        for _, headers, body in self.posts:
            text = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body
            parts = list(message_from_bytes(text, policy=HTTP).iter_parts())  # type: ignore[attr-defined]
            assert all(part.get_content_type() == "application/dicom" for part in parts)
            found.append([str(dcmread(BytesIO(part.get_content())).SOPInstanceUID) for part in parts])
        return found


@contextlib.contextmanager
def _web() -> Iterator[_Web]:
    one = _Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            one.posts.append((self.path, self.headers, body))
            status, answer = one.refuses(body) or (one.status, one.answer)
            self.send_response(status)
            for name, value in one.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _to(web: _Web, **more: Any) -> StowDestination:
    url = f"http://127.0.0.1:{web.port}/dicom-web/"
    return StowDestination(Stow(type="stow-rs", name="pacs", url=url, **more))


def _failed(uid: str, reason: int) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> list[Path]:
    return dicom_series(tmp_path / "in", size=(3, 12, 12)).paths


def test_objects_go_as_parts_of_one_request(files: list[Path]) -> None:
    with _web() as web:
        answer = _to(web).send(files)
        assert answer.sent == files
        assert (answer.refused, answer.trouble) == ({}, "")
        assert [path for path, _, _ in web.posts] == ["/dicom-web/studies"]
        assert web.uids() == [[str(dcmread(path).SOPInstanceUID) for path in files]]


def test_a_request_is_not_larger_than_it_may_be(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "NODE_STOW_BYTES", 2 * files[0].stat().st_size + 100)
    with _web() as web:
        assert _to(web).send(files).sent == files
        assert [len(uids) for uids in web.uids()] == [2, 1]


def test_what_failed_is_told_apart(files: list[Path]) -> None:
    with _web() as web:
        web.status, web.answer = 202, _failed(str(dcmread(files[1]).SOPInstanceUID), 0xA700)
        answer = _to(web).send(files)
        assert answer.sent == [files[0], files[2]]
        assert answer.refused == {files[1]: "reason A700"}
        web.status, web.answer = 409, _failed(str(dcmread(files[0]).SOPInstanceUID), 0xC000)
        answer = _to(web).send(files[:1])
        assert (answer.sent, answer.refused) == ([], {files[0]: "reason C000"})


def test_what_is_there_already_is_sent(files: list[Path]) -> None:
    with _web() as web:
        web.status, web.answer = 409, _failed(str(dcmread(files[0]).SOPInstanceUID), 0x0111)
        assert _to(web).send(files[:1]).sent == files[:1]


@pytest.mark.parametrize(
    ("status", "answer"),
    [(302, b""), (401, b""), (403, b""), (404, b""), (500, b"oops"), (503, b"{}")],
)
def test_an_answer_that_does_not_say_stored_is_not_taken_for_it(
    files: list[Path], status: int, answer: bytes
) -> None:
    with _web() as web, _web() as elsewhere:
        web.status, web.answer = status, answer
        web.headers = {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
        told = _to(web).send(files)
        assert told.sent == []
        assert str(status) in told.trouble
        # Patient data is not taken elsewhere.
        assert elsewhere.posts == []
        assert len(web.posts) == 1


@pytest.mark.parametrize(
    ("status", "text"),
    [(400, b""), (413, b""), (415, b"{}"), (422, b""), (202, b"not JSON"), (409, b""), (409, b"{}")],
)
def test_one_file_that_is_not_taken_holds_up_no_other(files: list[Path], status: int, text: bytes) -> None:
    bad = dcmread(files[0]).SOPInstanceUID.encode()
    with _web() as web:
        web.refuses = lambda body: (status, text) if bad in body else None
        answer = _to(web).send(files)
        assert answer.sent == files[1:]
        assert answer.refused == {files[0]: f"HTTP status {status}"}
        assert answer.trouble == ""
        assert [len(uids) for uids in web.uids()] == [3, 1, 1, 1]


def test_a_server_that_refuses_a_body_before_it_has_it_is_heard(files: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        to = StowDestination(
            Stow(type="stow-rs", name="pacs", url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        )

        def refuse() -> None:
            with listening.accept()[0] as peer:
                peer.recv(100)
                peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(1 << 16):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        answer = to.send(files[:1])
        thread.join()
    assert answer.refused == {files[0]: "HTTP status 413"}


def test_a_server_that_is_down_is_told(files: list[Path]) -> None:
    with _web() as web:
        to = _to(web)
    answer = to.send(files)
    assert (answer.sent, answer.trouble) == ([], "the request failed (ConnectionRefusedError)")


def test_passwords_and_tokens_come_from_files(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    with _web() as web:
        _to(web, user="mesr", password_file=tmp_path / "secret").send(files[:1])
        _to(web, token_file=tmp_path / "secret").send(files[:1])
        given = [headers["Authorization"] for _, headers, _ in web.posts]
        assert given == ["Basic bWVzcjpzM2NyZXQ=", "Bearer s3cret"]
        with pytest.raises(UsageError) as refused:
            _to(web, token_file=tmp_path / "none")
        assert refused.value.code == "secret"
