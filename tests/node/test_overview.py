"""What an operator sees and can do: health, metrics, and `mesr node` beside a node that runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers import Pacs, running, send, settings, wait_until
from scans import dicom_series
from typer.testing import CliRunner

from mesr.cli import app
from mesr.node import health

pytestmark = pytest.mark.usefixtures("node_libraries")


def _get(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _yaml(folder: Path, values: dict[str, Any]) -> str:
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def test_health_and_metrics_tell_how_things_stand(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        assert node.health is not None
        send(node.receiver.port, scan.paths)
        wait_until(lambda: len(pacs.uids) == 2 and not node.store.backlog())
        status, text = _get(node.health.port, "/health")
        about = json.loads(text)
        assert (status, about["status"]) == (200, "ok")
        assert about["series"]["made"] == 1
        assert about["destinations"] == {"pacs": "ok"}
        status, text = _get(node.health.port, "/metrics")
        assert status == 200
        values = dict(re.findall(r"^(mesr_node_\S+) (\S+)$", text, re.MULTILINE))
        assert values["mesr_node_up"] == "1"
        assert values["mesr_node_objects_received_total"] == "2"
        assert values['mesr_node_objects_sent_total{destination="pacs"}'] == "2"
        assert values['mesr_node_series{state="made"}'] == "1"
        assert values['mesr_node_jobs_total{state="made"}'] == "1"
        # Every row is of a metric that is explained.
        assert {name.split("{")[0].removeprefix(health.PREFIX) for name in values} <= set(health.HELP)
        assert {name for name, _ in node.counters.values()} <= set(health.HELP)
        assert _get(node.health.port, "/")[0] == 404


def test_health_is_asked_for_by_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "NODE_HEALTH_REQUESTS", 2)
    server = health.HealthServer(("127.0.0.1", 0), lambda: (True, {}), lambda: "")
    with contextlib.closing(server), contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        silent = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(2)]
        with socket.create_connection(address, 10) as third:
            assert third.recv(1) == b""
        for one in silent:
            one.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.0 200")
            one.close()

        def is_answered() -> bool:
            with contextlib.suppress(OSError):
                return _get(server.port, "/health")[0] == 200
            return False

        wait_until(is_answered)


def test_a_node_without_room_is_unwell(tmp_path: Path) -> None:
    with running(settings(tmp_path, 1, min_free_mib=1 << 30)) as node:
        assert node.health is not None
        status, text = _get(node.health.port, "/health")
        assert (status, json.loads(text)["room"]) == (503, False)


def test_status_retry_and_forget(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    rule = {"name": "coarser", "model": "nearest", "spacing": 5}
    values = settings(tmp_path, 1, rules=[rule])
    path, run = _yaml(tmp_path, values), CliRunner().invoke
    assert run(app, ["node", "status", path]).exit_code == 3
    with running(values) as node:
        send(node.receiver.port, scan.paths)
        wait_until(lambda: node.store.counts()["refused"] == 1)
        (entry,) = node.store.entries()
        shown = run(app, ["node", "status", path])
        assert shown.exit_code == 0
        assert entry.short in shown.output
        assert "refused" in shown.output
        assert "coarser" in shown.output
        assert "ZZPHI" not in shown.output
        busy = run(app, ["node", "forget", path, entry.short])
        assert busy.exit_code == 2
        assert run(app, ["node", "retry", path]).output == "1 series wait again.\n"
        wait_until(lambda: node.counters.values().get(("jobs_total", (("state", "refused"),))) == 2)
    assert run(app, ["node", "retry", path, "none"]).exit_code == 2
    assert run(app, ["node", "forget", path, entry.short]).exit_code == 0
    assert list((tmp_path / "spool" / "series").iterdir()) == []


@pytest.mark.parametrize(
    "words", [["status"], ["forget", "node.yaml"], ["a.yaml", "b.yaml"], ["status", "a", "b"]]
)
def test_what_is_asked_for_must_make_sense(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["node", *words]).exit_code == 2


def test_without_the_extra_the_line_to_install_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    said = CliRunner().invoke(app, ["node", _yaml(tmp_path, settings(tmp_path, 1))])
    assert said.exit_code == 2
    assert "pip install 'mesr[node]'" in said.output


def test_the_command_runs_logs_plainly_and_ends_on_sigterm(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    with Pacs() as pacs:
        path = _yaml(tmp_path, settings(tmp_path, pacs.port, health=None))
        code = "from mesr.cli import main; main()"
        command = [sys.executable, "-c", code, "node", path]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        try:
            about = tmp_path / "spool" / "node.json"
            wait_until(about.is_file, 60)
            send(json.loads(about.read_text())["dicom_port"], scan.paths)
            wait_until(lambda: len(pacs.uids) == 2)
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "complete by quiet, 2 objects" in said
        assert "Traceback" not in said
        assert "ZZPHI" not in said
        assert not about.exists()


def test_mesr_upscale_needs_none_of_it() -> None:
    code = (
        "import sys; sys.modules['pynetdicom'] = sys.modules['pydantic'] = None; import mesr.cli, mesr.cli.upscale, mesr.job;"
        " assert not any(name.startswith('mesr.node') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
