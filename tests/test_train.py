"""Training: it learns, it resumes exactly after a kill, it deepens a network without changing it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_run import ARGS, silent, small_run, small_set

from mesr.checkpoint import grow
from mesr.data import load_slices, reference_pair
from mesr.errors import MesrError, OutputError, UsageError, WeightsError
from mesr.grid import fraction
from mesr.losses import Ramp, l1, vgg
from mesr.losses.vgg import ARCHITECTURES, Vgg
from mesr.models import build
from mesr.models import weights as weights_files
from mesr.models.weights import Card
from mesr.progress import Progress
from mesr.recipe import TrainConfig, ValidationConfig
from mesr.train import train, validate


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return small_set(tmp_path / "set")


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_training_beats_where_it_began(root: Path, tmp_path: Path, optimiser: str) -> None:
    config = small_run(root, tmp_path / "run", steps=60)
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
    card = weights_files.read_card(train(small_run(root, tmp_path / "run"), silent))
    training = card.about["training"]
    assert (card.name, training["steps"], training["scales"]) == ("tiny", 12, [1.0, 4.0])
    assert training["spacing_mm"] == [0.7, 0.7]
    (learnt,) = card.about["data"]
    assert len(learnt.pop("digest")) == 16
    assert learnt == {"id": "train", "modality": "CT", "licence": "none", "source": "made", "slices": 2}


def test_a_weights_file_says_what_its_patches_covered(root: Path, tmp_path: Path) -> None:
    config = small_run(root, tmp_path / "run")
    config.sampling.scales, config.sampling.continuous, config.sampling.coarser = [1.5, 4.0], 0.25, 1.5
    training = weights_files.read_card(train(config, silent)).about["training"]
    assert training["scales"] == [1.0, 4.0]
    assert training["listed_scales"] == {"scales": [1.5, 4.0], "share": 0.75}
    assert training["spacing_mm"] == pytest.approx([0.7, 1.05])
    config = small_run(root, tmp_path / "other")
    config.sampling.scales = [1.5, 4.0]
    training = weights_files.read_card(train(config, silent)).about["training"]
    assert training["scales"] == [1.5, 4.0]


@pytest.mark.slow
@pytest.mark.parametrize("losses", ["{l1: 1.0}", "{l1: 1.0, adversarial: 0.01}"], ids=["l1", "adversarial"])
def test_a_killed_run_goes_on_exactly(root: Path, tmp_path: Path, losses: str) -> None:
    """SIGKILL in the middle, then the same command again: the weights are those of an unbroken run, bit for bit."""
    command = [
        sys.executable, "-m", "mesr.train", "", f"set={root}", "name=tiny", "model.args={blocks: 1, features: 8, hidden: 16}",
        "sampling.patch=12", "sampling.batch=2", "sampling.high=2", "steps=30", "validation.every=1000", "precision=float32",
        "checkpoint_minutes=0.0", "threads=1", "optimiser.name=muon", f"losses={losses}", "critic.features=2",
        "critic.steps=2",
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
    train(small_run(root, tmp_path / "run"), silent)
    with pytest.raises(UsageError, match="optimiser"):
        changed = small_run(root, tmp_path / "run")
        changed.optimiser.rate = 1.0
        train(changed, silent)


def test_a_run_is_made_longer_only_where_no_rate_so_far_depended_on_its_end(
    root: Path, tmp_path: Path
) -> None:
    def run(name: str, steps: int, schedule: str) -> dict[str, torch.Tensor]:
        config = small_run(root, tmp_path / name, steps=steps)
        config.optimiser.schedule = schedule  # type: ignore[assignment]
        return load_file(train(config, silent))

    run("longer", 4, "constant")
    longer, whole = run("longer", 8, "constant"), run("whole", 8, "constant")
    assert all(torch.equal(longer[key], whole[key]) for key in whole)
    for schedule in ("cosine", "linear"):
        run(schedule, 4, schedule)
        with pytest.raises(UsageError, match="steps"):
            run(schedule, 8, schedule)


def test_the_log_has_every_validation_per_site_and_scale(root: Path, tmp_path: Path) -> None:
    train(small_run(root, tmp_path / "run"), silent)
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines if "psnr" in line] == [
        ["0", "psnr chest ×2"],
        ["6", "psnr chest ×2"],
        ["12", "psnr chest ×2"],
    ]


def test_a_short_run_logs_its_loss_and_rate_too(root: Path, tmp_path: Path) -> None:
    train(small_run(root, tmp_path / "run"), silent)
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    for quantity in ("loss", "loss l1", "rate"):
        assert [line.split(",")[0] for line in lines if f",{quantity}," in line] == ["6", "12"]


def test_a_checkpoint_that_cannot_be_read_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(UsageError, match="cannot be read") as refused:
        train(small_run(root, tmp_path / "run"), silent)
    assert refused.value.code == "other-run"


def test_fine_tuning_starts_from_weights(root: Path, tmp_path: Path) -> None:
    first = train(small_run(root, tmp_path / "first"), silent)
    second = small_run(root, tmp_path / "second", start=str(first), steps=1)
    second.optimiser.rate = 0.0
    found, expected = load_file(train(second, silent)), load_file(first)
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


def test_settings_that_make_no_sense_are_refused_before_anything_is_written(
    root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="steps must be 1 or more, found 0"):
        train(small_run(root, tmp_path / "run", steps=0), silent)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nowhere = [Path("/proc/x")] if Path("/proc").is_dir() else []
    for out in (tmp_path / "file", tmp_path / "file" / "run", *nowhere):
        with pytest.raises(OutputError) as refused:
            train(small_run(root, out), silent)
        assert refused.value.code == "unwritable"


def test_a_run_without_validation_needs_nothing_to_validate_on(root: Path, tmp_path: Path) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["series"] = manifest["series"][:1]
    (root / "manifest.json").write_text(json.dumps(manifest))
    config = small_run(root, tmp_path / "run", validation=ValidationConfig(scales=[]))
    seen: list[object] = []
    assert train(config, lambda p: seen.append(p.scores)).is_file()
    assert seen == [None] * 12
    assert "psnr" not in (tmp_path / "run" / "log.csv").read_text()


def test_unknown_losses_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="losses"):
        train(small_run(tmp_path / "no set", tmp_path / "run", losses={"l7": 1.0}), silent)


def _compound(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> TrainConfig:
    """A run with all three terms, on a VGG of few maps and a small critic."""
    monkeypatch.setattr(vgg, "WIDTHS", (4, 8, 8, 8, 8))
    file = root / "vgg.safetensors"
    if not file.exists():
        save_file(Vgg(ARCHITECTURES["vgg16"]).state_dict(), file, metadata={"vgg": "vgg16"})
    losses = {"l1": 1.0, "perceptual": 0.01, "adversarial": 0.001}
    config = small_run(root, out, losses=losses, schedule={"adversarial": Ramp(start=4, ramp=4)}, **changes)
    config.perceptual.vgg, config.perceptual.depths = str(file), [1, 2, 3]
    config.critic.features, config.critic.steps = 2, 2
    config.sampling.high = 1.5
    return config


def test_a_compound_run_goes_on_exactly_from_its_checkpoint(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the critic has begun to learn: critic, both optimisers and the weights go on as unbroken."""

    def stops(progress: Progress) -> None:
        if progress.step == 8:
            raise RuntimeError("the power went")

    torch.set_num_threads(1)
    whole = train(_compound(root, tmp_path / "whole", monkeypatch), silent)
    broken = _compound(root, tmp_path / "broken", monkeypatch, checkpoint_minutes=0.0)
    with pytest.raises(RuntimeError, match="power"):
        train(broken, stops)
    train(broken, silent)
    for name in (whole.name, "checkpoint.safetensors"):
        expected, found = (load_file(tmp_path / run / name) for run in ("whole", "broken"))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert any(key.startswith("critic-optimiser.") for key in expected)


