"""Trainings made on another machine are those of the reproduction."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from small_source import BRIEF, small_source

from mesr.reproduce import chosen
from mesr.reproduce.running import Runner, Telling
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


def test_parts_are_joined_only_when_all_are_there(elsewhere: ModuleType, tmp_path: Path) -> None:
    parts = elsewhere.split(bytes(range(100)), tmp_path, 9)
    assert len(parts) == 12
    assert elsewhere.joined(tmp_path) == bytes(range(100))
    parts[4].unlink()
    assert elsewhere.joined(tmp_path) is None


def test_trainings_of_another_machine_are_adopted_and_measured(
    elsewhere: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    here = Runner(setting, tmp_path / "out", device="cpu", threads=1, telling=Telling(lambda _: None))
    todo = elsewhere.jobs(here, ["smoke-mesr-l1-more"])
    assert [job.name for job in todo] == ["smoke-mesr", "smoke-mesr-l1-more"]
    elsewhere.pack(here, todo, tmp_path / "parts", 20_000)
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) > 1

    work, seen = tmp_path / "work", tmp_path / "seen"
    seen.mkdir()
    parts[0].rename(seen / parts[0].name)
    assert not elsewhere.receive(seen, work)
    assert elsewhere.receive(tmp_path / "parts", work)
    monkeypatch.chdir(SCRIPT.parents[1])
    elsewhere.train(work, at_once=2)
    elsewhere.collect(work, tmp_path / "first", 1 << 20, most=1)
    elsewhere.collect(work, tmp_path / "second", 1 << 20, most=1 << 20)

    elsewhere.adopt(here, [tmp_path / "first", tmp_path / "second"])
    rows = [
        row for row in chosen(["table2"], here, ["mesr"]) if row.title.startswith("MESR (L1), for as many")
    ]
    monkeypatch.setattr("mesr.reproduce.running.train", _never)
    (fate,) = here.run(rows).values()
    assert fate.status == "done", fate.sentence
    assert "float32" in here.state.trainings["smoke-mesr"].computed


def _never(*_: object) -> None:
    raise AssertionError("trained again")
