"""Which networks the pictures of a loss hold against each other, and what is drawn of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_source import BRIEF, small_source

from mesr.reproduce import figures
from mesr.reproduce.charts import Point
from mesr.reproduce.findings import Finding
from mesr.reproduce.perception import DETAIL, PSNR
from mesr.reproduce.plan import EQUAL, EXPERIMENTS, plan
from mesr.reproduce.rows import Row
from mesr.reproduce.running import Runner
from mesr.reproduce.state import Trained, digest
from mesr.reproduce.trainings import Setting, compound, settings


def _rows(tmp_path: Path) -> list[Row]:
    return [
        row for row in plan(EXPERIMENTS, Setting(BRIEF, small_source(tmp_path), "vgg19")) if row.trainings
    ]


def _names(pair: tuple[Row, Row] | None) -> tuple[str, ...]:
    return tuple(row.method for row in pair or ())


def test_the_compound_loss_is_held_against_as_many_steps_of_l1(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    assert _names(figures._compound(rows)) == ("smoke-mesr-l1-more", "smoke-mesr-compound")
    less = [row for row in rows if row.method != "smoke-mesr-l1-more"]
    assert _names(figures._compound(less)) == ("smoke-mesr", "smoke-mesr-compound")
    assert figures._compound([row for row in rows if row.system != "mesr-compound"]) is None


def test_the_critic_alone_is_held_against_all_but_it(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    own = ("smoke-mesr-lite-perceptual-loss", "smoke-mesr-lite-compound-loss")
    assert _names(figures._critic(rows, compound(BRIEF))) == own
    assert figures._critic([row for row in rows if row.method != own[0]], compound(BRIEF)) is None


def test_a_network_stands_beside_what_a_critic_made_of_it(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    titles = {row.system: row.title for row in rows if row.group == EQUAL and not row.control}
    seen = [
        Finding(site, titles[system], "w", measure, value)
        for system, psnr, detail in (
            ("mesr-compound", 39.0, -2.0),
            ("mesr", 40.0, -6.0),
            ("rrdb", 38.0, -5.0),
        )
        for site, off in (("pelvis", 0.0), ("liver", 2.0))
        for measure, value in ((PSNR, psnr + off), (DETAIL, detail + off))
    ]
    found = figures.places(rows, seen)
    assert found[titles["rrdb"]] == Point(titles["rrdb"], -4.0, 39.0)
    assert found[titles["mesr"]] == Point(titles["mesr"], -5.0, 41.0, own=True)
    compound = Point(titles["mesr-compound"], -1.0, 40.0, own=True, before=found[titles["mesr"]])
    assert found[titles["mesr-compound"]] == compound


def test_a_course_is_drawn_from_where_a_network_knows_something(tmp_path: Path) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    runner = Runner(setting, tmp_path / "out")
    (row,) = (one for one in plan(["table2"], setting) if one.method == "smoke-mesr")
    (one,) = row.trainings
    runner.state.trainings[one.name] = Trained(
        digest(settings(one)), "w", 4, 4, 1, 0.0, [(0, 12.0), (2, 30.0), (4, 31.0)]
    )
    assert figures.curves([row], runner) == {row.title: [(2, 30.0), (4, 31.0)]}


def test_a_picture_stays_where_a_network_that_it_shows_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    runner = Runner(setting, tmp_path / "out")
    rows = [row for row in plan(["table2"], setting) if row.group == EQUAL and row.system in figures.SHOWN]
    for row in rows:
        runner.state.fate(row).status = "done"
    asked: list[tuple[str, int]] = []

    def illustrate(models: list[Path], *_: object, scale: str, **__: object) -> list[Path]:
        asked.append((scale, len(models)))
        return [tmp_path / f"pelvis-x{scale}.webp"]

    monkeypatch.setattr(figures, "illustrate", illustrate)
    monkeypatch.setattr(figures, "PICTURED", ("2", "2.5"))
    drawn = figures.pictures(rows, runner, tmp_path, {"pelvis-x2.webp", "psnr-work.png"})
    assert [path.name for _, path in drawn] == ["pelvis-x2.5.webp"]
    assert [scale for scale, _ in asked] == ["2.5"]
    monkeypatch.setattr(runner.networks, "has", lambda one: True)
    monkeypatch.setattr(runner.networks, "path", lambda one: Path(one.name))
    drawn = figures.pictures(rows, runner, tmp_path, {"pelvis-x2.webp", "psnr-work.png"})
    assert [path.name for _, path in drawn] == ["pelvis-x2.webp", "pelvis-x2.5.webp"]
    assert [count for _, count in asked] == [2, 6, 5]