def test_a_compound_run_logs_its_terms_and_says_what_it_was_trained_with(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _compound(root, tmp_path / "run", monkeypatch, steps=100)
    config.schedule["adversarial"].start = 90
    config.perceptual.depths = [1]
    config.sampling.batch = 1
    config.validation.every = 100
    card = weights_files.read_card(train(config, silent))
    assert card.perceptual
    assert card.about["training"]["losses"] == {"l1": 1.0, "perceptual": 0.01, "adversarial": 0.001}
    assert card.about["training"]["vgg"] == "vgg.safetensors"
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]]
    values = {name: float(value) for step, name, value in rows if step == "100"}
    assert {"loss", "loss l1", "loss perceptual", "loss adversarial", "rate"} < values.keys()
    assert {"critic distance", "critic gradient norm"} < values.keys()
    assert values["critic gradient norm"] > 0


@pytest.mark.parametrize("name", ["vgg_l2", "vgg_raw_l2", "vgg_raw_l1"])
def test_vgg_s_maps_by_their_own_values_train_a_network_and_mark_it(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _compound(root, tmp_path / "run", monkeypatch, steps=100)
    config.losses, config.schedule = {"l1": 1.0, name: 0.1}, {}
    config.validation.every = 100
    card = weights_files.read_card(train(config, silent))
    assert card.perceptual
    assert card.about["training"]["vgg"] == "vgg.safetensors"
    assert f"100,loss {name}," in (tmp_path / "run" / "log.csv").read_text()
    config.perceptual.depths = [1, 5]
    with pytest.raises(UsageError, match="patches of 16 pixels, found 12"):
        train(config, silent)


def test_a_run_that_diverges_stops_and_leaves_the_checkpoint_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(100))
    monkeypatch.setattr(
        "mesr.losses.pixel.l1", lambda sr, hr: l1(sr, hr) * (1.0 if next(steps) < 6 else float("nan"))
    )
    with pytest.raises(MesrError) as stopped:
        train(small_run(root, tmp_path / "run", checkpoint_minutes=0.0), silent)
    assert stopped.value.code == "diverged"
    assert "step 6" in stopped.value.sentence
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["run"])["step"] == 6
        assert all(bool(file.get_tensor(key).isfinite().all()) for key in file.keys())  # noqa: SIM118
    assert not (tmp_path / "run" / "tiny.safetensors").exists()


