"""Schedules and orthogonal momentum."""

from __future__ import annotations

import pytest
import torch

from mesr.models import build
from mesr.optimiser import OptimiserConfig, make_optimiser, orthogonal, rate


def test_the_rate_warms_up_and_follows_its_schedule() -> None:
    cosine = OptimiserConfig(warmup=10, schedule="cosine")
    assert rate(cosine, 0, 1000) == pytest.approx(0.1, abs=1e-3)
    assert rate(cosine, 500, 1000) == pytest.approx(0.5)
    assert rate(cosine, 999, 1000) < 1e-4
    steps = OptimiserConfig(warmup=1, schedule="step", every=100, decay=0.5)
    assert [rate(steps, step, 1000) for step in (50, 150, 250)] == [1.0, 0.5, 0.25]
    linear = OptimiserConfig(warmup=1, schedule="linear", fall=0.5)
    assert [rate(linear, step, 1000) for step in (400, 750, 1000)] == [1.0, 0.5, 0.0]
    assert rate(OptimiserConfig(warmup=1, schedule="constant"), 999, 1000) == 1.0


def test_orthogonal_makes_singular_values_alike() -> None:
    matrices = torch.randn(3, 16, 64, generator=torch.Generator().manual_seed(0)) ** 3
    values = torch.linalg.svdvals(orthogonal(matrices, 8))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_every_parameter_is_in_one_group_and_the_head_goes_slower(name: str) -> None:
    model = build({"name": "mesr", "args": {"blocks": 1, "features": 8, "hidden": 16}})
    optimiser = make_optimiser(model, OptimiserConfig(name=name, rate=1e-3, head=0.1))  # type: ignore[arg-type]
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert len(set(held)) == len(held)
    head = {id(p) for p in model.head.parameters()}  # type: ignore[union-attr]
    rates = [group["base"] for group in optimiser.param_groups if {id(p) for p in group["params"]} & head]
    assert rates == [pytest.approx(1e-4)]


def test_muon_s_adam_is_pytorch_s() -> None:
    def quadratic(make: object) -> torch.Tensor:
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimiser = make(parameter)  # type: ignore[operator]
        for _ in range(20):
            optimiser.zero_grad()
            (parameter * torch.tensor([1.0, 3.0])).square().sum().backward()
            optimiser.step()
        return parameter.detach()

    from mesr.optimiser import Muon

    ours = quadratic(lambda p: Muon([{"params": [p], "lr": 0.05, "orthogonal": False}]))
    theirs = quadratic(lambda p: torch.optim.Adam([p], lr=0.05))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
