"""Seeded mutants of real objects through the node: answered, and passed on only as pydicom has them.

`MESR_MUTANTS=5500` sends more of them.
"""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mutants import REAL, changed, values_by_pydicom
from peers import CT, MR, Pacs, opened, running, settings, wait_until
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pynetdicom import AE, _config, evt
from pynetdicom.dsutils import split_dataset

pytestmark = pytest.mark.usefixtures("node_libraries")

COUNT = int(os.environ.get("MESR_MUTANTS", "600"))
SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.90",
)
QUICK = [(evt.EVT_CONN_OPEN, opened)]
UNDERSTOOD = {0x0000, 0xA900, 0xC000}


@cache
def _original(name: str) -> Dataset:
    return dcmread(str(get_testdata_file(name, download=False)))


def _mutant(number: int, folder: Path) -> Path:
    """An object of its own series with changes in its data set, under its SOP Instance UID."""
    sound = copy.deepcopy(_original(REAL[number % len(REAL)]))
    uid = sound.SOPInstanceUID = sound.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.9.{number}.1"
    sound.SeriesInstanceUID = f"1.2.826.0.1.9.{number}"
    path = folder / uid
    dcmwrite(path, sound, enforce_file_format=True)
    # A peer says what it sends beside the data set; nothing of the file before it is sent.
    _, offset = split_dataset(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + changed(whole[offset:], number))
    return path


def test_a_mutant_is_answered_and_passed_on_only_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bytes as they are, which would else be decoded before they are sent. It holds for the node as well.
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    sent = tmp_path / "sent"
    sent.mkdir()
    ae = AE(ae_title="SENDER")
    for sop_class in (CT, MR):
        for syntax in SYNTAXES:
            ae.add_requested_context(sop_class, syntax)
    with Pacs(syntaxes=SYNTAXES[:1]) as pacs, running(settings(tmp_path, pacs.port)) as node:
        association = ae.associate("127.0.0.1", node.receiver.port, ae_title="MESR", evt_handlers=QUICK)
        assert association.is_established
        answers = [association.send_c_store(_mutant(n, sent)).get("Status") for n in range(COUNT)]
        association.release()
        assert set(answers) <= UNDERSTOOD
        wait_until(
            lambda: all(
                one.state not in ("receiving", "waiting", "running") and not one.unsent
                for one in node.store.entries()
            ),
            30 + COUNT / 5,
        )
        entries = node.store.entries()
        assert {one.state for one in entries} <= {"made", "refused"}
        assert sum(one.objects for one in entries) == answers.count(0)
        assert sum(one.state == "made" for one in entries) > COUNT // 10
        compared = _compared(pacs, sent)
        assert compared > COUNT // 20


def _compared(pacs: Pacs, sent: Path) -> int:
    """How many of the PACS's objects hold what pydicom makes of the object they come from; all must that can."""
    compared = 0
    for made in pacs.objects.values():
        uid = made.SourceImageSequence[0].ReferencedSOPInstanceUID
        expected = values_by_pydicom(sent / uid)
        found = made.pixel_array * float(made.get("RescaleSlope", 1)) + float(made.get("RescaleIntercept", 0))
        if expected is not None and found.shape[0] == 2 * expected.shape[0]:
            compared += 1
            twice = expected.repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_allclose(found, twice, rtol=1e-5, atol=0.51, err_msg=uid)
    return compared
