"""What a reproduction may cost: minutes of a laptop, days of a processor, or a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..evaluate import SCALES

Name = Literal["smoke", "cpu", "gpu"]


@dataclass(frozen=True)
class Budget:
    """Sizes, steps and slices of every row.

    Attributes:
        name: leads the name of every network trained under it, and so marks its rows everywhere.
        tiny: networks of a few thousand parameters, which only show that everything runs.
        giants: whether the largest networks are trained as published as well.
        steps: of a training from the beginning.
        longer: steps of the trainings that are done again for longer, from the same scans and from varied ones; 0 for none of them.
        tuning: of a fine-tuning with the compound loss.
        patch, batch: low-resolution pixels along a patch's side, and patches a step.
        tuning_patch: `patch` of a fine-tuning, whose VGG and critic work at the resolution of the result.
        slices: measured at most a site; 0 for all.
        split: which scans are measured. A smoke run proves nothing and so never looks at the test set.
        scales: measured for whatever has more than one.
        critic_steps, critic_features: of the adversarial term.
        adversarial: its weight, γ. What shows the term within a few hundred steps takes over within thousands
            (docs/explanation/losses.md).
        depths: of the perceptual term.
        scan: parameters of the simulated cone-beam scan (`degrade`), where they are not the defaults.
    """

    name: Name
    tiny: bool
    giants: bool
    steps: int
    longer: int
    tuning: int
    patch: int
    tuning_patch: int
    batch: int
    slices: int
    split: Literal["val", "test"]
    critic_steps: int
    critic_features: int
    adversarial: float
    depths: tuple[int, ...]
    scan: str
    scales: tuple[str, ...] = SCALES

    @property
    def mark(self) -> str:
        """What a table says beside a row of this budget."""
        return " (smoke: shows that it runs, nothing else)" if self.tiny else ""


SMOKE = Budget(
    name="smoke",
    tiny=True,
    giants=False,
    steps=200,
    longer=0,
    tuning=200,
    patch=12,
    tuning_patch=12,
    batch=2,
    slices=1,
    split="val",
    critic_steps=1,
    critic_features=8,
    adversarial=0.1,
    depths=(1, 2),
    scan="views=60:element_mm=2",
)
CPU = replace(
    SMOKE,
    name="cpu",
    tiny=False,
    steps=1000,
    longer=3000,
    tuning=400,
    patch=48,
    tuning_patch=24,
    batch=8,
    slices=0,
    split="test",
    critic_steps=3,
    critic_features=32,
    depths=(1, 2, 3, 4, 5),
    scan="",
)
GPU = replace(
    CPU,
    name="gpu",
    giants=True,
    steps=40_000,
    longer=0,
    tuning=10_000,
    tuning_patch=48,
    batch=16,
    critic_steps=5,
    critic_features=64,
    adversarial=0.01,
)
BUDGETS: dict[str, Budget] = {one.name: one for one in (SMOKE, CPU, GPU)}
