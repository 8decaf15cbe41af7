"""A series on its way through the node: in, complete, made, out; and everything that may come in between."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from peers import Pacs, free_port, running, send, settings, wait_until
from pydicom import Dataset, dcmread
from scans import Scan, dicom_series, enhanced_file

from mesr import job
from mesr.grid import Target
from mesr.node import spool as spools
from mesr.node.config import CStore
from mesr.node.cstore import CStoreDestination
from mesr.node.store import Entry

pytestmark = pytest.mark.usefixtures("node_libraries")


def _by_itself(folder: Path, out: Path, scale: int = 2) -> dict[str, Dataset]:
    """What `job` makes of a folder without a node, by UID."""
    found = job.discover([folder])
    (outcome,) = job.run_all(found, Target.of(scale=scale), out, job.Settings(model="nearest"))
    assert outcome.error is None
    made = [dcmread(path) for path in outcome.outputs]
    return {str(one.SOPInstanceUID): one for one in made}


def _only(node: Any) -> Entry:
    (entry,) = node.store.entries()
    assert isinstance(entry, Entry)
    return entry


def _is_delivered(node: Any) -> bool:
    entries = node.store.entries()
    return bool(entries) and all(entry.state == "made" and not entry.unsent for entry in entries)


def test_a_series_gets_its_super_resolved_neighbour_in_the_same_study(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(4, 16, 20))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        assert send(node.receiver.port, scan.paths) == [0] * 4
        wait_until(lambda: _is_delivered(node))
        expected = _by_itself(tmp_path / "in", tmp_path / "alone")
        assert {uid: one.PixelData for uid, one in pacs.objects.items()} == {
            uid: one.PixelData for uid, one in expected.items()
        }
        (made,) = pacs.series.values()
        source = dcmread(scan.paths[0])
        assert {one.StudyInstanceUID for one in made} == {source.StudyInstanceUID}
        assert made[0].PatientName == source.PatientName
        assert made[0].Rows == 32
        assert node.store.entries()[0].rule == "twice"


def test_the_same_series_twice_is_one_job_and_one_neighbour(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        assert send(node.receiver.port, scan.paths) == [0] * 3
        wait_until(lambda: _is_delivered(node))
        assert send(node.receiver.port, scan.paths) == [0] * 3
        assert _only(node).state == "made"
        assert len(pacs.received) == 3
        counted = node.counters.values()
        assert counted["objects_received_total", ()] == 3
        assert counted["objects_repeated_total", ()] == 3
        assert counted["jobs_total", (("state", "made"),)] == 1


def test_a_series_sent_again_after_the_node_forgot_it_gets_the_same_identifiers(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, keep_hours=0)) as node:
        for _ in range(2):
            before = len(pacs.received)
            assert send(node.receiver.port, scan.paths) == [0] * 3
            wait_until(lambda before=before: len(pacs.received) == before + 3)  # type: ignore[misc]
            wait_until(lambda: not node.store.entries())
            assert list(node.spool.series.iterdir()) == list(node.spool.results.iterdir()) == []
        assert len(pacs.uids) == 3


def test_a_late_slice_reopens_its_series(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(5, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        # A hole in the middle: not one slice of it may go out.
        without = [path for k, path in enumerate(scan.paths) if k != 2]
        assert send(node.receiver.port, without) == [0] * 4
        wait_until(lambda: _only(node).state == "refused")
        assert _only(node).code == "missing-slices"
        assert pacs.received == []
        assert send(node.receiver.port, scan.paths[2:3]) == [0]
        wait_until(lambda: _is_delivered(node))
        assert pacs.uids == set(_by_itself(tmp_path / "in", tmp_path / "alone"))


def test_a_slice_that_comes_while_its_series_is_worked_on_is_in_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = dicom_series(tmp_path / "in", size=(4, 12, 12))
    run_all = job.run_all
    statuses: list[int | None] = []

    def and_then_one_more(*args: Any, **kwargs: Any) -> Any:
        yield from run_all(*args, **kwargs)
        if not statuses:
            statuses.extend(send(node.receiver.port, scan.paths[3:]))

    monkeypatch.setattr(job, "run_all", and_then_one_more)
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        send(node.receiver.port, scan.paths[:3])
        wait_until(lambda: _is_delivered(node))
        assert statuses == [0]
        monkeypatch.undo()
        assert pacs.uids == set(_by_itself(tmp_path / "in", tmp_path / "alone"))


def test_a_count_completes_a_series_at_once(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 12))
    rule = {"name": "three", "model": "nearest", "scale": 2, "count": 3}
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, rules=[rule], quiet_seconds=3600)) as node:
        send(node.receiver.port, scan.paths)
        wait_until(lambda: len(pacs.uids) == 3)


def test_the_number_of_objects_that_a_header_tells_completes_a_series(tmp_path: Path) -> None:
    def numbered(data: Dataset, k: int) -> None:
        data.NumberOfSeriesRelatedInstances = 3

    scan = dicom_series(tmp_path / "in", size=(3, 12, 12), edit=numbered)
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, quiet_seconds=3600)) as node:
        send(node.receiver.port, scan.paths[:2])
        assert (_only(node).state, _only(node).expected) == ("receiving", 3)
        send(node.receiver.port, scan.paths[2:])
        wait_until(lambda: len(pacs.uids) == 3)


def test_rules_send_by_description_and_called_title(tmp_path: Path) -> None:
    def described(data: Dataset, k: int) -> None:
        data.SeriesDescription = "Thorax LUNG 2.0"

    lung = dicom_series(tmp_path / "lung", size=(2, 12, 12), series="1.2.3.1", edit=described)
    head = dicom_series(tmp_path / "head", size=(2, 12, 12), series="1.2.3.2")
    rules = [
        {"name": "lung", "description": "*lung*", "model": "nearest", "scale": 3},
        {"name": "fine", "called": ["FINE"], "model": "nearest", "scale": 4},
    ]
    listening = {"calling": ["SENDER"], "called": ["MESR", "FINE"], "port": 0}
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, rules=rules, listen=listening)) as node:
        send(node.receiver.port, lung.paths)
        send(node.receiver.port, head.paths)
        send(node.receiver.port, head.paths, called="FINE")
        wait_until(lambda: len(pacs.uids) == 4)
        assert sorted(made[0].Rows for made in pacs.series.values()) == [36, 48]
        states = sorted((entry.called, entry.rule, entry.state, entry.code) for entry in node.store.entries())
        assert states == [
            ("FINE", "fine", "made", ""),
            ("MESR", "", "ignored", "no-rule"),
            ("MESR", "lung", "made", ""),
        ]


def test_a_result_that_comes_back_is_not_made_finer_again(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 12))
    (outcome,) = job.run_all(
        job.discover([tmp_path / "in"]), Target.of(scale=2), tmp_path / "own", job.Settings(model="nearest")
    )
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        assert send(node.receiver.port, outcome.outputs) == [0, 0]
        wait_until(lambda: _only(node).state == "ignored")
        assert _only(node).code == "own-result"
        assert pacs.received == []


def test_compressed_and_magnetic_resonance_series_are_taken(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 40, 40), modality="MR", syntax="1.2.840.10008.1.2.4.90")
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        assert send(node.receiver.port, scan.paths) == [0, 0]
        wait_until(lambda: len(pacs.uids) == 2)
        assert pacs.uids == set(_by_itself(tmp_path / "in", tmp_path / "alone"))


def test_a_full_disk_is_told_to_the_sender_and_what_was_acknowledged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, quiet_seconds=3600)) as node:
        assert send(node.receiver.port, scan.paths[:1]) == [0]
        for broken in ("fsync", "sync"):
            with monkeypatch.context() as full:
                where = os if broken == "fsync" else spools
                full.setattr(where, broken, _no_space)
                assert send(node.receiver.port, scan.paths[1:]) == [0xA700, 0xA700]
            assert _only(node).objects == 1
            assert list(node.spool.incoming.iterdir()) == []
        assert send(node.receiver.port, scan.paths[1:]) == [0, 0]
        assert len(node.store.names(_only(node).id)) == 3


def test_too_little_room_is_told_to_the_sender(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, min_free_mib=1 << 30)) as node:
        assert send(node.receiver.port, scan.paths) == [0xA700]
        assert node.state()[0] is False
        assert node.counters.values()["objects_refused_total", (("status", "A700"),)] == 1


def test_a_result_that_finds_no_room_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        monkeypatch.setattr("mesr.files.sync", _no_space)
        send(node.receiver.port, scan.paths)
        wait_until(lambda: node.store.entries() and _only(node).code == "unwritable")
        wait_until(lambda: _only(node).attempts >= 2)
        monkeypatch.undo()
        wait_until(lambda: _is_delivered(node))
        assert len(pacs.uids) == 2


def test_a_queue_that_cannot_be_written_for_a_while_loses_no_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    failures: list[str] = []

    def full(*_: object, **__: object) -> bool:
        failures.append("once more")
        if len(failures) == 2:
            monkeypatch.undo()
        raise sqlite3.OperationalError("database or disk is full")

    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        monkeypatch.setattr(node.store, "made", full)
        send(node.receiver.port, scan.paths)
        wait_until(lambda: _is_delivered(node))
        assert len(failures) == 2
        assert len(pacs.uids) == 2


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_pacs_that_is_down_for_the_whole_run_gets_everything_when_it_is_up(tmp_path: Path) -> None:
    scans = [dicom_series(tmp_path / f"in{n}", size=(2, 12, 12), series=f"1.2.3.{n}") for n in range(5)]
    port = free_port()
    values = settings(tmp_path, port)
    with running(values) as node:
        for scan in scans:
            assert send(node.receiver.port, scan.paths) == [0, 0]
        wait_until(lambda: node.store.counts()["made"] == 5)
        wait_until(lambda: node.senders[0].trouble)
        assert node.store.backlog() == {"pacs": 10}
        assert "pacs: " not in str(node.state()[1]["destinations"]["pacs"])
        assert 'mesr_node_destination_up{destination="pacs"} 0' in node.metrics()
    # And it may be another process of the node that finds the PACS up again.
    with Pacs(port) as pacs, running(values) as node:
        wait_until(lambda: not node.store.backlog())
        wait_until(lambda: 'mesr_node_destination_up{destination="pacs"} 1' in node.metrics())
        assert len(pacs.uids) == len(pacs.received) == 10


def test_a_pacs_that_stops_in_the_midst_of_an_answer_is_not_waited_for(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = settings(tmp_path, silent.getsockname()[1])
        values["destinations"][0]["timeout_seconds"] = 0.5
        with running(values) as node:
            assert send(node.receiver.port, scan.paths) == [0]
            silent.settimeout(20)
            peer, _ = silent.accept()
            with peer:
                # The head of an A-ASSOCIATE-AC of 256 bytes.
                peer.sendall(b"\x02\0\0\0\x01\0")
                wait_until(lambda: node.senders[0].trouble)
            assert node.store.backlog() == {"pacs": 1}


def test_what_a_pacs_refuses_is_not_sent_and_holds_up_nothing_else(tmp_path: Path) -> None:
    first = dicom_series(tmp_path / "a", size=(3, 12, 12), series="1.2.3.1")
    second = dicom_series(tmp_path / "b", size=(2, 12, 12), series="1.2.3.2")
    refused = dict(zip(_by_itself(tmp_path / "a", tmp_path / "alone"), (0xA700, 0xA900, 0xC000), strict=True))
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        # A warning (B000) counts as sent.
        pacs.answer = lambda uid: refused.get(uid, 0xB000)
        send(node.receiver.port, first.paths)
        wait_until(lambda: node.store.refusals() == {"status A700": 1, "status A900": 1, "status C000": 1})
        send(node.receiver.port, second.paths)
        wait_until(lambda: len(pacs.uids) == 2)
        wait_until(lambda: node.store.backlog() == {"pacs": 3})
        pacs.answer = lambda uid: 0x0000
        wait_until(lambda: not node.store.backlog())
        assert refused.keys() <= pacs.uids


def test_an_object_that_ends_its_association_holds_up_no_other(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(4, 12, 12))
    poison = min(_by_itself(tmp_path / "in", tmp_path / "alone"))
    aborting = True
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        take = pacs.answer

        def answer(uid: str) -> int:
            if aborting and uid == poison:
                raise ConnectionAbortedError
            return take(uid)

        pacs.answer = answer
        send(node.receiver.port, scan.paths)
        wait_until(lambda: len(pacs.uids) == 3)
        wait_until(lambda: node.store.backlog() == {"pacs": 1})
        assert node.store.refusals() == {"no answer": 1}
        assert poison not in pacs.uids
        aborting = False
        wait_until(lambda: not node.store.backlog())


def test_an_answer_reaches_the_request_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pynetdicom's own loop is not paused at all, rather than for a moment too short."""

    class NeverPaused(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            # As long as the sender needs to find the loop marked as paused, and no longer.
            self._moment.wait(0.002)
            return True

        _moment = threading.Event()

    opened = CStoreDestination._opened

    def awake(self: CStoreDestination, event: Any) -> None:
        event.assoc._reactor_checkpoint = NeverPaused()
        opened(self, event)

    monkeypatch.setattr(CStoreDestination, "_opened", awake)
    scan = dicom_series(tmp_path / "in", size=(30, 12, 12))
    with Pacs() as pacs:
        about = settings(tmp_path, pacs.port)["destinations"][0] | {"timeout_seconds": 2}
        answer = CStoreDestination(CStore.model_validate(about)).send(scan.paths)
    assert (answer.sent, answer.trouble) == (scan.paths, "")


def test_a_study_of_a_refused_kind_is_kept_and_can_be_tried_again(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    coarser = {"name": "coarser", "model": "nearest", "spacing": 5}
    with Pacs() as pacs:
        with running(settings(tmp_path, pacs.port, rules=[coarser])) as node:
            send(node.receiver.port, scan.paths)
            wait_until(lambda: _only(node).state == "refused")
            assert _only(node).code == "coarser"
        with running(settings(tmp_path, pacs.port)) as node:
            assert node.store.retry(_only(node))
            wait_until(lambda: len(pacs.uids) == 2)


def test_missing_weights_are_the_configurations_fault(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 12, 12))
    rule = {"name": "typo", "model": "mesr-0", "scale": 2}
    with Pacs() as pacs, running(settings(tmp_path, pacs.port, rules=[rule])) as node:
        send(node.receiver.port, scan.paths)
        wait_until(lambda: _only(node).state == "failed")
        assert _only(node).code == "no-weights"


def test_a_decoder_that_crashes_leaves_the_file_out_of_the_queue(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(2, 40, 40), syntax="1.2.840.10008.1.2.4.90")
    good = dicom_series(
        tmp_path / "good", size=(2, 40, 40), series="1.2.3.9", syntax="1.2.840.10008.1.2.4.90"
    )
    bad = scan.paths[0]
    data = dcmread(bad)
    data.PixelData = data.PixelData[:40] + bytes(len(data.PixelData) - 40)
    data.save_as(bad)
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        assert send(node.receiver.port, scan.paths) == [0, 0]
        wait_until(lambda: _only(node).state == "refused")
        assert send(node.receiver.port, good.paths) == [0, 0]
        wait_until(lambda: len(pacs.uids) == 2)


def test_a_stopped_node_leaves_its_work_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 12))
    with Pacs() as pacs:
        with running(settings(tmp_path, pacs.port)) as node:
            run_all = job.run_all

            def slow(*args: Any, **kwargs: Any) -> Any:
                node.stop()
                node.worker.give_up.set()
                return run_all(*args, **kwargs)

            monkeypatch.setattr(job, "run_all", slow)
            send(node.receiver.port, scan.paths)
            wait_until(lambda: node.worker.give_up.is_set() and _only(node).state == "waiting")
            assert _only(node).attempts == 0
            assert not [path for path in node.spool.results.rglob("*") if path.is_file()]
        monkeypatch.undo()
        with running(settings(tmp_path, pacs.port)):
            wait_until(lambda: len(pacs.uids) == 3)


def test_an_enhanced_object_is_a_series_by_itself(tmp_path: Path) -> None:
    from pynetdicom import AE

    scan: Scan = enhanced_file(tmp_path / "in" / "one.dcm", size=(3, 12, 12))
    ae = AE(ae_title="SENDER")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.1.2.1")
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        association = ae.associate("127.0.0.1", node.receiver.port, ae_title="MESR")
        assert association.send_c_store(dcmread(scan.paths[0])).Status == 0
        association.release()
        wait_until(lambda: len(pacs.uids) == 3)
