"""The training runs behind the rows: on equal terms one recipe for all, as published each system's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from ..evaluate import SCALES
from ..losses import CriticConfig, PerceptualConfig, Ramp, looking
from ..models.cost import Cost, cost
from ..models.registry import Spec
from ..optimiser import OptimiserConfig
from ..recipe import ModelConfig, TrainConfig, ValidationConfig
from ..sampling import SamplingConfig
from .budgets import Budget
from .sources import Source
from .systems import System, Terms

JOIN = 0.2
"""Share of a fine-tuning after which the adversarial term joins, and over which it then rises."""

PUBLISHED_FEATURES = 64
"""Of the discriminators of SRGAN, ESRGAN and MIASSR."""

LATER = {"sampling": {"even": 0.0}}
"""Settings that came after trainings had been kept, and what they leave as it was: such a training counts as before."""

COARSER, KERNELS = 2.0, 0.8
"""Of `SamplingConfig`, for varied scans: references also made coarser, sharper and softer, as the shipped networks learn from them."""

LONG = 2000
"""Steps from which on averaged weights may remember a thousand of them."""


class Setting(NamedTuple):
    """What a plan is made for: the budget, the scans, and the VGG of the perceptual term (`losses.vgg.load`)."""

    budget: Budget
    source: Source
    vgg: str


@dataclass(frozen=True)
class Training:
    """A network to be trained.

    Attributes:
        config: complete but for `set`, `out` and `start`, which running fills in.
        after: the training whose weights it starts from.
        simulated: the simulated scan (`degrade`'s recipe) that the low-resolution images are made from; empty
            where they are made from the slices themselves.
    """

    config: TrainConfig
    after: Training | None = None
    simulated: str = ""

    @property
    def name(self) -> str:
        """Of its weights and its folder; begins with the budget's."""
        return self.config.name

    @property
    def spec(self) -> Spec:
        """The architecture and its arguments."""
        return {"name": self.config.model.name, "args": self.config.model.args}

    @property
    def samples(self) -> int:
        """Patches seen, those of the training it started from included."""
        return self.config.steps * self.config.sampling.batch + (self.after.samples if self.after else 0)

    def chain(self) -> Iterator[Training]:
        """What must be trained, in order: the trainings it starts from, then itself."""
        if self.after is not None:
            yield from self.after.chain()
        yield self


def training(system: System, terms: Terms, setting: Setting, scale: int | None = None) -> Training:
    """The training of a system.

    Args:
        scale: of a network of one scale.
    """
    budget = setting.budget
    name = f"{budget.name}-{system.name}" + (f"-x{scale}" if scale else "")
    several = system.together if terms == "published" and system.together else map(float, SCALES)
    config = TrainConfig(
        name=name if terms == "equal" else f"{name}-published",
        model=ModelConfig(**system.spec(terms, budget, scale)),
        sampling=SamplingConfig(
            patch=budget.patch, batch=budget.batch, anisotropic=0.0,
            scales=[float(scale)] if scale else [float(one) for one in several],
        ),
        losses={"l1" if terms == "equal" else system.loss: 1.0},
        optimiser=equal_optimiser(budget.steps) if terms == "equal" else published_optimiser(system.rate, budget.steps),
        validation=_validation(budget.steps, scale or 2),
        steps=budget.steps,
    )  # fmt: skip
    if system.after is None:
        return Training(config)
    start = training(system.after, terms, setting, scale)
    if terms == "equal":
        return Training(tuned(config, compound(budget), setting), start)
    depths = () if budget.tiny else system.depths
    config = tuned(config, system.second or compound(budget), setting, depths)
    config.optimiser = published_optimiser(system.rate, budget.tuning)
    config.critic.loss = system.critic
    if system.critic != "wasserstein":  # A published discriminator learns in turns, from the first step on.
        config.critic.steps, config.schedule = 1, {}
        config.critic.features = config.critic.features if budget.tiny else PUBLISHED_FEATURES
    return Training(config, start)


def compound(budget: Budget) -> dict[str, float]:
    """λ, η and γ of Eq. (12), for which the paper gives no values; chosen on val (docs/explanation/losses.md)."""
    return {"l1": 1.0, "perceptual": 0.03, "adversarial": budget.adversarial}


def network_cost(one: Training) -> Cost:
    """Of its network, at its own scale, or at ×2 where it has several."""
    return _counted(json.dumps(one.spec, sort_keys=True), one.config.validation.scales[0])


@cache
def _counted(spec: str, scale: float) -> Cost:
    return cost(json.loads(spec), Fraction(scale))


def expense(*trainings: Training) -> float:
    """Multiply-adds of trainings and those they start from, forward: what cheap-first goes by."""
    return sum(effort(step) for one in trainings for step in one.chain())


def effort(one: Training) -> float:
    """Multiply-adds of a training by itself, forward."""
    sampling = one.config.sampling
    return network_cost(one).pixel * sampling.patch**2 * sampling.batch * one.config.steps


def samples_at(one: Training) -> int:
    """Patches seen at ×2, or at the scale of a network of one: what fixed and free scales are compared by."""
    before = samples_at(one.after) if one.after else 0
    scales = one.config.sampling.scales
    if not scales:
        return before
    return before + one.config.steps * one.config.sampling.batch // len(scales)


def tuned(
    config: TrainConfig, losses: Mapping[str, float], setting: Setting, depths: tuple[int, ...] = ()
) -> TrainConfig:
    """A fine-tuning with these losses: the adversarial one joins after a while, all at a low rate.

    Args:
        depths: of the perceptual term; the budget's where empty.
    """
    budget, steps = setting.budget, setting.budget.tuning
    join = round(JOIN * steps)
    found = replace(
        config,
        sampling=replace(config.sampling, patch=budget.tuning_patch),
        losses=dict(losses),
        optimiser=OptimiserConfig(rate=1e-4, warmup=min(50, steps // 4), ema=_memory(steps)),
        validation=_validation(steps, config.validation.scales[0]),
        steps=steps,
    )
    if looking(losses):
        found.perceptual = PerceptualConfig(setting.vgg, list(depths or budget.depths))
    if "adversarial" in losses:
        found.schedule = {"adversarial": Ramp(join, join)}
        found.critic = CriticConfig(steps=budget.critic_steps, features=budget.critic_features)
    return found


def gone_on(one: Training, setting: Setting) -> Training:
    """As many steps more as a fine-tuning has, on L1 alone: what the compound loss is to be compared with."""
    return Training(replace(tuned(one.config, {"l1": 1.0}, setting), name=f"{one.name}-l1-more"), one)


def of_another_seed(one: Training) -> Training:
    """The same with other patches and another beginning: what differences between single trainings are worth."""
    sampling = replace(one.config.sampling, seed=one.config.sampling.seed + 1)
    return Training(replace(one.config, name=f"{one.name}-seed", sampling=sampling), one.after, one.simulated)


def at_one_scale(one: Training, scale: float) -> Training:
    """The same with every sample at one scale, as networks of one scale have them."""
    config = replace(
        one.config, name=f"{one.name}-x{scale:g}-alone", validation=_validation(one.config.steps, scale)
    )
    return Training(
        replace(config, sampling=replace(config.sampling, scales=[float(scale)])), one.after, one.simulated
    )


def lasting(config: TrainConfig, steps: int, name: str) -> TrainConfig:
    """The same on equal terms over so many steps, under another name."""
    return replace(
        config,
        name=name,
        steps=steps,
        optimiser=equal_optimiser(steps),
        validation=_validation(steps, config.validation.scales[0]),
    )


def from_varied(config: TrainConfig) -> TrainConfig:
    """The same from references made coarser, sharper and softer as well."""
    return replace(
        config,
        name=f"{config.name}-varied",
        sampling=replace(config.sampling, coarser=COARSER, kernels=KERNELS),
    )


def on_one_site(config: TrainConfig, source: Source) -> TrainConfig:
    """The same on the source's one site only."""
    sampling = replace(config.sampling, sites=list(source.sites), series=list(source.series))
    return replace(config, name=f"{config.name}-one-site", sampling=sampling)


def equal_optimiser(steps: int) -> OptimiserConfig:
    """The one of every training on equal terms."""
    return OptimiserConfig(
        name="muon", rate=6e-4, muon_rate=3e-4, warmup=min(100, steps // 4), ema=_memory(steps)
    )


def published_optimiser(rate: float, steps: int) -> OptimiserConfig:
    """Adam, halved every fifth of the steps, without warm-up, averaging or a slower head."""
    return OptimiserConfig(
        rate=rate, head=1.0, schedule="step", decay=0.5, every=max(1, steps // 5), warmup=1, ema=0.0
    )


def _memory(steps: int) -> float:
    return 0.999 if steps >= LONG else 0.98


def _validation(steps: int, scale: float) -> ValidationConfig:
    return ValidationConfig(every=max(1, steps // 4), scales=[float(scale)], slices=1)


def settings(one: Training) -> dict[str, Any]:
    """All that decides a training's outcome, for comparing."""
    config = asdict(one.config)
    for free in ("set", "out", "start", "threads", "device", "precision", "checkpoint_minutes"):
        config.pop(free)
    for part, added in LATER.items():
        config[part] = {
            key: value for key, value in config[part].items() if key not in added or value != added[key]
        }
    after = settings(one.after) if one.after else None
    return {"config": config, "after": after, "simulated": one.simulated}
