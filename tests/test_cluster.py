"""What a cluster is told and tells, in one process: units, the journal, a worker. `test_cluster_ray` has the cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicomweb_server import serving
from outputs import content
from scans import dicom_series
from typer.testing import CliRunner

import mesr
from mesr import job
from mesr.cli import app
from mesr.cluster import driver, engine
from mesr.cluster.dicomweb import Client
from mesr.cluster.driver import Told, queried, run_all
from mesr.cluster.engine import Pool
from mesr.cluster.fates import Fate, from_json, to_json
from mesr.cluster.journal import FOLDER, Journal
from mesr.cluster.work import Unit, units_of
from mesr.cluster.worker import Plan, Worker
from mesr.errors import MesrError, MissingExtra, UsageError
from mesr.grid import Target
from mesr.io import Found
from mesr.io.listing import listed
from mesr.limits import STUDY_ATTEMPTS
from mesr.models import weights

TARGET = Target.of(scale=2)
SETTINGS = job.Settings(model="bicubic", modality="CT")
NOTHING = Found([], [], [])


@pytest.fixture(name="quiet", autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker changes its process for good; here that is the tests'."""
    monkeypatch.setattr("logging.disable", lambda _: None)
    monkeypatch.setattr("warnings.simplefilter", lambda _: None)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)


@pytest.fixture(name="here")
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of one worker in this process."""

    def spread(units: list[Unit], plan: Plan, pool: Pool) -> Iterator[tuple[Unit, list[Fate]]]:
        worker = Worker(plan)
        for unit in units:
            yield unit, from_json(worker(unit.to_row())["fates"])

    monkeypatch.setattr(driver, "spread", spread)
    monkeypatch.setattr(driver, "joined", nullcontext)


def _plan(out: Path, run: str = "first", **changes: Any) -> Plan:
    plan = Plan(TARGET, out, SETTINGS, "bicubic", Journal(out), run)
    return replace(plan, **changes)


def _unit(folder: Path, out: Path) -> Unit:
    (unit,) = units_of(job.discover([folder], out), out, SETTINGS)
    return unit


def _all(found: Found, out: Path, settings: job.Settings = SETTINGS) -> list[Told]:
    return list(run_all(found, [], TARGET, out, settings, Pool()))


@pytest.mark.usefixtures("here")
def test_every_kind_of_input_gives_what_one_machine_gives(tmp_path: Path) -> None:
    """Folders, two files of one name and content, a zip, a file name that is no text, and one that is no image."""
    given = tmp_path / "in"
    dicom_series(given / "ct", size=(2, 12, 10))
    for name in ("a", "b"):
        (given / name).mkdir()
        np.save(given / name / "scan.npy", np.ones((1, 8, 9), np.float32))
    odd = given / os.fsdecode(b"caf\xe9.npy")
    np.save(odd, np.full((1, 8, 9), 2.0, np.float32))
    (given / "bad.nii").write_bytes(b"no")
    dicom_series(tmp_path / "zipped", size=(2, 10, 12), series="1.2.3.4", study="1.2.3")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for path in sorted((tmp_path / "zipped").iterdir()):
            archive.write(path, path.name)
    inputs = [given, given / "a" / "scan.npy", given / "b" / "scan.npy", tmp_path / "more.zip"]
    settings = replace(SETTINGS, format="nifti")
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    outcomes = list(job.run_all(job.discover(inputs, alone), TARGET, alone, settings))
    told = _all(job.discover(inputs, spread), spread, settings)
    assert [one.fate.study["id"] for one in told] == [outcome.id for outcome in outcomes]
    assert [one.fate.study["status"] for one in told] == [outcome.status for outcome in outcomes]
    assert content(spread) == content(alone)
    assert len(content(spread)) == 7
    for one, outcome in zip(told, outcomes, strict=True):
        expected = outcome.output and spread / outcome.output.relative_to(alone)
        assert one.place == expected


@pytest.mark.usefixtures("here")
def test_what_an_earlier_call_did_is_kept_unless_anything_differs(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    out = tmp_path / "out"

    def call(settings: job.Settings = SETTINGS, target: Target = TARGET) -> tuple[bool, str | None]:
        (one,) = run_all(job.discover([tmp_path / "in"], out), [], target, out, settings, Pool())
        return one.before, one.fate.error and one.fate.error.code

    assert call() == (False, None)
    assert call() == (True, None)
    assert call(replace(SETTINGS, force=True)) == (False, None)
    assert call(target=Target.of(scale=3)) == (False, "exists")
    assert call(target=Target.of(scale=3)) == (
        False,
        "exists",
    )  # It may not take for its own what was in its way.
    assert call() == (True, None)
    assert call(replace(SETTINGS, force=True)) == (False, None)
    assert call() == (True, None)
    next((tmp_path / "in").iterdir()).touch()
    assert call() == (False, "exists")


@pytest.mark.usefixtures("here")
def test_a_result_that_was_removed_is_made_again(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.ones((1, 8, 9), np.float32))
    found = job.discover([tmp_path / "in.npy"])
    for _ in range(2):
        (one,) = _all(found, tmp_path / "out.npy")
        assert one.fate.done
        assert not one.before
        (tmp_path / "out.npy").unlink()


@pytest.mark.usefixtures("here")
def test_an_input_is_no_output(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones((1, 8, 9), np.float32))
    np.save(tmp_path / "two.npy", np.ones((1, 8, 9), np.float32))
    before = (tmp_path / "two.npy").read_bytes()
    settings = replace(SETTINGS, force=True)
    found = job.discover([tmp_path / "one.npy", tmp_path / "two.npy"])
    told = _all(found, tmp_path, settings)
    assert [one.fate.error and one.fate.error.code for one in told] == ["output-is-input"] * 2
    assert (tmp_path / "two.npy").read_bytes() == before


@pytest.mark.parametrize("run", ["first", "second"], ids=["by another worker", "by the next call"])
def test_a_lost_worker_s_study_is_done_again_over_what_it_left(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost just after its result was renamed into place, before anything could be said of it."""
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    out = tmp_path / "out"
    unit = _unit(tmp_path / "in", out)
    worker = Worker(_plan(out))
    with monkeypatch.context() as lost:
        lost.setattr(Journal, "end", _killed)
        with pytest.raises(KeyboardInterrupt):
            worker(unit.to_row())
    (place,) = out.glob("CT-*")
    before = content(out)
    half = out / f".0123456789ab.{place.name}"
    half.mkdir()
    (half / "00001.dcm").write_bytes(b"half")
    (fate,) = from_json(Worker(_plan(out, run))(unit.to_row())["fates"])
    assert fate.done
    assert content(out) == before


