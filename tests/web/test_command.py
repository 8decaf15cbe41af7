"""`mesr web` on the command line: what it needs, and what it refuses before it listens."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesr.cli import app
from mesr.errors import UsageError
from mesr.web import app as page
from mesr.web.app import Service, create_app
from mesr.web.server import address_of, bound, names_of, reaches_further, serve


def test_a_missing_extra_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "uvicorn" else find(name, *rest)
    )
    done = CliRunner().invoke(app, ["web"])
    assert done.exit_code == 2
    assert "pip install 'mesr[web]'" in done.output


def test_a_clone_without_the_viewer_is_told_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "VIEWER", tmp_path / "index.js")
    done = CliRunner().invoke(app, ["web"])
    assert done.exit_code == 2
    assert "make web" in done.output


def test_a_port_that_is_taken_is_told() -> None:
    with bound("127.0.0.1", 0) as opened:
        with pytest.raises(UsageError) as caught:
            bound("127.0.0.1", opened.getsockname()[1])
        assert caught.value.code == "address"
    with pytest.raises(UsageError):
        bound("192.0.2.1", 0)


def test_the_address_carries_the_token_where_no_server_sees_it() -> None:
    with bound("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        assert not reaches_further(opened)
        assert address_of(opened, secure=False, token=None) == f"http://127.0.0.1:{port}/"
        told = address_of(opened, secure=True, token="secret", name="scans.example.org")
        assert told == f"https://scans.example.org:{port}/#token=secret"
    with bound("0.0.0.0", 0) as opened:
        assert reaches_further(opened)
        assert names_of(opened, ["given"]) == ("given", socket.gethostname())
        assert address_of(opened, secure=False, token=None).startswith(f"http://{socket.gethostname()}:")


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    with bound("127.0.0.1", 0) as opened, pytest.raises(UsageError) as caught:
        serve(create_app(Service()), opened, tmp_path / "cert.pem", tmp_path / "cert.pem")
    assert caught.value.code == "certificate"
