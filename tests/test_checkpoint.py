"""A run's state with a network that keeps counts beside its weights: batch norm."""

from __future__ import annotations

from pathlib import Path

import model_questions as helpers
import pytest
import torch

from mesr.checkpoint import Run, grow
from mesr.checkpoint import _go_on as go_on
from mesr.checkpoint import _steps_so_far as steps_so_far
from mesr.errors import WeightsError
from mesr.grid import Axis, Grid
from mesr.models import build
from mesr.models import weights as weights_files
from mesr.models.weights import Card
from mesr.optimiser import make_optimiser
from mesr.recipe import TrainConfig

SPEC = {"name": "srresnet", "args": {"blocks": 1, "features": 8}}
COUNT, MEAN = "body.norm.num_batches_tracked", "body.norm.running_mean"


def _run(out: Path, steps: int) -> Run:
    config = TrainConfig(steps=10)
    config.optimiser.ema = 0.5
    torch.manual_seed(0)
    model = build(SPEC)
    run = Run(model, make_optimiser(model, config.optimiser), out, config)
    axis = Axis.sized(8, 16)
    for _ in range(steps):
        run.optimiser.zero_grad()
        model(torch.rand(2, 1, 8, 8), Grid.plane(axis, axis)).mean().backward()
        run.optimiser.step()
        run.advance()
    return run


def test_counts_are_copied_and_statistics_averaged(tmp_path: Path) -> None:
    run = _run(tmp_path, 3)
    held = run.model.state_dict()
    assert run.average[COUNT] == held[COUNT] == 3
    assert run.average[COUNT].dtype == torch.int64
    assert not torch.equal(run.average[MEAN], held[MEAN])
    with run.averaged():
        assert torch.equal(run.model.state_dict()[MEAN], run.average[MEAN])


def test_a_fused_adam_goes_on_counting_its_steps_on_its_device() -> None:
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    for fused in (True, False):
        adam = torch.optim.Adam(layer.parameters(), fused=fused)
        adam.step()
        saved = steps_so_far("o.", adam, layer)
        elsewhere = torch.nn.Linear(2, 2, device="meta")
        again = torch.optim.Adam(elsewhere.parameters(), fused=fused)
        go_on(saved, "o.", again, elsewhere)
        state = again.state[elsewhere.weight]
        assert state["step"].device.type == ("meta" if fused else "cpu")
        assert state["exp_avg"].device.type == "meta"


def test_a_resumed_run_has_its_counts(tmp_path: Path) -> None:
    first = _run(tmp_path, 3)
    first.save()
    again = _run(tmp_path, 0)
    again.resume()
    for key, value in first.average.items():
        assert torch.equal(again.average[key], value), key
        assert again.average[key].dtype == value.dtype


@pytest.mark.parametrize("half", [False, True])
def test_a_weights_file_keeps_counts_whole(tmp_path: Path, half: bool) -> None:
    """In float16 a count beyond 65,504 would be infinite."""
    model = build(SPEC)
    tensors = model.state_dict() | {COUNT: torch.tensor(100_001)}
    weights_files.save(tmp_path / "a.safetensors", "a", SPEC, tensors, {}, half=half)
    again, _ = weights_files.load(tmp_path / "a.safetensors")
    assert again.state_dict()[COUNT] == 100_001
    assert again.state_dict()[MEAN].dtype == torch.float32


def test_only_blocks_that_can_be_identities_are_added() -> None:
    name, args = next(one for one in helpers.SYSTEMS if one[0] == "rrdb")
    small, deep = (build({"name": name, "args": args | {"blocks": blocks}}) for blocks in (1, 2))
    with pytest.raises(WeightsError, match="do not fit"):
        grow(deep, (small, Card("small", {}, "", {})))


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_gated_stem_begins_as_the_differences_it_grows_from(blocks: int) -> None:
    args = {"blocks": 1, "features": 8, "hidden": 16}
    ungated = build({"name": "mesr", "args": args})
    gated = build({"name": "mesr", "args": args | {"blocks": blocks, "stem": "gated"}})
    torch.nn.init.normal_(gated.state_dict()["stem.curves.bias"])
    grow(gated, (ungated, Card("ungated", {}, "", {})))
    image = helpers.plane(12, 13, "2.5")
    torch.testing.assert_close(helpers.run(gated, image, "2.5"), helpers.run(ungated, image, "2.5"))


def test_gates_follow_no_plain_convolution() -> None:
    """Its kernels have the shape of differences' and are none."""
    args = {"blocks": 1, "features": 8, "hidden": 16}
    plain, gated = (build({"name": "mesr", "args": args | {"stem": stem}}) for stem in ("plain", "gated"))
    with pytest.raises(WeightsError, match="do not fit"):
        grow(gated, (plain, Card("plain", {}, "", {})))
