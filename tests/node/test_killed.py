"""`kill -9` at more than twenty of the node's steps: whatever was acknowledged comes out, once and whole."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from peers import Pacs, send, settings, wait_until
from pydicom import dcmread
from scans import dicom_series

from mesr import job
from mesr.grid import Target

pytestmark = [pytest.mark.usefixtures("node_libraries"), pytest.mark.slow]

KILLS, SLICES = 20, 3
ROUNDS = 24
"""Some more than kills: a node may have ended before its step came."""


class _Process:
    """A node in a process, to be killed before its `last` step."""

    def __init__(self, values: dict[str, Any], last: int) -> None:
        import node_to_kill

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["node_to_kill"])
        self.steps = context.Value("i", 0)
        self._about = Path(values["spool"]) / "node.json"
        self._about.unlink(missing_ok=True)
        self.process: ForkServerProcess = context.Process(
            target=node_to_kill.run, args=(values, last, self.steps), daemon=True
        )
        self.process.start()
        wait_until(lambda: self._about.is_file() or not self.alive, 60)

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def send(self, files: list[Path]) -> list[Path]:
        """Those of the files that were not acknowledged."""
        if not self.alive or not self._about.is_file():
            return files
        statuses = send(json.loads(self._about.read_text())["dicom_port"], files)
        return [path for path, status in zip(files, statuses, strict=True) if status != 0]

    def stop(self) -> int | None:
        """SIGTERM, and the status it ends with."""
        if self.process.pid is not None and self.alive:
            self.process.terminate()
        self.process.join(30)
        return self.process.exitcode


@pytest.mark.timeout(240)
def test_twenty_kills_lose_nothing_double_nothing_and_leave_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.11 looks only there for what is to be imported once, before the processes are forked.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(dict.fromkeys(filter(None, sys.path))))
    folders = [tmp_path / f"in{n}" for n in range(ROUNDS + 1)]
    files = [
        list(dicom_series(folder, size=(SLICES, 24, 24), series=f"1.2.3.{n}", seed=n).paths)
        for n, folder in enumerate(folders)
    ]
    with Pacs() as pacs:
        rule = {"name": "twice", "model": "nearest", "scale": 2, "count": SLICES}
        values = settings(tmp_path, pacs.port, rules=[rule], quiet_seconds=3600, health=None)
        # One series without a kill, to know how many steps its way has.
        node = _Process(values, 0)
        assert node.send(files[0]) == []
        wait_until(lambda: len(pacs.uids) == SLICES)
        assert node.stop() == 0
        steps = node.steps.value
        assert steps > 2 * ROUNDS

        unacknowledged: list[Path] = []
        killed = 0
        for n in range(1, ROUNDS + 1):
            before = len(pacs.uids)
            node = _Process(values, 1 + (n - 1) * steps // ROUNDS)
            unacknowledged += node.send(files[n])
            wait_until(lambda node=node, before=before: not node.alive or len(pacs.uids) >= before + SLICES)  # type: ignore[misc]
            killed += node.stop() == -signal.SIGKILL
        assert killed >= KILLS

        node = _Process(values, 0)
        assert node.send(unacknowledged) == []
        wait_until(lambda: len(pacs.uids) == (ROUNDS + 1) * SLICES)
        assert node.stop() == 0

    expected = {}
    for n, folder in enumerate(folders):
        (outcome,) = job.run_all(
            job.discover([folder]), Target.of(scale=2), tmp_path / f"out{n}", job.Settings(model="nearest")
        )
        for path in outcome.outputs:
            data = dcmread(path)
            expected[str(data.SOPInstanceUID)] = data.PixelData
    # Not one object more or other, and of those that were sent again each time the same.
    assert {uid: one.PixelData for uid, one in pacs.objects.items()} == expected
    for uid, data in pacs.received:
        assert expected[uid] in data
    spool = Path(values["spool"])
    assert list((spool / "incoming").iterdir()) == []
    assert [path for path in spool.rglob(".*")] == []
    assert len(list((spool / "series").rglob("*.dcm"))) == (ROUNDS + 1) * SLICES


def test_a_series_that_ends_the_process_is_tried_ever_more_seldom(tmp_path: Path) -> None:
    from mesr.node.config import NodeConfig
    from mesr.node.counters import Counters
    from mesr.node.spool import Spool
    from mesr.node.store import Arrival, Store
    from mesr.node.work import Worker

    retry = {"first_seconds": 1000, "most_seconds": 3000}
    config = NodeConfig.model_validate(settings(tmp_path, 1, retry=retry))
    spool = Spool(config.spool)
    for attempt in range(4):
        store = Store(spool.database)
        worker = Worker(config, spool, store, Counters())
        if attempt == 0:
            store.add(Arrival("a", "b", "SENDER", "MESR", None), lambda: tmp_path / "file")
            (entry,) = store.entries()
            assert store.complete(entry)
        worker.recover()
        (entry,) = store.entries("waiting")
        assert entry.attempts == attempt
        assert worker._backoff.waits("a") is (attempt > 1)
        assert store.claim(entry)
        store.close()
