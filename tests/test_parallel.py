"""Two processes that share every batch learn what one process learns, stop together and go on together."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from small_run import silent, small_run, small_set

from mesr import parallel
from mesr.data import reference_pair
from mesr.errors import UsageError
from mesr.grid import fraction
from mesr.models import build
from mesr.recipe import TrainConfig
from mesr.train import train

SECONDS = 120


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return small_set(tmp_path / "set")


def _run(root: Path, out: Path, **changes: object) -> TrainConfig:
    """A run with a critic, whose rate does not depend on its end."""
    config = small_run(
        root, out, losses={"l1": 1.0, "adversarial": 0.001}, threads=1, device="cpu", **changes
    )
    config.critic.features, config.critic.steps = 2, 2
    config.sampling.batch, config.sampling.high = 4, 2.0
    config.optimiser.schedule = "constant"
    return config


def _two(config: TrainConfig, *overrides: str) -> subprocess.Popen[str]:
    """The bare door of training, started twice by torchrun, on this machine's own network only."""
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1", "-m", "mesr.train", str(file), *overrides,
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _step(out: Path) -> int:
    with safe_open(out / "checkpoint.safetensors", framework="pt") as file:
        return int(json.loads(file.metadata()["run"])["step"])


@pytest.mark.slow
def test_two_processes_equal_one_with_the_critic_and_across_a_stop(root: Path, tmp_path: Path) -> None:
    """Six steps by two processes, six more after a new start; one process does all twelve."""
    torch.set_num_threads(1)
    expected = train(_run(root, tmp_path / "one"), silent)
    two = _run(root, tmp_path / "two", checkpoint_minutes=0.0)
    for steps in (6, 12):
        with _two(two, f"steps={steps}") as started:
            told, errors = started.communicate(timeout=SECONDS)
        assert started.returncode == 0, errors
        assert told.splitlines()[-1] == str(tmp_path / "two" / "tiny.safetensors")
        assert told.count("tiny.safetensors") == 1  # The first process speaks for both.
        assert _step(tmp_path / "two") == steps
    for name in (expected.name, "checkpoint.safetensors"):
        one, other = (load_file(tmp_path / run / name) for run in ("one", "two"))
        assert one.keys() == other.keys()
        for key in one:
            torch.testing.assert_close(
                other[key], one[key], atol=2e-5, rtol=2e-4, msg=lambda m, k=key: f"{k}: {m}"
            )
    logs = [
        [line.split(",") for line in (tmp_path / run / "log.csv").read_text().splitlines()[1:]]
        for run in ("one", "two")
    ]
    assert [row[:2] for row in logs[0]] == [row[:2] for row in logs[1]]
    assert any("critic distance" in row for row in logs[0])
    for (_, name, first), (_, _, second) in zip(*logs, strict=True):
        assert float(first) == pytest.approx(float(second), rel=1e-3, abs=1e-4), name


@pytest.mark.slow
def test_a_signal_stops_both_at_one_step_and_the_run_goes_on_with_any_number(
    root: Path, tmp_path: Path
) -> None:
    steps = 400
    config = _run(root, tmp_path / "run", checkpoint_minutes=0.0, steps=steps)
    with _two(config) as started:
        try:
            end = time.monotonic() + SECONDS
            while not (tmp_path / "run" / "checkpoint.safetensors").exists() and time.monotonic() < end:
                time.sleep(0.02)
            started.send_signal(signal.SIGTERM)
            _, errors = started.communicate(timeout=SECONDS)
        finally:
            started.kill()
    assert started.returncode != 0
    stopped = _step(tmp_path / "run")
    assert 0 < stopped < steps, errors
    assert not (tmp_path / "run" / "tiny.safetensors").exists()
    config.steps = stopped + 2
    assert train(config, silent).is_file()
    assert _step(tmp_path / "run") == stopped + 2


def test_shares_are_equal_parts_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = reference_pair(torch.arange(4.0)[:, None, None, None].expand(4, 1, 24, 24), fraction(2))
    assert torch.equal(parallel.share(batch).lr, batch.lr)
    for rank in range(2):
        monkeypatch.setattr(parallel, "place", lambda rank=rank: (rank, 2))
        mine = parallel.share(batch)
        assert mine.hr[:, 0, 0, 0].tolist() == [2.0 * rank, 2.0 * rank + 1]
        assert len(mine.lr) == 2


def test_what_several_processes_cannot_do_as_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "place", lambda: (0, 3))
    plain = build({"name": "mesr", "args": {"blocks": 1, "features": 8, "hidden": 16}})
    cpu = torch.device("cpu")
    parallel.check(6, plain, cpu)
    with pytest.raises(UsageError, match="found 4 among 3"):
        parallel.check(4, plain, cpu)
    with pytest.raises(UsageError, match="batch norm"):
        parallel.check(6, build({"name": "srresnet", "args": {"blocks": 1}}), cpu)
    parallel.check(6, plain, cpu, "wasserstein")
    for critic in ("cross-entropy", "relativistic"):
        with pytest.raises(UsageError, match=f"critic.loss {critic} .* in one process") as refused:
            parallel.check(6, plain, cpu, critic)
        assert refused.value.code == "processes"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="found 1 for 3"):
        parallel.check(6, plain, torch.device("cuda"))


@pytest.mark.parametrize("critic", ["cross-entropy", "relativistic"])
def test_a_critic_with_batch_norm_is_refused_before_a_run_of_several_begins(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, critic: Any
) -> None:
    """Where there is such a critic: its setting alone, without an adversarial loss, is no matter."""

    class Reached(Exception):
        """The check let the run pass."""

    def reached(_: object) -> None:
        raise Reached

    monkeypatch.setattr(parallel, "place", lambda: (0, 2))
    monkeypatch.setattr(parallel, "wrapped", reached)
    config = _run(root, tmp_path / "run")
    config.critic.loss = critic
    with pytest.raises(UsageError, match="one process") as refused:
        train(config, silent)
    assert refused.value.code == "processes"
    assert not list((tmp_path / "run").iterdir())
    config.losses = {"l1": 1.0}
    with pytest.raises(Reached):
        train(config, silent)
    config.losses, config.critic.loss = {"l1": 1.0, "adversarial": 0.001}, "wasserstein"
    with pytest.raises(Reached):
        train(config, silent)
