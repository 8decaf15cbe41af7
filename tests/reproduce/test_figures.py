"""Which networks the pictures of a loss hold against each other."""

from __future__ import annotations

from pathlib import Path

from small_source import BRIEF, small_source

from mesr.reproduce import figures
from mesr.reproduce.plan import EXPERIMENTS, plan
from mesr.reproduce.rows import Row
from mesr.reproduce.trainings import Setting


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
    assert _names(figures._critic(rows)) == own
    assert figures._critic([row for row in rows if row.method != own[0]]) is None
