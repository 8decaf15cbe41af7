"""`mesr reproduce` as it is typed: what it lists, what it refuses, and that the same command goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from small_source import BRIEF, small_source
from typer.testing import CliRunner, Result

from mesr.cli import app, console
from mesr.errors import MesrError, UsageError
from mesr.models import weights
from mesr.reproduce import networks, running, sources
from mesr.reproduce.budgets import BUDGETS
from mesr.results import read_results

ROWS = ["table2", "--only", "bicubic, srcnn"]
"""An interpolation and the smallest network, each on equal terms and as published."""


class Done(NamedTuple):
    """A command that ran: its scans, its folder, and what it said."""

    scans: Path
    out: Path
    result: Result


@pytest.fixture(name="brief", scope="module", autouse=True)
def _brief() -> Iterator[None]:
    """Under the smallest budget four steps, and no folder of scans in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGETS, "smoke", BRIEF)
        patch.delenv("MESR_DATA", raising=False)
        yield


@pytest.fixture(name="scans", scope="module")
def _scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three scans with the files that say what they are."""
    folder = tmp_path_factory.mktemp("reproduce") / "scans"
    made = small_source(folder)
    for name, spec in (("scans", made.training), ("val", made.val), ("test", made.test)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(asdict(spec) | {"root": "."}), encoding="utf-8")
    return folder


@pytest.fixture(name="done", scope="module")
def _done(brief: None, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("done") / "out"
    return Done(scans, out, _run(*ROWS, "--data", scans, "-o", out, "--device", "cpu"))


@pytest.fixture(name="refused")
def _refused(monkeypatch: pytest.MonkeyPatch) -> list[MesrError]:
    """The errors that were shown: their codes are for programs, the command line shows sentences."""
    found: list[MesrError] = []
    shown = console.show

    def show(error: MesrError, about: str = "") -> None:
        found.append(error)
        shown(error, about)

    monkeypatch.setattr(console, "show", show)
    return found


def _run(*arguments: object, **environment: str) -> Result:
    """The command with these arguments, on a terminal wide enough for a row."""
    words = ["reproduce", *map(str, arguments)]
    return CliRunner().invoke(app, words, env={"COLUMNS": "400", **environment})


def _listed(told: Result) -> dict[str, list[str]]:
    """The words of each row of a list, by its id."""
    lines = [line.split() for line in told.stdout.splitlines()]
    return {words[-1]: words for words in lines if words[-1].startswith("table2/")}


def _nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was done already")

    monkeypatch.setattr(networks, "train", refuse)
    monkeypatch.setattr(running.evaluate, "run", refuse)


def test_rows_are_trained_and_measured_and_the_page_tells_them(done: Done) -> None:
    assert done.result.exit_code == 0, done.result.output
    page = done.out / "results.md"
    assert f"{page}: 4 rows, 0 failed" in done.result.stdout
    assert "[1 of 4] table2/on-equal-terms/bicubic" in done.result.stderr
    text = page.read_text(encoding="utf-8")
    assert "smoke run" in text
    assert any(line.startswith("| SRCNN (smoke)") for line in text.splitlines())
    models = {one.model for one in read_results(done.out / "results.csv")}
    assert models == {"bicubic", "smoke-srcnn-x2", "smoke-srcnn-x2-published"}


def test_the_same_command_does_nothing_twice(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    _nothing_again(monkeypatch)
    before = (done.out / "results.csv").read_bytes()
    again = _run(*ROWS, "--data", done.scans, "-o", done.out, "--device", "cpu")
    assert again.exit_code == 0, again.output
    assert "4 rows, 0 failed" in again.stdout
    assert " of 4]" not in again.stderr
    assert (done.out / "results.csv").read_bytes() == before


def test_the_page_is_written_where_it_is_asked_for(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nothing_again(monkeypatch)
    page = tmp_path / "pages" / "mine.md"
    asked = _run(*ROWS, "--data", done.scans, "-o", done.out, "--page", page, "--device", "cpu")
    assert asked.exit_code == 0, asked.output
    assert f"{page}: 4 rows" in asked.stdout
    assert "| bicubic" in page.read_text(encoding="utf-8")


def test_the_environment_names_the_folder_as_well(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder holds a reproduction from these scans: from others it would be refused."""
    _nothing_again(monkeypatch)
    asked = _run(*ROWS, "-o", done.out, "--device", "cpu", MESR_DATA=str(done.scans))
    assert asked.exit_code == 0, asked.output
    assert "4 rows, 0 failed" in asked.stdout


