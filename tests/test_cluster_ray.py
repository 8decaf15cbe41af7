"""Studies on a Ray cluster of two nodes: each exactly once, whatever is killed, and as one machine makes it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import require
from dicomweb_server import serving
from outputs import content
from ray_nodes import LOOPBACK, SECONDS, Nodes, descendants, two_nodes, until
from scans import dicom_series

from mesr import job
from mesr.cluster.journal import FOLDER
from mesr.grid import Target

pytestmark = pytest.mark.slow
MARKER = b"ZZPHI"
COUNT = 16
SIZE = (16, 160, 160)
SETTINGS = job.Settings(model="sinc")


@pytest.fixture(name="nodes", scope="module")
def _nodes() -> Iterator[Nodes]:
    require("ray", importlib.util.find_spec("ray") is not None)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture(name="archive", scope="module")
def _archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies in folders named after patients, and a file that is none."""
    folder = tmp_path_factory.mktemp("archive") / "ZZPHI-archive"
    for n in range(COUNT):
        dicom_series(folder / f"ZZPHI-{n}", size=SIZE, study=f"1.2.{n}", series=f"1.2.{n}.1", seed=n)
    (folder / "ZZPHI.dcm").write_bytes(b"not DICOM")
    return folder


@pytest.fixture(name="alone", scope="module")
def _alone(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What one machine makes of them."""
    out = tmp_path_factory.mktemp("alone") / "out"
    found = job.discover([archive], out)
    assert [one.status for one in job.run_all(found, Target.of(scale=2), out, SETTINGS)].count(
        "done"
    ) == COUNT
    return content(out)


@contextmanager
def _driver(nodes: Nodes | None, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`mesr upscale` as a driver; without nodes it starts a cluster of its own."""
    variables = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | environment
    if nodes is not None:
        variables |= {"RAY_ADDRESS": nodes.address, **LOOPBACK}
    words = [sys.executable, "-m", "mesr", "upscale", "--model", "sinc", "--scale", "2", "--cluster"]
    started = subprocess.Popen(
        [*words, *map(str, arguments)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def _done(out: Path) -> list[Path]:
    return list(out.glob("CT-*"))


def test_a_worker_and_then_a_machine_are_lost_and_every_study_is_done_once(
    nodes: Nodes, archive: Path, alone: dict[str, object], tmp_path: Path
) -> None:
    out, report = tmp_path / "ZZPHI-out", tmp_path / "report.json"
    with _driver(nodes, archive, "-o", out, "--report", report) as driver:
        until(lambda: len(_done(out)) >= 3)
        nodes.lose_worker()
        until(lambda: len(_done(out)) >= 6)
        nodes.lose_second()
        left = COUNT - len(_done(out))
        told, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 4, errors
    assert left > 2  # Else nothing was lost that was under way.
    assert content(out) == alone
    studies = json.loads(report.read_text(encoding="utf-8"))["studies"]
    assert [study["status"] for study in studies].count("done") == COUNT
    assert len({study["id"] for study in studies}) == len(studies) == COUNT + 1
    assert f"{COUNT} of {COUNT + 1} done." in told
    assert len(list((out / FOLDER).glob("*.json"))) == COUNT
    kept = [report, *(out / FOLDER).iterdir(), *(path for path in nodes.folder.rglob("*") if path.is_file())]
    assert any("gcs_server" in path.name for path in kept)
    assert [path.name for path in kept if MARKER in path.read_bytes()] == []


def test_a_killed_driver_takes_its_own_cluster_with_it_and_the_next_goes_on(
    archive: Path, alone: dict[str, object], tmp_path: Path, nodes: Nodes
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    folder = nodes.folder / "own"
    with _driver(None, archive, "-o", out, RAY_TMPDIR=str(folder)) as driver:
        until(lambda: len(_done(out)) >= 3)
        started = [pid for pid in descendants(driver.pid) if not _is_agent(pid)]
        assert started
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate(timeout=SECONDS)
    until(lambda: not any(_alive(pid) for pid in started))
    before = len(_done(out))
    assert 3 <= before < COUNT
    with _driver(nodes, archive, "-o", out, "--report", report) as driver:
        told, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 4, errors
    assert content(out) == alone
    assert f"{COUNT} of {COUNT + 1} done, " in told
    studies = json.loads(report.read_text(encoding="utf-8"))["studies"]
    assert len({study["id"] for study in studies}) == len(studies) == COUNT + 1
    assert all(study["seconds"]["total"] > 0 for study in studies if study["status"] == "done")


def test_studies_of_a_list_and_of_a_server_are_done_together(
    nodes: Nodes, archive: Path, alone: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"# two\n{archive}/ZZPHI-0\n\n{archive}/ZZPHI-1\n")
    out = tmp_path / "out"
    with serving(archive / "ZZPHI-2", archive / "ZZPHI-3") as server:
        server.authorization = "Basic ZZPHI-secret"
        with _driver(
            nodes, "--list", tmp_path / "list.txt", "--dicomweb", f"{server.address}/studies?StudyDate=2020-",
            "-o", out, MESR_DICOMWEB_AUTHORIZATION=server.authorization,
        ) as driver:  # fmt: skip
            told, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, errors
    assert "4 of 4 done." in told
    made = content(out)
    assert len({Path(name).parent for name in made}) == 4
    assert made.items() <= alone.items()


def _is_agent(pid: int) -> bool:
    """Whether it is one of Ray's two agents, which do no study and look for their lost cluster for a minute or so."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return name.startswith((b"ray::DashboardAgent", b"ray::RuntimeEnvAgent"))


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