def test_patches_too_small_for_the_vgg_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _compound(root, tmp_path / "run", monkeypatch)
    config.perceptual.depths = [1, 5]
    with pytest.raises(UsageError, match="patches of 16 pixels, found 12"):
        train(config, silent)


def test_a_checkpoint_from_before_a_setting_existed_goes_on(root: Path, tmp_path: Path) -> None:
    train(small_run(root, tmp_path / "run"), silent)
    path = tmp_path / "run" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["run"])
    for late in ("schedule", "perceptual", "critic"):
        del header["config"][late]
    save_file(load_file(path), path, metadata={"run": json.dumps(header)})
    train(small_run(root, tmp_path / "run"), silent)
    with pytest.raises(UsageError, match="critic"):
        changed = small_run(root, tmp_path / "run")
        changed.critic.steps = 1
        train(changed, silent)


def test_a_run_does_not_go_on_with_another_set(root: Path, tmp_path: Path) -> None:
    def run(steps: int) -> None:
        config = small_run(tmp_path / "moved", tmp_path / "run", steps=steps)
        config.optimiser.schedule = "constant"
        train(config, silent)

    shutil.copytree(root, tmp_path / "moved")
    run(2)
    manifest = json.loads((tmp_path / "moved" / "manifest.json").read_text())
    (one,) = (series for series in manifest["series"] if series["split"] == "train")
    one["slices"][0]["site"] = "elsewhere"
    (tmp_path / "moved" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="another training set") as refused:
        run(4)
    assert refused.value.code == "other-run"
    shutil.rmtree(tmp_path / "moved")
    shutil.copytree(root, tmp_path / "moved")
    held = next(
        series
        for series in json.loads((root / "manifest.json").read_text())["series"]
        if series["split"] == "val"
    )
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["series"].append(held | {"id": "another"})
    (tmp_path / "moved" / "manifest.json").write_text(json.dumps(manifest))
    run(4)


def test_a_blank_slice_says_nothing_in_validation(root: Path) -> None:
    config = small_run(root, root)
    model = build({"name": "nearest"})
    real = load_slices(root, "val", ["CT"])
    blank = dataclasses.replace(real[0], values=np.full_like(real[0].values, -1024))
    scores = [validate(model, [*real, *more], config, torch.device("cpu"), False) for more in ([], [blank])]
    assert scores[0] == scores[1]
    assert validate(model, [blank], config, torch.device("cpu"), False) == {}
