"""Optimisers and learning-rate schedules for training.

Adam as the paper uses it, and Muon (Jordan et al. 2024): momentum made orthogonal by a Newton–Schulz
iteration, for convolution kernels read as matrices, which learns more from each of few steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

ENDS = ("stem", "last.")
"""What the names of first and last convolutions begin with; a new architecture names its own so."""


@dataclass
class OptimiserConfig:
    """How the weights follow the gradient.

    Attributes:
        name: "adam", or "muon" for the body's kernels with Adam for all else: first and last layers, biases.
        rate: Adam's peak learning rate (paper: 4e-4).
        muon_rate: Muon's, in units of the weights' root mean square change a step.
        head: share of the rate that the head's perceptron gets. Its every weight acts on 576 features and
            256 hidden values at once, so that a step as large as the body's overshoots.
        schedule: "cosine" to nothing; "step" multiplies by `decay` every `every` steps; "constant";
            "linear" holds the rate and falls to nothing over the last `fall` of the steps.
        decay, every: of the step schedule (paper: 0.5).
        fall: share of the steps the linear schedule falls over.
        warmup: steps over which the rate rises.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones judged and saved.
    """

    name: Literal["adam", "muon"] = "adam"
    rate: float = 4e-4
    muon_rate: float = 1e-3
    head: float = 0.015
    schedule: Literal["cosine", "step", "constant", "linear"] = "cosine"
    decay: float = 0.5
    every: int = 5000
    fall: float = 0.4
    warmup: int = 400
    clip: float = 1.0
    ema: float = 0.999


def rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The share of its peak the learning rate has at a step, 0…1."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    done = step / max(1, steps)
    if config.schedule == "cosine":
        return warm * 0.5 * (1.0 + math.cos(math.pi * done))
    if config.schedule == "step":
        return warm * float(config.decay ** (step // config.every))
    if config.schedule == "linear":
        return warm * min(1.0, (1.0 - done) / max(1e-9, config.fall))
    return warm


def make_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser; each group's `base` is its peak rate, which the schedule scales."""
    kernels: list[Tensor] = []
    head: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if name.startswith("head."):
            head.append(parameter)
        elif config.name == "muon" and parameter.ndim == 4 and not name.startswith(ENDS):
            kernels.append(parameter)
        else:
            others.append(parameter)
    adam = [
        {"params": parameters, "lr": peak, "base": peak}
        for parameters, peak in ((others, config.rate), (head, config.rate * config.head))
        if parameters
    ]
    if not kernels:
        return torch.optim.Adam(adam, betas=(0.9, 0.999), fused=True)
    muon = {"params": kernels, "lr": config.muon_rate, "base": config.muon_rate, "orthogonal": True}
    return Muon([*(group | {"orthogonal": False} for group in adam), muon])


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for kernels, Adam for the groups with `orthogonal` false.

    A kernel (out, in, 3, 3) is read as the matrix (out, in·9); its update has root mean square `lr`.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float = 0.95) -> None:
        super().__init__(groups, {"momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            update = self._orthogonal if group["orthogonal"] else self._adam
            update([p for p in group["params"] if p.grad is not None], group)

    def _orthogonal(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        shapes: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            shapes.setdefault(parameter.shape, []).append(parameter)
        for shape, alike in shapes.items():
            steps = []
            for parameter in alike:
                assert parameter.grad is not None
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                steps.append(ahead.reshape(shape[0], -1))
            matrices = orthogonal(torch.stack(steps))
            scale = group["lr"] * math.sqrt(matrices.shape[2])
            for parameter, matrix in zip(alike, matrices, strict=True):
                parameter.sub_(matrix.view(shape), alpha=scale)

    def _adam(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        first, second = 0.9, 0.999
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            state["step"] += 1
            count = float(state["step"])
            state["exp_avg"].lerp_(parameter.grad, 1 - first)
            state["exp_avg_sq"].lerp_(parameter.grad.square(), 1 - second)
            root = (state["exp_avg_sq"] / (1 - second**count)).sqrt().add_(1e-8)
            parameter.addcdiv_(state["exp_avg"], root, value=-group["lr"] / (1 - first**count))


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Nearly the closest row-orthonormal matrices, (…, m, n) with m ≤ n, by Newton–Schulz (Jordan et al. 2024).

    The quintic's coefficients drive every singular value to between 0.7 and 1.2, which is enough.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    orthonormal: Tensor = x
    return orthonormal