def test_what_lay_there_before_is_not_taken_for_a_lost_worker_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    out = tmp_path / "out"
    unit = _unit(tmp_path / "in", out)
    Path(unit.places[0]).mkdir(parents=True)
    (Path(unit.places[0]) / "mine.dcm").write_bytes(b"precious")
    with monkeypatch.context() as lost:
        lost.setattr(Journal, "end", _killed)
        with pytest.raises(KeyboardInterrupt):
            Worker(_plan(out))(unit.to_row())
    (fate,) = from_json(Worker(_plan(out))(unit.to_row())["fates"])
    assert fate.error
    assert fate.error.code == "exists"
    assert (Path(unit.places[0]) / "mine.dcm").read_bytes() == b"precious"


def test_a_study_that_costs_every_worker_is_given_up_and_tried_again_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    out = tmp_path / "out"
    unit = _unit(tmp_path / "in", out)
    with monkeypatch.context() as lost:
        lost.setattr(job, "run", _killed)
        for _ in range(STUDY_ATTEMPTS):
            with pytest.raises(KeyboardInterrupt):
                Worker(_plan(out))(unit.to_row())
        (fate,) = from_json(Worker(_plan(out))(unit.to_row())["fates"])
    assert fate.error
    assert fate.error.code == "lost-worker"
    assert fate.exit_code == 3
    (fate,) = from_json(Worker(_plan(out, "next"))(unit.to_row())["fates"])
    assert fate.done


def test_a_study_whose_row_was_lost_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    out = tmp_path / "out"
    unit = _unit(tmp_path / "in", out)
    first = Worker(_plan(out))(unit.to_row())
    monkeypatch.setattr(job, "run", _killed)
    assert Worker(_plan(out))(unit.to_row()) == first


def test_a_worker_believed_dead_does_not_undo_what_its_successor_did(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.locked():
        slow = journal.begin("a", "key", "run")
        quick = journal.begin("a", "key", "run")
        done = Fate({"status": "done", "error": None}, 0)
        journal.end("a", quick, [done])
        journal.end("a", slow, [Fate({"status": "refused", "error": None}, 3)])
    assert journal.finished("a", "key") == [done]
    assert journal.finished("a", "another") is None


def test_a_journal_that_cannot_be_read_counts_for_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.locked():
        for text in ("", "[]", "{}", '{"format": 1}', '{"format": 2}', '{"format": 1, "fates": [3]}', "\x00"):
            (tmp_path / FOLDER / "a.json").write_text(text)
            assert journal.finished("a", "key") is None
            assert journal.begin("a", "key", "run").attempt == 1


def test_two_calls_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path).locked(), pytest.raises(UsageError) as refused, Journal(tmp_path).locked():
        pass
    assert refused.value.code == "in-use"
    with Journal(tmp_path).locked():
        pass


