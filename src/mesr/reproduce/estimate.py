"""What a plan will take, measured: a few steps of every network on made-up patches, timed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch

from ..device import resolve_device, use_bf16
from ..grid import Axis, Grid
from ..models import build
from ..models.cost import Cost
from ..models.weights import INVENTING
from .rows import Row
from .state import State
from .trainings import Training, network_cost

STEPS = 2
WHOLE = 5e8
"""Multiply-adds of a batch up to which a whole one is timed; of a larger one, a patch and what `MORE` cost beyond it."""
MORE = 2


class Estimate(NamedTuple):
    """A row before it runs.

    Attributes:
        status: as in plan.json.
        cost: of its networks (`Row.cost`); None for an untrained method.
        steps: of its own trainings that are not done, and of those they start from.
        minutes: of those steps; None where there are none.
        least: whether more is to come: the critic and the perceptual term are not timed.
    """

    row: Row
    status: str
    cost: Cost | None
    steps: int
    minutes: float | None
    least: bool


def estimates(rows: Sequence[Row], state: State, device: str = "auto") -> list[Estimate]:
    """One for each row; a training that several rows need is counted for the first."""
    timed: dict[str, float] = {}
    counted: set[str] = set()
    found = []
    for row in rows:
        due: dict[str, Training] = {}
        if not row.absent:
            due = {
                s.name: s
                for one in row.trainings
                for s in one.chain()
                if s.name not in counted and state.trained(s) is None
            }
        counted |= due.keys()
        seconds = sum(one.config.steps * _step_seconds(one, timed, device) for one in due.values())
        found.append(
            Estimate(
                row,
                state.fate(row).status,
                row.cost,
                sum(one.config.steps for one in due.values()),
                seconds / 60 if due else None,
                any(one.config.losses.keys() & {*INVENTING} for one in due.values()),
            )
        )
    return found


def _step_seconds(one: Training, timed: dict[str, float], device: str) -> float:
    """Of a step of L1, timed once for every architecture, patch and batch."""
    sampling = one.config.sampling
    key = json.dumps([one.spec, sampling.patch, sampling.batch, sampling.scales], sort_keys=True)
    if key not in timed:
        pixels = sampling.patch**2 * sampling.batch
        if network_cost(one).pixel * pixels <= WHOLE:
            timed[key] = _time(one, sampling.batch, device)
        else:
            first, some = _time(one, 1, device), _time(one, 1 + MORE, device)
            timed[key] = first + max(some - first, 0.0) / MORE * (sampling.batch - 1)
    return timed[key]


def _time(one: Training, batch: int, device: str) -> float:
    place = resolve_device(device)
    bf16 = use_bf16(one.config.precision, place)
    patch, scales = one.config.sampling.patch, one.config.sampling.scales or [one.config.sampling.high]
    axis = Axis.scaled(patch, Fraction(sum(scales) / len(scales)).limit_denominator(10))
    if len(scales) == 1:
        axis = Axis.scaled(patch, Fraction(scales[0]))
    grid = Grid.plane(axis, axis)
    model = build(one.spec).to(place).train()
    lr = torch.rand(batch, 1, patch, patch, device=place)
    start = time.perf_counter()
    for step in range(STEPS + 1):
        with torch.autocast(place.type, torch.bfloat16, enabled=bf16):
            sr = model(lr, grid)
        sr.float().abs().mean().backward()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        if step == 0:  # The first makes plans and allocates.
            start = time.perf_counter()
    return (time.perf_counter() - start) / STEPS
