"""The node beside a real PACS: Orthanc from Debian, started on loopback for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from orthanc import Orthanc, orthanc
from peers import free_port, running, send, settings, wait_until
from pydicom import dcmread
from scans import dicom_series

pytestmark = [pytest.mark.usefixtures("node_libraries"), pytest.mark.slow]


def _to(kind: str, pacs: Orthanc) -> dict[str, Any]:
    if kind == "stow-rs":
        return {"type": kind, "name": "pacs", "url": f"http://127.0.0.1:{pacs.http}/dicom-web"}
    return {"type": kind, "name": "pacs", "host": "127.0.0.1", "port": pacs.dicom, "called": "ORTHANC"}


def test_a_series_in_orthanc_gets_its_neighbours_in_the_same_study_by_both_ways(tmp_path: Path) -> None:
    """100 slices at the rate Orthanc sends them, results back by C-STORE and by STOW-RS, all of it twice."""
    scan = dicom_series(tmp_path / "in", size=(100, 32, 32))
    rules = [
        {"name": "twice", "called": ["TWICE"], "model": "nearest", "scale": 2, "destinations": ["store"]},
        {"name": "thrice", "called": ["THRICE"], "model": "nearest", "scale": 3, "destinations": ["stow"]},
    ]
    listening = {"calling": ["ORTHANC"], "called": ["TWICE", "THRICE"], "port": 0}
    with orthanc(tmp_path / "orthanc") as pacs:
        ways = [_to("c-store", pacs) | {"name": "store"}, _to("stow-rs", pacs) | {"name": "stow"}]
        values = settings(tmp_path, 1, rules=rules, listen=listening, destinations=ways)
        with running(values) as node:
            for path in scan.paths:
                pacs.ask("/instances", path.read_bytes())
            (source,) = pacs.ask("/series")
            for _ in range(2):
                for title in ("TWICE", "THRICE"):
                    about = {"AET": title, "Host": "127.0.0.1", "Port": node.receiver.port}
                    pacs.ask(f"/modalities/{title.lower()}", about, "PUT")
                    pacs.ask(f"/modalities/{title.lower()}/store", source.encode())
                wait_until(lambda: pacs.ask("/statistics")["CountInstances"] == 300, 60)
                wait_until(lambda: not node.store.backlog())
            assert [entry.objects for entry in node.store.entries()] == [100, 100]
            assert node.counters.values()["objects_received_total", ()] == 200
            assert node.counters.values()["objects_repeated_total", ()] == 200
        statistics = pacs.ask("/statistics")
        assert (statistics["CountStudies"], statistics["CountSeries"]) == (1, 3)
        assert statistics["CountInstances"] == 300
        by_rows: dict[int, set[str]] = {}
        for one in pacs.objects():
            assert one.StudyInstanceUID == dcmread(scan.paths[0]).StudyInstanceUID
            assert len(one.PixelData) == one.Rows * one.Columns * 2
            by_rows.setdefault(one.Rows, set()).add(str(one.SOPInstanceUID))
        assert {rows: len(uids) for rows, uids in by_rows.items()} == {32: 100, 64: 100, 96: 100}


def test_orthanc_may_be_down_for_the_whole_run(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 32, 32))
    with orthanc(tmp_path / "orthanc") as pacs:
        values = settings(
            tmp_path, 1, destinations=[_to("c-store", pacs), _to("stow-rs", pacs) | {"name": "web"}]
        )
        values["destinations"][0] |= {"port": free_port()}
        values["destinations"][1] |= {"url": f"http://127.0.0.1:{free_port()}/dicom-web"}
        with running(values) as node:
            assert send(node.receiver.port, scan.paths) == [0] * 3
            wait_until(lambda: all(sender.trouble for sender in node.senders))
            assert node.store.backlog() == {"pacs": 3, "web": 3}
        values["destinations"] = [_to("c-store", pacs), _to("stow-rs", pacs) | {"name": "web"}]
        with running(values) as node:
            wait_until(lambda: not node.store.backlog())
        assert pacs.ask("/statistics")["CountInstances"] == 3
