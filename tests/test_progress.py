"""What a run logs, and what a resumed one drops of it."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest
from conftest import require_module

from mesr.progress import Logs, Progress, plain_lines


def _rows(out: Path) -> list[tuple[int, str, float]]:
    with (out / "log.csv").open(newline="") as file:
        return [(int(one["step"]), one["quantity"], float(one["value"])) for one in csv.DictReader(file)]


def test_means_are_logged_every_hundred_steps_at_each_validation_and_at_the_end(tmp_path: Path) -> None:
    logs = Logs(tmp_path, 0, 230)
    for step in range(1, 231):
        logs.write(step, {"loss": float(step)}, 1e-3, {"pelvis ×2": 40.0} if step == 150 else None)
    rows = _rows(tmp_path)
    assert [(step, value) for step, name, value in rows if name == "loss"] == [
        (100, 50.5), (150, 125.5), (200, 175.5), (230, 215.5),
    ]  # fmt: skip
    assert [step for step, name, _ in rows if name == "rate"] == [100, 150, 200, 230]
    assert [step for step, name, _ in rows if name.startswith("psnr")] == [150]


def test_a_resumed_run_drops_what_it_repeats_and_keeps_the_step_it_goes_on_from(tmp_path: Path) -> None:
    logs = Logs(tmp_path, 0, 300)
    for step in (100, 200, 300):
        logs.write(step, {"loss": 1.0}, 1e-3, None)
    Logs(tmp_path, 200, 300)
    assert sorted({step for step, _, _ in _rows(tmp_path)}) == [100, 200]


def test_tensorboard_keeps_the_step_a_resumed_run_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_module("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Logs(tmp_path, 0, 300)
    for step in (100, 200, 300):
        first.write(step, {"loss": 1.0}, 1e-3, None)
    assert first.board is not None
    first.board.close()
    # Files are read in the order of their names, which begin with the second they were made in.
    later = time.time() + 10
    monkeypatch.setattr("time.time", lambda: later)
    again = Logs(tmp_path, 200, 300)
    again.write(300, {"loss": 2.0}, 1e-3, None)
    assert again.board is not None
    again.board.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(one.step, one.value) for one in found.Scalars("loss")] == [(100, 1.0), (200, 1.0), (300, 2.0)]


def test_a_short_run_without_validation_still_says_its_loss(capsys: pytest.CaptureFixture[str]) -> None:
    report = plain_lines()
    for step in (1, 2, 3):
        report(Progress(step, 3, 0.5, 0.0))
    assert capsys.readouterr().out == "step 3 of 3, loss 0.50000, 0 min left\n"
