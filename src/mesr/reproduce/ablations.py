"""Which choice gave what: one thing changed at a time on 16 blocks, all else as in the first row of each group.

The base and whatever else Table 2 has is trained once, for both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..models.registry import Spec
from .rows import Row, trained
from .systems import SYSTEMS
from .trainings import COMPOUND, Setting, Training, lasting, on_one_site, training, tuned

HEAD = "Meta head against a pixel shuffle for each scale"
NETWORK = "Coordinates, skip, first convolution, and what comes after"
LOSS = "Loss, fine-tuned from the base"
DATA = "Training data and strategy"
DEPTH = "Depth"

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "below": ("centred, offsets from the pixel below", {"coordinates": "below"}),
    "corner": ("corner-aligned, Eq. (5)", {"coordinates": "corner"}),
    "no-skip": ("no bicubic skip", {"skip": "none"}),
    "plain-stem": ("plain first convolution", {"stem": "plain"}),
    "corrected": ("four corrections of the whole", {"corrections": 4}),
    "two-orientations": ("mean of two orientations", {"orientations": 2}),
}
LOSSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "l1": ("L1 for as many steps more", ("l1",)),
    "perceptual": ("L1 and perceptual", ("l1", "perceptual")),
    "adversarial": ("L1 and adversarial", ("l1", "adversarial")),
    "compound": ("all three", ("l1", "perceptual", "adversarial")),
}


def ablations(setting: Setting) -> list[Row]:
    """Every row; the first of each group is the base the others are compared with."""

    def row(group: str, title: str, *trainings: Training) -> Row:
        return trained(
            "ablations", group, title, SYSTEMS["mesr-lite"].name, *trainings, scales=setting.budget.scales
        )

    base = training(SYSTEMS["mesr-lite"], "equal", setting)
    shuffled = SYSTEMS["edsr-16x64"]
    spec = base.config.model.args
    rows = [
        row(HEAD, "meta head", base),
        row(
            HEAD,
            "pixel shuffle, three networks",
            *(training(shuffled, "equal", setting, scale) for scale in shuffled.scales),
        ),
        row(NETWORK, "base: offsets from the nearest pixel, skip, differences", base),
    ]
    for name, (title, changes) in NETWORKS.items():
        rows.append(row(NETWORK, title, _varied(base, name, {"args": spec | changes})))
    rows.append(row(LOSS, "base: L1", base))
    for name, (title, terms) in LOSSES.items():
        losses = {term: weight for term, weight in COMPOUND.items() if term in terms}
        config = replace(tuned(base.config, losses, setting), name=f"{base.name}-{name}-loss")
        rows.append(row(LOSS, title, Training(config, base)))
    continuous = _varied(base, "continuous", sampling={"scales": [], "anisotropic": 0.25})
    return [
        *rows,
        row(DATA, "base: all sites, six scales at once", base),
        row(DATA, f"{setting.source.one_site} only", Training(on_one_site(base.config, setting.source))),
        row(DATA, "any scale in (1, 4], two in a quarter of the batches", continuous),
        row(DATA, "half the steps at ×2 alone, then six scales", _in_two_parts(base)),
        row(DEPTH, "base: as mesr-lite", base),
        row(DEPTH, "as mesr", training(SYSTEMS["mesr"], "equal", setting)),
    ]


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


def _in_two_parts(base: Training) -> Training:
    """One reading of "combines traditional learning with meta-learning" (§2.2): one scale first, then all."""
    steps = max(1, base.config.steps // 2)
    first = lasting(base.config, steps, f"{base.name}-x2-first")
    first.sampling = replace(first.sampling, scales=[2.0])
    then = lasting(base.config, steps, f"{base.name}-two-parts")
    return Training(then, Training(first))
