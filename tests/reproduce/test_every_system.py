"""Every row of Table 2, published ones and those with a critic included, trains, is measured and comes back from its file."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import require
from safetensors.torch import save_file
from small_source import BRIEF, small_source

from mesr.losses import vgg
from mesr.models import weights
from mesr.reproduce import chosen, publish, worse
from mesr.reproduce.budgets import BUDGETS
from mesr.reproduce.plan import on_equal_terms
from mesr.reproduce.running import Runner
from mesr.reproduce.sources import source
from mesr.reproduce.state import vgg_of
from mesr.reproduce.systems import SYSTEMS
from mesr.reproduce.telling import Telling
from mesr.reproduce.trainings import Setting


@pytest.mark.slow
def test_every_system_trains_is_measured_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vgg, "WIDTHS", (4, 8, 8, 8, 8))
    torch.manual_seed(0)
    small = tmp_path / "vgg.safetensors"
    save_file(vgg.Vgg(vgg.ARCHITECTURES["vgg16"]).state_dict(), small, metadata={"vgg": "vgg16"})
    budget = replace(BRIEF, steps=2, tuning=2, batch=2, scales=("1.5", "2"))
    setting = Setting(budget, small_source(tmp_path / "scans"), str(small))
    runner = Runner(setting, tmp_path / "out", device="cpu", threads=1, telling=Telling(lambda _: None))
    rows = chosen(["table2"], runner)
    assert {row.system for row in rows} >= SYSTEMS.keys()
    fates = runner.run(rows)
    assert {(fate.status, fate.sentence) for fate in fates.values()} == {("done", "")}
    for row in rows:
        for training in row.trainings:
            assert (
                weights.load(runner.networks.path(training))[1].weights_id
                == runner.state.trainings[training.name].weights_id
            )
    assert vgg_of(runner.out) == str(small)
    publish(["table2", "figures"], runner, tmp_path / "results.md", drawing=True)
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    for part in ("MESR as printed (compound)", "](results/pelvis-invented.webp)", "what holds"):
        assert part in text


@pytest.mark.slow
def test_a_smoke_run_s_networks_are_better_at_the_end_than_at_the_start(tmp_path: Path) -> None:
    """Of every system that L1 trains, on equal terms; the command says which of all the others are not."""
    require("pydicom-data", importlib.util.find_spec("data_store") is not None)
    setting = Setting(BUDGETS["smoke"], source(None), "vgg19")
    runner = Runner(setting, tmp_path, device="cpu", telling=Telling(lambda _: None))
    rows = [
        row
        for row in chosen(["table2"], runner)
        if on_equal_terms(row) and row.trainings and not row.trainings[0].after and row.scales[0] <= "2"
    ]
    trained = {system.name for system in SYSTEMS.values() if system.equal is not None and not system.origin}
    assert {row.system for row in rows} == trained
    assert {fate.status for fate in runner.run(rows).values()} == {"done"}
    assert {one.steps for one in runner.state.trainings.values()} == {200}
    assert len(runner.state.trainings) == len(rows)
    assert worse(rows, runner) == []
    for one in runner.state.trainings.values():
        assert one.course[-1][1] > one.course[0][1]
