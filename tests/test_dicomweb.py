"""The DICOMweb client against a server that behaves and one that does not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_server import Server, serving
from scans import dicom_series

from mesr.cluster import dicomweb
from mesr.cluster.dicomweb import Client
from mesr.cluster.multipart import parts
from mesr.errors import MesrError, TooLarge, UsageError
from mesr.limits import HTTP_ATTEMPTS


@pytest.fixture(name="server")
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Two studies of CT, one of which has a series of MR too."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for study, series, modality in ((1, 1, "CT"), (1, 2, "MR"), (2, 1, "CT")):
        dicom_series(
            tmp_path / "pacs" / f"{study}{series}", size=(2, 12, 10), modality=modality,
            study=f"1.2.{study}", series=f"1.2.{study}.{series}",
        )  # fmt: skip
    with serving(tmp_path / "pacs") as server:
        yield server


def _found(client: Client) -> list[tuple[str, str, int | None]]:
    return [(one.series, one.modality, one.instances) for one in client.series()]


@pytest.mark.parametrize("query", ["studies", "series", "studies/1.2.1/series"])
def test_a_query_of_studies_or_series_gives_every_series_once(server: Server, query: str) -> None:
    expected = [("1.2.1.1", "CT", 2), ("1.2.1.2", "MR", 2), ("1.2.2.1", "CT", 2)]
    found = list(Client.of(f"{server.address}/{query}").series())
    here = expected[:2] if "1.2.1" in query else expected
    assert [(one.series, one.modality, one.instances) for one in found] == here
    assert [one.study for one in found] == [one.series[:5] for one in found]


@pytest.mark.parametrize("pages", [True, False])
def test_pages_are_asked_for_until_nothing_new_comes(
    server: Server, pages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "PAGE", 2)
    server.pages = pages
    assert len(_found(Client.of(f"{server.address}/series"))) == 3


def test_the_parameters_of_a_query_are_kept_and_its_own_limit_too(server: Server) -> None:
    assert _found(Client.of(f"{server.address}/series?Modality=MR")) == [("1.2.1.2", "MR", 2)]
    assert len(_found(Client.of(f"{server.address}/series?limit=1"))) == 1


def test_a_series_is_fetched_byte_for_byte(server: Server, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    files = Client.of(f"{server.address}/series").fetch("1.2.1", "1.2.1.1", tmp_path / "here")
    sources = server.series["1.2.1", "1.2.1.1"][1]
    assert [file.read_bytes() for file in files] == [source.read_bytes() for source in sources]


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.failures = 2
    client = Client.of(f"{server.address}/series")
    assert len(_found(client)) == 3
    server.failures = 2
    assert len(client.fetch("1.2.1", "1.2.1.1", tmp_path)) == 2


@pytest.mark.parametrize("cut", [1, 40, 3000])
def test_an_answer_cut_short_is_no_series_and_leaves_nothing(
    server: Server, cut: int, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    server.cut = cut + 4
    with pytest.raises(MesrError) as refused:
        Client.of(f"{server.address}/series").fetch("1.2.1", "1.2.1.1", tmp_path / "here")
    assert refused.value.code == "dicomweb"
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(("missing", "status"), [(1, 200), (1, 206), (0, 206)])
def test_a_part_of_a_series_is_no_series(server: Server, missing: int, status: int, tmp_path: Path) -> None:
    client = Client.of(f"{server.address}/series")
    (tmp_path / "here").mkdir()
    server.missing, server.status = missing, status
    with pytest.raises(MesrError) as refused:
        client.fetch("1.2.1", "1.2.1.1", tmp_path / "here", 2)
    assert refused.value.code == "dicomweb-incomplete"
    assert len(server.asked) == HTTP_ATTEMPTS
    assert list((tmp_path / "here").iterdir()) == []
    server.missing, server.status = 0, 200
    assert len(client.fetch("1.2.1", "1.2.1.1", tmp_path / "here", 1)) == 2


def test_no_proxy_is_asked(server: Server) -> None:
    code = "import sys; from mesr.cluster.dicomweb import Client; print(len(list(Client.of(sys.argv[1]).series())))"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:1") | {
        "no_proxy": ""
    }
    command = [sys.executable, "-c", code, f"{server.address}/series"]
    done = subprocess.run(command, env=os.environ | proxies, capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr


@pytest.mark.parametrize(
    "answer", [b"<html>ZZPHI</html>", b'{"0020000D": 1}', b"[1]", b"[" * 100_000, b'[{"0020000E": {"Value": ["../../x"]}}]', b"\xff"]
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_without_quoting_it(server: Server, answer: bytes) -> None:
    server.answer = answer
    with pytest.raises(MesrError) as refused:
        _found(Client.of(f"{server.address}/series"))
    assert refused.value.code == "dicomweb-answer"
    assert "ZZPHI" not in str(refused.value)


def test_an_authorization_goes_to_the_server_and_nowhere_else(server: Server) -> None:
    server.authorization = "Bearer secret"
    with pytest.raises(MesrError, match="status 401") as refused:
        _found(Client.of(f"{server.address}/series"))
    assert refused.value.code == "dicomweb-refused"
    client = Client.of(f"{server.address}/series", "Bearer secret")
    assert len(_found(client)) == 3
    assert "secret" not in repr(client)
    with serving() as elsewhere:
        server.redirect = f"{elsewhere.address}/series"
        with pytest.raises(MesrError, match="status 302"):
            _found(client)
        assert elsewhere.asked == []


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with serving() as server:
        address = server.address
    with pytest.raises(MesrError) as refused:
        _found(Client.of(f"{address}/studies"))
    assert refused.value.code == "dicomweb"


@pytest.mark.parametrize(
    "address",
    [
        "pacs", "ftp://pacs/studies", "https://pacs/dicom-web", "https:///studies", "https://me:word@pacs/studies",
        "https://pacs/studies/../series/1", "file:///etc/studies",
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        Client.of(address)
    assert refused.value.code == "dicomweb-address"


def test_an_authorization_is_not_sent_unencrypted_to_another_machine() -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        Client.of("http://pacs.example/dicom-web/studies", "Bearer secret")
    assert Client.of("https://pacs.example/dicom-web/studies", "Bearer secret").authorization
    assert Client.of("http://localhost:8042/dicom-web/studies", "Bearer secret").authorization


class _Drip(io.BytesIO):
    """A stream that gives a few bytes at a time, whatever is asked for."""

    def __init__(self, content: bytes, step: int) -> None:
        super().__init__(content)
        self.step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.step)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1 << 20])
def test_parts_come_apart_wherever_the_stream_is_cut(step: int) -> None:
    bodies = [b"\r\n--b\n\r\n-", b"", b"--b", bytes(range(256)) * 9]
    text = b"preamble\r\n" + b"".join(
        b"--bound\r\nContent-Type: x\r\nOther: y\r\n\r\n" + one + b"\r\n" for one in bodies
    )
    stream = _Drip(text + b"--bound--\r\nepilogue", step)
    assert [b"".join(part) for part in parts(stream, b"bound", 1 << 20)] == bodies


def test_a_part_without_headers_is_a_part() -> None:
    assert [b"".join(part) for part in parts(io.BytesIO(b"--b\r\n\r\nbody\r\n--b--"), b"b", 100)] == [b"body"]


def test_more_than_was_allowed_is_refused() -> None:
    stream = io.BytesIO(b"--b\r\n\r\n" + bytes(1 << 20) + b"\r\n--b--")
    with pytest.raises(TooLarge):
        [b"".join(part) for part in parts(stream, b"b", 1 << 19)]