def test_the_weights_are_read_once_by_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def load(name: str) -> Any:
        read.append(name)
        return plain(name)

    plain = weights.load
    monkeypatch.setattr(weights, "load", load)
    worker = Worker(_plan(tmp_path / "out"))
    for n in range(3):
        dicom_series(tmp_path / f"{n}", size=(1, 12, 10), study=f"1.{n}", series=f"1.{n}.1")
        (fate,) = from_json(worker(_unit(tmp_path / f"{n}", tmp_path / "out").to_row())["fates"])
        assert fate.done
    assert read == ["bicubic"]


def test_a_bug_is_a_row_without_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("ZZPHI^MARKER")

    dicom_series(tmp_path / "in", size=(1, 12, 10))
    monkeypatch.setattr("mesr.cluster.worker.find", broken)
    row = Worker(_plan(tmp_path / "out"))(_unit(tmp_path / "in", tmp_path / "out").to_row())
    (fate,) = from_json(row["fates"])
    assert (fate.study["status"], fate.exit_code) == ("failed", 1)
    assert "ZZPHI" not in row["fates"]


def test_another_version_on_a_worker_is_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(1, 12, 10))
    row = Worker(_plan(tmp_path / "out", version="0.0.0"))(_unit(tmp_path / "in", tmp_path / "out").to_row())
    (fate,) = from_json(row["fates"])
    assert fate.error
    assert fate.error.code == "other-version"


@pytest.mark.usefixtures("here")
def test_series_of_a_server_are_done_in_folders_as_if_they_had_been_files(tmp_path: Path) -> None:
    for n, modality in enumerate(("CT", "MR", "CT")):
        dicom_series(
            tmp_path / "pacs" / f"{n}",
            size=(2, 12, 10),
            modality=modality,
            study="1.2",
            series=f"1.2.{n}",
            seed=n,
        )
    settings = replace(SETTINGS, modality=None)
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    list(job.run_all(job.discover([tmp_path / "pacs"]), TARGET, alone, settings))
    with serving(tmp_path / "pacs") as server:
        server.series["1.2", "1.2.9"] = ("SR", [])
        client = Client.of(f"{server.address}/series")
        for before in (False, True):
            units, notes = queried(client, spread)
            told = list(run_all(NOTHING, units, TARGET, spread, settings, Pool(), client))
            assert [(one.fate.done, one.before) for one in told] == [(True, before)] * 3
            assert all(one.place and one.place.is_dir() for one in told)
        assert [note.code for note in notes] == ["other-series"]
        asked = [path for path in server.asked if path.endswith("/1.2.0")]
        assert len(asked) == 1
    assert content(spread) == content(alone)


@pytest.mark.usefixtures("here")
def test_a_series_of_which_the_server_gives_a_part_is_refused_and_asked_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    dicom_series(tmp_path / "pacs", size=(3, 12, 10), study="1.2", series="1.2.0")
    out = tmp_path / "out"
    with serving(tmp_path / "pacs") as server:
        client = Client.of(f"{server.address}/series")
        server.missing = 1
        for code in ("dicomweb-incomplete", None):
            units, _ = queried(client, out)
            (one,) = run_all(NOTHING, units, TARGET, out, SETTINGS, Pool(), client)
            assert (one.fate.error and one.fate.error.code) == code
            server.missing = 0


@pytest.mark.usefixtures("here")
def test_what_was_done_of_a_series_is_kept_where_the_rest_was_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "pacs/whole", size=(3, 12, 10), study="1.2", series="1.2.0")
    uneven = dicom_series(tmp_path / "pacs/uneven", size=(4, 14, 14), study="1.2", series="1.2.0", seed=1)
    uneven.paths[1].unlink()
    out = tmp_path / "out"

    def call(settings: job.Settings = SETTINGS) -> list[tuple[str | None, bool]]:
        units, _ = queried(client, out)
        told = run_all(NOTHING, units, TARGET, out, settings, Pool(), client)
        return [(one.fate.error and one.fate.error.code, one.before) for one in told]

    with serving(tmp_path / "pacs") as server:
        client = Client.of(f"{server.address}/series")
        for before in (False, True, True):
            assert call() == [("uneven-slices", False), (None, before)]
        assert call(replace(SETTINGS, force=True)) == [("uneven-slices", False), (None, False)]
        assert call() == [("uneven-slices", False), (None, True)]
        (result,) = (path for path in out.iterdir() if path.name != FOLDER)
        shutil.rmtree(result)
        assert call() == [("uneven-slices", False), (None, False)]
        assert call(replace(SETTINGS, difference=True)) == [("uneven-slices", False), ("exists", False)]


