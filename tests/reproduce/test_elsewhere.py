"""Trainings made on another machine are those of the reproduction."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from small_source import BRIEF, small_source

from mesr.losses import vgg
from mesr.reproduce import chosen
from mesr.reproduce.running import Runner
from mesr.reproduce.telling import Telling
from mesr.reproduce.trainings import Setting

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "elsewhere.py"


@pytest.fixture(scope="module")
def elsewhere() -> ModuleType:
    spec = importlib.util.spec_from_file_location("elsewhere", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["elsewhere"] = module  # Its process pools look for it by name.
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 33)])
def test_an_image_comes_back_exactly(elsewhere: ModuleType, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(-32768, 32768, shape).astype(np.int16)
    assert np.array_equal(elsewhere.restored(elsewhere.squeezed(image)), image)


def test_parts_are_joined_only_when_all_are_there_and_whole(elsewhere: ModuleType, tmp_path: Path) -> None:
    content = bytes(range(100))
    parts = elsewhere.split(content, tmp_path / "parts", 9)
    assert len(parts) == 12
    assert elsewhere.joined(tmp_path / "parts")[1] == content
    with pytest.raises(SystemExit, match="not empty"):
        elsewhere.split(content, tmp_path / "parts", 9)
    held = parts[4].read_bytes()
    parts[4].write_bytes(held[:-1])
    with pytest.raises(SystemExit, match="damaged"):
        elsewhere.joined(tmp_path / "parts")
    parts[4].unlink()
    assert elsewhere.joined(tmp_path / "parts") is None
    (other,) = elsewhere.split(b"other", tmp_path / "other", 9)
    other.rename(tmp_path / "parts" / other.name)
    with pytest.raises(SystemExit, match="several archives"):
        elsewhere.joined(tmp_path / "parts")


@pytest.fixture
def here(tmp_path: Path) -> Runner:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg16")
    return Runner(setting, tmp_path / "out", device="cpu", threads=1, telling=Telling(lambda _: None))


def test_trainings_of_another_machine_are_adopted_and_measured(
    elsewhere: ModuleType, here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = elsewhere.jobs(here.networks, ["smoke-mesr-l1-more"])
    assert [job.name for job in todo] == ["smoke-mesr", "smoke-mesr-l1-more"]
    elsewhere.pack(here.networks, todo, tmp_path / "parts", 20_000)
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) > 1

    work, seen = tmp_path / "work", tmp_path / "seen"
    seen.mkdir()
    parts[0].rename(seen / parts[0].name)
    assert not elsewhere.receive(seen, work)
    assert elsewhere.receive(tmp_path / "parts", work)
    assert elsewhere.train(work, at_once=2, device="cpu")
    elsewhere.collect(work, tmp_path / "first", 1 << 20, most=1)
    elsewhere.collect(work, tmp_path / "second", 1 << 20, most=1 << 20)
    elsewhere.collect(work, tmp_path / "none", 1 << 20, most=1 << 20)
    assert not (tmp_path / "none").exists()

    elsewhere.adopt(here.networks, [tmp_path / "second"])  # What it starts from is not there yet.
    assert not here.state.trainings
    elsewhere.adopt(here.networks, [tmp_path / "first", tmp_path / "second"])
    rows = [
        row for row in chosen(["table2"], here, ["mesr"]) if row.title.startswith("MESR (L1) for as many")
    ]
    monkeypatch.setattr("mesr.reproduce.networks.train", _never)
    (fate,) = here.run(rows).values()
    assert fate.status == "done", fate.sentence
    assert here.state.trainings["smoke-mesr"].computed == "float32, cpu"
    assert here.state.trainings["smoke-mesr-l1-more"].steps == 2 * BRIEF.steps


def test_what_was_trained_with_other_settings_is_left_out(
    elsewhere: ModuleType, here: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = elsewhere.jobs(here.networks, ["smoke-srcnn-x2"])
    elsewhere.pack(here.networks, [job._replace(digest="another")], tmp_path / "parts", 1 << 20)
    assert elsewhere.receive(tmp_path / "parts", tmp_path / "work")
    assert elsewhere.train(tmp_path / "work", at_once=1, device="cpu")
    elsewhere.collect(tmp_path / "work", tmp_path / "back", 1 << 20, most=1 << 20)
    elsewhere.adopt(here.networks, [tmp_path / "back"])
    assert "smoke-srcnn-x2 has other settings now" in capsys.readouterr().out
    assert not here.state.trainings


def test_a_training_that_fails_is_told_with_its_log(
    elsewhere: ModuleType, here: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = elsewhere.jobs(here.networks, ["smoke-srcnn-x2"])
    job.config["set"] = "nowhere"
    elsewhere.pack(here.networks, [job], tmp_path / "parts", 1 << 20)
    assert elsewhere.receive(tmp_path / "parts", tmp_path / "work")
    assert not elsewhere.train(tmp_path / "work", at_once=1, device="cpu")
    assert "FAILED, see " in capsys.readouterr().out
    assert "no training set" in (tmp_path / "work" / "configs" / f"{job.name}.log").read_text()


def test_the_perceptual_network_travels_where_torch_looks_for_it(
    elsewhere: ModuleType, here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache" / "hub" / "checkpoints").mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    vgg.cached_vgg16().write_bytes(b"a network")
    todo = elsewhere.jobs(here.networks, ["smoke-mesr-compound"])
    elsewhere.pack(here.networks, todo, tmp_path / "parts", 1 << 20)
    assert elsewhere.receive(tmp_path / "parts", tmp_path / "work")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "work" / "torch"))
    assert vgg.cached("vgg16").read_bytes() == b"a network"
    assert todo[-1].config["perceptual"]["vgg"] == "vgg16"


def _never(*_: object) -> None:
    raise AssertionError("trained again")
