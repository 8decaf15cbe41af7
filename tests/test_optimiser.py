"""Schedules and orthogonal momentum."""

from __future__ import annotations

import pytest
import torch

from mesr.models import build
from mesr.optimiser import OptimiserConfig, make_optimiser, orthogonal, rate
from mesr.reproduce.budgets import BUDGETS
from mesr.reproduce.systems import SYSTEMS, System


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


@pytest.mark.parametrize(
    "system", [*(one for one in SYSTEMS.values() if one.equal is not None)], ids=lambda s: s.name
)
def test_no_network_s_first_or_last_layer_is_orthogonalised(system: System) -> None:
    """On equal terms all have the same optimiser, so its groups must mean the same in each."""
    spec = system.spec("equal", BUDGETS["smoke"], next(iter(system.scales), None))
    model = build(spec)
    optimiser = make_optimiser(model, OptimiserConfig(name="muon"))
    orthogonal = {
        id(p) for group in optimiser.param_groups if group.get("orthogonal") for p in group["params"]
    }
    kernels = {name: one for name, one in model.named_parameters() if one.ndim == 4}
    image = [one for one in kernels.values() if 1 in one.shape[:2]]  # From a grey image, or to one.
    assert image
    assert not orthogonal & {id(one) for one in image}
    assert orthogonal == {id(one) for name, one in kernels.items() if not name.startswith(("stem", "last."))}


def test_a_pixel_shuffle_in_place_of_the_head_is_no_body() -> None:
    model = build({"name": "mesr-shuffled", "args": {"blocks": 1, "features": 8}})
    optimiser = make_optimiser(model, OptimiserConfig(name="muon"))
    (group,) = (one for one in optimiser.param_groups if one.get("orthogonal"))
    assert id(model.last[0].weight) not in {id(one) for one in group["params"]}  # type: ignore[index]


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