@pytest.mark.usefixtures("here")
def test_a_series_that_is_gone_from_the_server_is_a_row(tmp_path: Path) -> None:
    dicom_series(tmp_path / "pacs", size=(2, 12, 10), study="1.2", series="1.2.0")
    with serving(tmp_path / "pacs") as server:
        client = Client.of(f"{server.address}/series")
        units, _ = queried(client, tmp_path / "out")
        server.series.clear()
        (one,) = run_all(NOTHING, units, TARGET, tmp_path / "out", SETTINGS, Pool(), client)
    assert one.fate.error
    assert one.fate.error.code == "dicomweb-refused"


def test_a_fate_comes_back_as_it_was() -> None:
    fate = Fate.refusal(
        "0" * 12, "CT", "dicom", MesrError("memory", "There was not enough.", "Ask for less.")
    )
    assert from_json(to_json([fate])) == [fate]
    assert fate.error
    assert (fate.error.code, str(fate.error)) == ("memory", "There was not enough. Ask for less.")
    assert json.loads(to_json([fate]))[0]["exit_code"] == 3


def test_a_list_names_inputs_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("# studies\n\none\n  two words  \n/three\ncafé\n".encode() + b"\xe9\n")
    names = ["one", "two words", "/three", "café", os.fsdecode(b"\xe9")]
    assert listed(tmp_path / "list") == [tmp_path / name for name in names]
    for text, code in ((b"# nothing\n", "empty-list"), (b"a\0b", "empty-list"), (None, "not-found")):
        (tmp_path / "other").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "other").write_bytes(text)
        with pytest.raises(MesrError) as refused:
            listed(tmp_path / "other")
        assert refused.value.code == code


@pytest.mark.parametrize("pool", [Pool(0), Pool(cpus=0), Pool(gpus=-1.0), Pool(gpus=1.5)])
def test_a_pool_that_makes_no_sense_is_refused(pool: Pool) -> None:
    with pytest.raises(UsageError) as refused:
        pool.check()
    assert refused.value.code == "cluster-share"


def test_a_missing_ray_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "in.npy", np.ones((1, 8, 9), np.float32))
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'mesr\[cluster\]'"):
        engine.require()
    arguments = [
        "upscale",
        str(tmp_path / "in.npy"),
        "-o",
        str(tmp_path / "out"),
        "--scale",
        "2",
        "--cluster",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "pip install 'mesr[cluster]'" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x", "--dicomweb", "https://pacs/studies"], "--cluster"),
        (["x", "--workers", "2"], "--cluster"),
        (["x", "--worker-gpus", "1"], "--cluster"),
        ([], "No input"),
        (["--cluster"], "No input"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], told: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["upscale", *arguments, "-o", str(tmp_path / "out"), "--scale", "2"])
    assert done.exit_code == 2
    assert told in done.output


def test_a_list_serves_one_machine_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.ones((1, 8, 9), np.float32))
    (tmp_path / "list").write_text("a.npy\nb.npy\n")
    arguments = [
        "--list",
        str(tmp_path / "list"),
        "-o",
        str(tmp_path / "out"),
        "--size",
        "20",
        "--modality",
        "ct",
    ]
    done = CliRunner().invoke(app, ["upscale", *arguments, "--model", "bicubic"])
    assert done.exit_code == 0, done.output
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"a.npy", "b.npy"}


def test_one_machine_needs_nothing_of_the_cluster(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.ones((1, 8, 9), np.float32))
    code = (
        "import sys; from mesr.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('ray', 'pyarrow', 'pandas') or 'mesr.cluster' in m])"
    )
    arguments = [
        "upscale",
        str(tmp_path / "in.npy"),
        "-o",
        str(tmp_path / "o.npy"),
        "--scale",
        "2",
        "--modality",
        "ct",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--model", "bicubic"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert mesr.read(tmp_path / "o.npy").geometry.size == (1, 16, 18)


def _killed(*_: object, **__: object) -> None:
    """As SIGKILL ends it: nothing that follows is done."""
    raise KeyboardInterrupt
