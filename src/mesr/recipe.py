"""What a training run is told: the dataclasses behind `mesr train config.yaml key=value`, and what they may hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from .errors import UsageError
from .limits import MAX_SCALE
from .losses import CriticConfig, PerceptualConfig, Ramp
from .losses import compound as losses
from .optimiser import OptimiserConfig
from .sampling import SamplingConfig

MAX_THREADS = 1024

_RANGES: dict[str, tuple[float, float]] = {
    "sampling.patch": (1, math.inf),
    "sampling.batch": (1, math.inf),
    "sampling.continuous": (0, 1),
    "sampling.low": (1, MAX_SCALE),
    "sampling.high": (1, MAX_SCALE),
    "sampling.anisotropic": (0, 1),
    "sampling.coarser": (1, MAX_SCALE),
    "sampling.kernels": (0, 1),
    "sampling.even": (0, 1),
    "sampling.balance": (0, 1),
    "sampling.candidates": (1, math.inf),
    "sampling.seed": (0, math.inf),
    "critic.steps": (1, math.inf),
    "critic.rate": (0, math.inf),
    "critic.penalty": (0, math.inf),
    "critic.features": (1, math.inf),
    "optimiser.rate": (0, math.inf),
    "optimiser.muon_rate": (0, math.inf),
    "optimiser.head": (0, math.inf),
    "optimiser.decay": (0, 1),
    "optimiser.every": (1, math.inf),
    "optimiser.fall": (0, 1),
    "optimiser.warmup": (0, math.inf),
    "optimiser.clip": (1e-6, math.inf),
    "optimiser.ema": (0, 1),
    "validation.every": (1, math.inf),
    "validation.slices": (1, math.inf),
    "steps": (1, math.inf),
    "checkpoint_minutes": (0, math.inf),
    "threads": (0, MAX_THREADS),
}
"""The least and the most of every setting that is a number, both allowed."""


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
        scales: at which scales; none for no validation, which then needs no slices kept for it.
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
        losses: weight of each term, `l1`, `l2`, `log_l1`, `psnr`, `lattice`, `perceptual`, `vgg_l2`, `vgg_raw_l2`, `vgg_raw_l1`, `adversarial`
            (`losses`).
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


def check(config: TrainConfig) -> None:
    """Refuse settings that no run can follow, before anything is read or written for them.

    What takes the training set, the degradation or a loss's network to tell is refused where they are made.

    Raises:
        UsageError: code `config`; `scales` or `loss` for those.
    """
    for key, (least, most) in _RANGES.items():
        value = attrgetter(key)(config)
        if not least <= value <= most:
            wanted = f"be {least:g} or more" if most == math.inf else f"lie from {least:g} to {most:g}"
            raise UsageError("config", f"{key} must {wanted}, found {value}.")
    for key in ("sampling.scales", "validation.scales"):
        wrong = [scale for scale in attrgetter(key)(config) if not 1.0 <= scale <= MAX_SCALE]
        if wrong:
            raise UsageError(
                "scales", f"The scales of {key} must lie from 1 to {MAX_SCALE:g}, found {wrong[0]:g}."
            )
    if config.model.args.get("corrections") and config.sampling.degradation != "bicubic":
        raise UsageError(
            "config",
            "model.args.corrections bring back what the input holds, and so the blur or noise that the network is to"
            f" take away, with sampling.degradation {config.sampling.degradation}.",
            "Leave corrections out.",
        )
    losses.check(config.losses, config.schedule)
    if config.losses.get("adversarial") and config.critic.loss != "wasserstein" and config.sampling.batch < 2:
        raise UsageError(
            "config",
            f"critic.loss {config.critic.loss} has a discriminator with batch norm, which needs batches of two or more;"
            f" found {config.sampling.batch}.",
            "Raise sampling.batch, or use critic.loss=wasserstein.",
        )
    for term, ramp in config.schedule.items():
        if min(ramp.start, ramp.ramp) < 0:
            raise UsageError(
                "config",
                f"schedule.{term} must begin at step 0 or later and rise over 0 steps or more,"
                f" found {ramp.start} and {ramp.ramp}.",
            )
    if not config.sampling.modalities:
        raise UsageError("config", "sampling.modalities must name at least one modality, found none.")
    # The weights lie in the run's folder, beside its checkpoint.
    if config.name in ("", "checkpoint") or config.name.startswith(".") or set(config.name) & set("/\\\0"):
        raise UsageError(
            "config",
            f"The name of the weights must be a plain file name other than checkpoint, found {config.name[:40]!r}.",
        )