def test_an_option_counts_before_the_environment(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nothing_again(monkeypatch)
    nowhere = str(tmp_path / "nowhere")
    asked = _run(*ROWS, "--data", done.scans, "-o", done.out, "--device", "cpu", MESR_DATA=nowhere)
    assert asked.exit_code == 0, asked.output


def test_a_list_tells_what_would_run_and_runs_nothing(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nothing_again(monkeypatch)
    told = _run(*ROWS, "--list", "--data", scans, "-o", tmp_path / "out", "--device", "cpu")
    assert told.exit_code == 0, told.output
    assert "4 rows; training takes about" in told.stdout
    assert told.stdout.rstrip().endswith("on this machine as it is now, measuring not counted.")
    lines = _listed(told)
    assert len(lines) == 4
    assert all("planned" in words for words in lines.values())
    assert str(BRIEF.steps) in lines["table2/on-equal-terms/smoke-srcnn-x2"]
    assert not (tmp_path / "out").exists()


def test_a_list_tells_what_is_done(done: Done) -> None:
    told = _run("table2", "--list", "--only", "bicubic", "--data", done.scans, "-o", done.out)
    assert told.exit_code == 0, told.output
    lines = _listed(told)
    assert len(lines) == 2
    assert all("done" in words for words in lines.values())


def test_shipped_weights_can_be_chosen(scans: Path, tmp_path: Path) -> None:
    told = _run(
        "table2",
        "--list",
        "--only",
        weights.ALIASES["mesr-lite"],
        "--budget",
        "cpu",
        "--data",
        scans,
        "-o",
        tmp_path / "out",
    )
    assert told.exit_code == 0, told.output
    assert len(_listed(told)) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table2", "--only", "bicubic,srcn"], "No system is called 'srcn'."),
        (["table4"], "No experiment is called 'table4'."),
    ],
)
def test_what_is_in_no_plan_is_refused(
    arguments: list[str], sentence: str, scans: Path, tmp_path: Path, refused: list[MesrError]
) -> None:
    asked = _run(*arguments, "--data", scans, "-o", tmp_path / "out")
    assert asked.exit_code == UsageError.exit_code == 2
    assert [error.code for error in refused] == ["not-in-plan"]
    assert f"error: {sentence} Known are: " in asked.stderr
    assert not (tmp_path / "out").exists()


def test_a_training_that_ended_no_better_is_told(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nothing_again(monkeypatch)
    out = tmp_path / "out"
    shutil.copytree(done.out, out)
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    for name, one in plan["trainings"].items():
        one["course"] = [[0, 30.0], [4, 29.0 if name == "smoke-srcnn-x2" else 31.0]]
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    told = _run(*ROWS, "--data", done.scans, "-o", out, "--device", "cpu")
    assert told.exit_code == 0, told.output
    (note,) = (line for line in told.stdout.splitlines() if line.startswith("note: "))
    assert note == "note: PSNR in validation did not rise in: smoke-srcnn-x2"


@pytest.mark.parametrize("listing", [[], ["--list"]])
def test_a_choice_of_no_rows_is_refused(
    listing: list[str], scans: Path, tmp_path: Path, refused: list[MesrError]
) -> None:
    asked = _run("table3", "--only", "srcnn", *listing, "--data", scans, "-o", tmp_path / "out")
    assert asked.exit_code == 2
    assert [error.code for error in refused] == ["nothing-to-run"]
    assert "srcnn is in table3" in asked.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_told_as_such(tmp_path: Path, refused: list[MesrError]) -> None:
    asked = _run("table2", "--data", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert asked.exit_code == 3
    assert [(error.code, error.path) for error in refused] == [("not-found", tmp_path / "nowhere")]


@pytest.mark.parametrize("named", ["by an option", "by the environment"])
def test_a_folder_that_nothing_describes_is_refused(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[MesrError]
) -> None:
    monkeypatch.setattr(sources, "CONFIGS", tmp_path / "no checkout")
    option, environment = (
        (["--data", tmp_path], {}) if named == "by an option" else ([], {"MESR_DATA": str(tmp_path)})
    )
    asked = _run("table2", "-o", tmp_path / "out", *option, **environment)
    assert asked.exit_code == 2
    assert [(error.code, error.path) for error in refused] == [("no-specification", tmp_path)]
    assert "scans.yaml" in asked.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_scans_is_not_gone_on_with(
    done: Done, scans: Path, refused: list[MesrError]
) -> None:
    asked = _run(*ROWS, "--budget", "cpu", "--data", scans, "-o", done.out)
    assert asked.exit_code == 3
    assert [error.code for error in refused] == ["other-plan"]


def test_rows_that_fail_are_told_and_decide_the_exit_status(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 where others are done, 3 where none is."""

    def broken(*_: Any, **__: Any) -> Path:
        raise MesrError("diverged", "It was made to fail.")

    monkeypatch.setattr(networks, "train", broken)
    for only, status, summary in (("bicubic,srcnn", 4, "2 rows, 2 failed"), ("srcnn", 3, "0 rows, 2 failed")):
        asked = _run("table2", "--only", only, "--data", scans, "-o", tmp_path / only, "--device", "cpu")
        assert asked.exit_code == status, asked.output
        assert summary in asked.stdout
        assert "table2/on-equal-terms/smoke-srcnn-x2: It was made to fail. (diverged)" in asked.stdout
        assert (tmp_path / only / "results.md").is_file()


def test_a_stop_is_told_and_the_same_command_goes_on(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stopped(*_: Any, **__: Any) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(networks, "train", stopped)
        asked = _run(*ROWS, "--data", scans, "-o", out, "--device", "cpu")
    assert asked.exit_code == console.INTERRUPTED
    assert f"Stopped; what is done is in {out / 'results.md'}." in asked.stdout
    assert "| bicubic" in (out / "results.md").read_text(encoding="utf-8")
    assert (
        _run("table2", "--only", "bicubic", "--list", "--data", scans, "-o", out).stdout.count("done ") == 2
    )
