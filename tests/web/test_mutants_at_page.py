"""Seeded mutants of real files through the page: answered in a sentence, or shown and given back as pydicom has them.

`MESR_MUTANTS=5500` sends more of them.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import mutant, values_by_pydicom
from starlette.testclient import TestClient

from mesr.inference import Options
from mesr.web.app import Service, create_app

HOME = "http://127.0.0.1:8642"
COUNT = int(os.environ.get("MESR_MUTANTS", "1100"))
SLOW = 10.0


@pytest.fixture(name="bugs")
def _bugs() -> list[Exception]:
    return []


@pytest.fixture(name="client")
def _client(bugs: list[Exception]) -> Iterator[TestClient]:
    service = Service(compute=Options("cpu", "float32"), on_bug=bugs.append)
    with TestClient(create_app(service), base_url=HOME, headers={"origin": HOME}) as client:
        yield client


def test_a_mutant_is_refused_or_shown_and_given_back_as_it_says(
    client: TestClient, bugs: list[Exception], tmp_path: Path
) -> None:
    shown = given = compared = 0
    for number in range(COUNT):
        began = time.perf_counter()
        path = mutant(number, tmp_path)
        answer = client.post("/api/studies", files=[("files", (path.name, path.read_bytes()))])
        study = _told(answer, number)
        if study is not None:
            for series in range(len(study["series"])):
                place = f"/api/studies/{study['id']}"
                seen = _shown(client, place, series, number)
                made = _made(client, place, series, number, tmp_path / "made.dcm")
                shown, given = shown + (seen is not None), given + (made is not None)
                expected = values_by_pydicom(path) if path.suffix == ".dcm" else None
                if expected is not None and seen is not None and seen.shape == expected.shape:
                    # A picture's numbers are packed: in steps of its range over 65,534, or of 1/8 HU.
                    step = max(0.126, float(np.ptp(expected)) / 60_000)
                    np.testing.assert_allclose(seen, expected, atol=step, rtol=0, err_msg=str(number))
                if expected is not None and made is not None and made.shape[0] == 2 * expected.shape[0]:
                    compared += 1
                    twice = expected.repeat(2, axis=0).repeat(2, axis=1)
                    np.testing.assert_allclose(made, twice, rtol=1e-5, atol=0.51, err_msg=str(number))
            client.delete(f"/api/studies/{study['id']}")
        assert bugs == [], number
        assert time.perf_counter() - began < SLOW, number
    assert min(shown, given, compared) > COUNT // 20


def _told(answer: Any, number: int) -> Any:
    """What an answer holds; None for a refusal, which must be a sentence with a code, and no bug's."""
    if answer.status_code < 400:
        return answer.json()
    told = answer.json()
    assert answer.status_code < 500, (number, told)
    assert told["code"] != "internal", number
    assert told["sentence"], number
    return None


def _shown(client: TestClient, place: str, series: int, number: int) -> np.ndarray | None:
    """The first slice as the browser gets it."""
    if _told(client.get(f"{place}/series/{series}"), number) is None:
        return None
    answer = client.get(f"{place}/series/{series}/slices/0")
    if answer.status_code >= 400:
        _told(answer, number)
        return None
    about = json.loads(answer.headers["x-mesr-frame"])
    (plane,) = about["planes"]
    stored = np.frombuffer(answer.content, "<i2").reshape(about["rows"], about["columns"])
    return np.asarray(stored * plane["slope"] + plane["intercept"])


def _made(client: TestClient, place: str, series: int, number: int, path: Path) -> np.ndarray | None:
    """The first slice of the result in the download, twice as fine by the nearest pixel; None for NIfTI."""
    order = {"series": series, "scale": "2", "model": "nearest"}
    work = _told(client.post(f"{place}/jobs", json=order), number)
    end = time.monotonic() + SLOW
    while work is not None and work["state"] in ("waiting", "running"):
        assert time.monotonic() < end, number
        time.sleep(0.002)
        work = client.get(f"/api/jobs/{work['id']}").json()
    if work is None or work["state"] != "done":
        assert work is None or (work["state"] == "refused" and work["error"]["code"] != "internal"), number
        return None
    if "dicom" not in work["kinds"]:
        return None
    answer = client.get(f"/api/jobs/{work['id']}/dicom")
    assert answer.status_code == 200, number
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        path.write_bytes(packed.read(min(packed.namelist())))
    return values_by_pydicom(path)
