"""Training: it learns, it resumes exactly after a kill, it deepens a network without changing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mesr.checkpoint import grow
from mesr.data import reference_pair
from mesr.errors import UsageError, WeightsError
from mesr.grid import fraction
from mesr.losses import compound
from mesr.models import build
from mesr.models import weights as weights_files
from mesr.models.weights import Card
from mesr.progress import Progress
from mesr.recipe import ModelConfig, TrainConfig, ValidationConfig
from mesr.train import train

ARGS = {"blocks": 1, "features": 8, "hidden": 16}


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """A training set of two patients with edges to learn."""
    root = tmp_path / "set"
    root.mkdir()
    chance = np.random.default_rng(0)
    series = []
    for split in ("train", "val"):
        slices = []
        for n in range(2):
            blocks = chance.integers(-900, 900, (16, 16)).repeat(8, axis=0).repeat(8, axis=1)
            np.save(root / f"{split}{n}.npy", blocks.astype(np.int16))
            slices.append(
                {"file": f"{split}{n}.npy", "site": "chest", "shape": [128, 128], "sha256": f"{split}{n}"}
            )
        series.append(
            {"id": split, "patient": split, "split": split, "modality": "CT", "licence": "none", "source": "made",
             "spacing": [5.0, 0.7, 0.7], "window": [-1000, 1000], "slices": slices}
        )  # fmt: skip
    (root / "manifest.json").write_text(json.dumps({"format": 1, "series": series}))
    return root


def _config(root: Path, out: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        name="tiny", set=str(root), out=str(out), model=ModelConfig("mesr", dict(ARGS)), steps=12
    )
    config.sampling.patch, config.sampling.batch = 12, 2
    config.optimiser.warmup = 2
    config.validation = ValidationConfig(every=6, scales=[2.0], slices=1)
    config.precision = "float32"
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def _silent(_: Progress) -> None:
    """No reports."""


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_training_beats_where_it_began(root: Path, tmp_path: Path, optimiser: str) -> None:
    config = _config(root, tmp_path / "run", steps=60)
    config.optimiser.name = optimiser  # type: ignore[assignment]
    config.optimiser.warmup, config.optimiser.rate = 10, 4e-3
    scores: list[float] = []
    weights = train(config, lambda p: scores.extend((p.scores or {}).values()))
    assert scores[-1] > scores[0]
    hr = torch.from_numpy(np.load(root / "val0.npy").astype(np.float32) + 1000)[None, None] / 2000
    pair = reference_pair(hr, fraction(2))
    errors = []
    for name in (weights, "bicubic"):
        model, _ = weights_files.load(name)
        with torch.inference_mode():
            errors.append(float((model(pair.lr, pair.grid) - pair.hr).abs().mean()))
    assert errors[0] < errors[1]


def test_a_weights_file_says_how_it_came_to_be(root: Path, tmp_path: Path) -> None:
    card = weights_files.read_card(train(_config(root, tmp_path / "run"), _silent))
    training = card.about["training"]
    assert (card.name, training["steps"], training["scales"]) == ("tiny", 12, [1.0, 4.0])
    assert training["spacing_mm"] == [0.7, 0.7]
    assert card.about["data"] == [
        {"id": "train", "modality": "CT", "licence": "none", "source": "made", "slices": 2}
    ]


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(root: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, then the same command again: the weights are those of an unbroken run, bit for bit."""
    command = [
        sys.executable, "-m", "mesr.train", "", f"set={root}", "name=tiny", "model.args={blocks: 1, features: 8, hidden: 16}",
        "sampling.patch=12", "sampling.batch=2", "steps=60", "validation.every=1000", "precision=float32",
        "checkpoint_minutes=0.0", "threads=1", "optimiser.name=muon",
    ]  # fmt: skip
    empty = tmp_path / "empty.yaml"
    empty.write_text("{}")
    command[3] = str(empty)
    subprocess.run([*command, f"out={tmp_path / 'whole'}"], check=True, capture_output=True, timeout=200)
    broken = [*command, f"out={tmp_path / 'broken'}"]
    log = tmp_path / "broken" / "checkpoint.safetensors"
    with subprocess.Popen(broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        end = time.monotonic() + 120
        while not log.exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
    assert not (tmp_path / "broken" / "tiny.safetensors").exists()
    subprocess.run(broken, check=True, capture_output=True, timeout=200)
    whole = load_file(tmp_path / "whole" / "tiny.safetensors")
    resumed = load_file(tmp_path / "broken" / "tiny.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_run_s_folder_is_not_mixed_with_another_recipe(root: Path, tmp_path: Path) -> None:
    train(_config(root, tmp_path / "run"), _silent)
    with pytest.raises(UsageError, match="optimiser"):
        changed = _config(root, tmp_path / "run")
        changed.optimiser.rate = 1.0
        train(changed, _silent)


def test_a_run_is_made_longer_only_where_no_rate_so_far_depended_on_its_end(
    root: Path, tmp_path: Path
) -> None:
    def run(name: str, steps: int, schedule: str) -> dict[str, torch.Tensor]:
        config = _config(root, tmp_path / name, steps=steps)
        config.optimiser.schedule = schedule  # type: ignore[assignment]
        return load_file(train(config, _silent))

    run("longer", 4, "constant")
    longer, whole = run("longer", 8, "constant"), run("whole", 8, "constant")
    assert all(torch.equal(longer[key], whole[key]) for key in whole)
    for schedule in ("cosine", "linear"):
        run(schedule, 4, schedule)
        with pytest.raises(UsageError, match="steps"):
            run(schedule, 8, schedule)


def test_the_log_has_every_validation_per_site_and_scale(root: Path, tmp_path: Path) -> None:
    train(_config(root, tmp_path / "run"), _silent)
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines if "psnr" in line] == [
        ["6", "psnr chest ×2"],
        ["12", "psnr chest ×2"],
    ]


def test_fine_tuning_starts_from_weights(root: Path, tmp_path: Path) -> None:
    first = train(_config(root, tmp_path / "first"), _silent)
    second = _config(root, tmp_path / "second", start=str(first), steps=1)
    second.optimiser.rate = 0.0
    found, expected = load_file(train(second, _silent)), load_file(first)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], atol=1e-6, rtol=0)


def test_a_deepened_network_computes_the_same() -> None:
    torch.manual_seed(0)
    small = build({"name": "mesr", "args": ARGS | {"blocks": 2}}).eval()
    card = Card("small", {}, "", {})
    for blocks in (2, 3, 4, 7):
        deep = build({"name": "mesr", "args": ARGS | {"blocks": blocks}}).eval()
        grow(deep, (small, card))
        pair = reference_pair(torch.rand(1, 1, 32, 32), fraction("2.5"))
        with torch.inference_mode():
            torch.testing.assert_close(deep(pair.lr, pair.grid), small(pair.lr, pair.grid), atol=1e-6, rtol=0)


def test_weights_of_another_width_are_no_start() -> None:
    narrow = build({"name": "mesr", "args": ARGS})
    wide = build({"name": "mesr", "args": ARGS | {"features": 16}})
    with pytest.raises(WeightsError, match="do not fit"):
        grow(wide, (narrow, Card("narrow", {}, "", {})))


def test_losses_are_named_and_weighted() -> None:
    sr, hr = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)
    assert float(compound({"l1": 2.0})(sr, hr)) == 1.0
    with pytest.raises(UsageError, match="losses"):
        compound({"l7": 1.0})
