"""Every row of Table 2, published ones and those with a critic included, trains, is measured and comes back from its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_source import BRIEF, small_source

from mesr.losses import vgg
from mesr.models import weights
from mesr.reproduce import chosen, publish
from mesr.reproduce.running import Runner, Telling
from mesr.reproduce.systems import SYSTEMS
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
                weights.load(runner.path(training))[1].weights_id
                == runner.state.trainings[training.name].weights_id
            )
    publish(["table2", "figures"], runner, tmp_path / "results.md", drawing=True)
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    for part in ("MESR as printed (compound)", "](results/pelvis-invented.png)", "what holds"):
        assert part in text
