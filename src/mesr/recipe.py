"""What a training run is told: the dataclasses behind `mesr train config.yaml key=value`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .data import SamplingConfig
from .losses import CriticConfig, PerceptualConfig, Ramp
from .optimiser import OptimiserConfig


@dataclass
class ModelConfig:
    """Architecture and its arguments."""

    name: str = "mesr"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass
class ValidationConfig:
    """How the network is judged while it trains.

    Attributes:
        every: steps between validations.
        scales: at which scales.
        slices: at most so many a site, evenly spread.
    """

    every: int = 1000
    scales: list[float] = field(default_factory=lambda: [2.0, 3.0, 4.0])
    slices: int = 2


@dataclass
class TrainConfig:
    """A whole training run; saved beside its weights.

    Attributes:
        name: of the weights it makes.
        set: the training set's folder (`mesr prepare`).
        out: the run's folder: checkpoint, logs, weights.
        losses: weight of each term, `l1`, `log_l1`, `psnr`, `perceptual`, `adversarial` (`losses`).
        schedule: terms that join later, by name: their first step and the steps their weight rises over.
        steps: batches in all.
        precision: "bf16" autocasts the convolutions; "auto" does where that is faster.
        start: weights to start from; a network of fewer blocks is grown by identity blocks.
        checkpoint_minutes: between checkpoints.
        threads: of the CPU; 0 leaves it to PyTorch.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for a GPU where there is one.
    """

    name: str = "mesr-lite"
    set: str = "set"
    out: str = "runs/mesr-lite"
    model: ModelConfig = field(default_factory=ModelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    losses: dict[str, float] = field(default_factory=lambda: {"l1": 1.0})
    schedule: dict[str, Ramp] = field(default_factory=dict)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    steps: int = 20_000
    precision: Literal["auto", "float32", "bf16"] = "auto"
    start: str | None = None
    checkpoint_minutes: float = 3.0
    threads: int = 0
    device: str = "auto"
