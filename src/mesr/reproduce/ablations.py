"""Which choice gave what: one thing changed at a time on 16 blocks, all else as in the first row of each group.

The base and whatever else Table 2 has is trained once, for both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..models.fixed import SCALES
from ..models.registry import Spec
from ..recipe import TrainConfig
from .rows import Row, trained
from .sources import Source
from .systems import SYSTEMS
from .trainings import (
    Setting,
    Training,
    compound,
    gone_on,
    lasting,
    of_another_seed,
    on_one_site,
    training,
    tuned,
)

HEAD = "Meta head against a pixel shuffle for each scale"
NETWORK = "The network"
LOSS = "Loss, fine-tuned from the same weights for as many steps"
DATA = "Training data and strategy"
DEPTH = "Depth or orientations"

AGAIN = "the base, another seed"
"""What a difference between two single trainings is worth, in each group that has its base."""

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "below": ("centred, offsets from the pixel below", {"coordinates": "below"}),
    "corner": ("corner-aligned, Eq. (5)", {"coordinates": "corner"}),
    "no-skip": ("no bicubic skip, so that differences alone tell of values", {"skip": "none"}),
    "no-skip-plain": ("no bicubic skip, plain first convolution", {"skip": "none", "stem": "plain"}),
    "differences": ("differences that do not know where they were met", {"stem": "difference"}),
    "plain-stem": ("plain first convolution", {"stem": "plain"}),
    "two-orientations": ("mean of two orientations", {"orientations": 2}),
    "bias": ("biases in the body", {"bias": True}),
    "pytorch": ("the body begins as PyTorch makes it", {"initialisation": "pytorch"}),
}
DEPTHS: dict[str, tuple[str, dict[str, Any]]] = {
    "64-blocks": ("64 blocks", {"blocks": 64}),
    "32-blocks": ("32 blocks in two orientations", {"blocks": 32, "orientations": 2}),
}
LOSSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "perceptual": ("L1 and perceptual", ("l1", "perceptual")),
    "adversarial": ("L1 and adversarial", ("l1", "adversarial")),
    "compound": ("all three", ("l1", "perceptual", "adversarial")),
}


def ablations(setting: Setting) -> list[Row]:
    """Every row; the first of each group is the base the others are compared with."""

    def row(group: str, title: str, *trainings: Training) -> Row:
        system, scales = SYSTEMS["mesr-lite"].name, setting.budget.scales
        return trained(
            "ablations", group, title, system, *trainings, scales=scales, family=len(trainings) > 1
        )

    base = training(SYSTEMS["mesr-lite"], "equal", setting)
    spec = base.config.model.args
    seed = of_another_seed(base)
    rows = [
        row(HEAD, "meta head", base),
        row(HEAD, AGAIN, seed),
        row(
            HEAD,
            "pixel shuffle: three networks of a third of the steps each",
            *(_shuffled(base, scale) for scale in SCALES),
        ),
        row(NETWORK, "base: offsets from the nearest pixel, skip, gated differences", base),
        row(NETWORK, AGAIN, seed),
    ]
    for name, (title, changes) in NETWORKS.items():
        rows.append(row(NETWORK, title, _varied(base, name, {"args": spec | changes})))
    rows.append(row(LOSS, "base: L1", gone_on(base, setting)))
    for name, (title, terms) in LOSSES.items():
        losses = {term: weight for term, weight in compound(setting.budget).items() if term in terms}
        config = replace(tuned(base.config, losses, setting), name=f"{base.name}-{name}-loss")
        rows.append(row(LOSS, title, Training(config, base)))
    continuous = _varied(base, "continuous", sampling={"scales": [], "anisotropic": 0.25})
    modalities = setting.source.modalities
    beside = _varied(base, "modalities", sampling={"modalities": modalities})
    together = [row(DATA, f"{' and '.join(modalities)}, all sites", beside)] if len(modalities) > 1 else []
    mesr = SYSTEMS["mesr"]
    rows += [
        row(DATA, "base: all sites, six scales at once", base),
        row(DATA, AGAIN, seed),
        row(DATA, f"{setting.source.one_site} only", Training(on_one_site(base.config, setting.source))),
        row(DATA, "the same patient, every site", Training(_of_one_patient(base.config, setting.source))),
        *together,
        row(DATA, "any scale in (1, 4], two in a quarter of the batches", continuous),
        row(DATA, "half the steps at ×2 alone, then six scales", _in_two_parts(base)),
        row(DEPTH, "base: as mesr-lite", base),
        row(DEPTH, AGAIN, seed),
    ]
    rows += [row(DEPTH, title, at_depth(name, setting)) for name, (title, _) in DEPTHS.items()]
    return [*rows, row(DEPTH, f"as {mesr.titled('equal', setting.budget)}", training(mesr, "equal", setting))]


def at_depth(name: str, setting: Setting) -> Training:
    """One of `DEPTHS`: as much work as MESR's, by more blocks in fewer orientations."""
    base = training(SYSTEMS["mesr-lite"], "equal", setting)
    spec, (_, changes) = base.config.model.args, DEPTHS[name]
    tiny = {"blocks": spec["blocks"]} if setting.budget.tiny else {}
    return _varied(base, name, {"args": spec | changes | tiny})


def _varied(
    base: Training, name: str, model: Spec | None = None, sampling: dict[str, Any] | None = None
) -> Training:
    """The base with changes to its model's arguments or its sampling."""
    config = replace(base.config, name=f"{base.name}-{name}")
    if model is not None:
        config.model = replace(config.model, args=dict(model["args"]))
    if sampling is not None:
        config.sampling = replace(config.sampling, **sampling)
    return Training(config)


def _shuffled(base: Training, scale: int) -> Training:
    """The same body with a pixel shuffle for one scale; all of them together see as many samples as the base."""
    args = {key: value for key, value in base.config.model.args.items() if key != "hidden"}
    config = lasting(base.config, max(1, base.config.steps // len(SCALES)), f"{base.name}-shuffled-x{scale}")
    config.model = replace(config.model, name="mesr-shuffled", args=args | {"scale": scale})
    config.validation = replace(config.validation, scales=[float(scale)])
    return Training(replace(config, sampling=replace(config.sampling, scales=[float(scale)])))


def _of_one_patient(config: TrainConfig, source: Source) -> TrainConfig:
    sampling = replace(config.sampling, series=list(source.series))
    return replace(config, name=f"{config.name}-one-patient", sampling=sampling)


def _in_two_parts(base: Training) -> Training:
    """One reading of "combines traditional learning with meta-learning" (§2.2): one scale first, then all."""
    steps = max(1, base.config.steps // 2)
    first = lasting(base.config, steps, f"{base.name}-x2-first")
    first.sampling = replace(first.sampling, scales=[2.0])
    then = lasting(base.config, steps, f"{base.name}-two-parts")
    return Training(then, Training(first))
