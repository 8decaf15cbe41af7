"""How a trained network came to be, as its card tells it: recipe, budget, scans with their licences, what it started from.

Whatever a network starts from stays part of it: the card names the data of both, and a perceptual mark is inherited.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .data import scan_digest
from .losses import looking
from .models.weights import Card
from .recipe import TrainConfig
from .sampling import SamplingConfig

Origin = Mapping[str, Any]
"""Of the weights a run started from: `name`, `weights_id`, `perceptual` and `data`. Plain values, for a header of JSON."""


def origin_of(card: Card) -> Origin:
    """What the card of a network that starts from these weights has to say of them."""
    return {
        "name": card.name,
        "weights_id": card.weights_id,
        "perceptual": card.perceptual,
        "data": list(card.about.get("data") or []),
    }


def about(
    config: TrainConfig, manifest: Mapping[str, Any], steps: int, seconds: float, origin: Origin | None = None
) -> dict[str, Any]:
    """What the header of a weights file says besides name and spec (`docs/reference/weights.md`).

    Args:
        manifest: of the training set.
        steps, seconds: that the run took.
        origin: of the weights it started from.
    """
    sampling = config.sampling
    used = [one for one in manifest["series"] if _sampled(one, sampling)]
    own = [
        {key: one[key] for key in ("id", "modality", "licence", "source")}
        | {"slices": len(one["slices"]), "digest": scan_digest(one)}
        for one in used
    ]
    return {
        "intensity": "CT: HU -1000 to 1000 as 0 to 1, linear, unclipped; MR: 1st to 99.5th percentile as 0 to 1",
        "training": {
            "modalities": sorted(set(sampling.modalities)),
            "scales": _scales(sampling),
            "listed_scales": _listed(sampling),
            "coarser": sampling.coarser,
            "kernels": sampling.kernels,
            "even": sampling.even,
            "spacing_mm": _spacings(used, sampling.coarser),
            "degradation": _degradation(used, sampling.degradation),
            "steps": steps,
            "batch": sampling.batch,
            "patch": sampling.patch,
            "minutes": round(seconds / 60, 1),
            "losses": {term: weight for term, weight in config.losses.items() if weight},
            "vgg": Path(config.perceptual.vgg).name if looking(config.losses) else None,
            "schedule": {name: dataclasses.asdict(ramp) for name, ramp in config.schedule.items()},
            "optimiser": dataclasses.asdict(config.optimiser),
            "start": {key: origin[key] for key in ("name", "weights_id", "perceptual")} if origin else None,
            "seed": sampling.seed,
        },
        "data": own + _others(own, origin["data"] if origin else []),
    }


def learnt(sampling: SamplingConfig, manifest: Mapping[str, Any]) -> str:
    """What tells the slices that a run learns from, wherever their set lies, from others: 64 hex digits.

    Their order, intensity windows, sites and pixels, and the pixels of what LR is made from where that is another scan.
    """
    shown = [
        [
            one["id"],
            one["window"],
            [[entry["site"], entry["sha256"], entry.get("paired_sha256")] for entry in one["slices"]],
        ]
        for one in manifest["series"]
        if _sampled(one, sampling)
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def _sampled(series: Mapping[str, Any], sampling: SamplingConfig) -> bool:
    """Whether patches were drawn from a series."""
    sites = {entry["site"] for entry in series["slices"]}
    return (
        series["split"] == "train"
        and series["modality"] in sampling.modalities
        and (not sampling.series or series["id"] in sampling.series)
        and (not sampling.sites or not sites.isdisjoint(sampling.sites))
    )


def _others(own: list[dict[str, Any]], inherited: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the inherited scans that are not among one's own."""
    digests = {one["digest"] for one in own}
    names = {(one["id"], one["source"]) for one in own}
    return [
        one
        for one in inherited
        if (
            one["digest"] not in digests
            if "digest" in one
            else (one.get("id"), one.get("source")) not in names
        )
    ]


def _degradation(series: list[dict[str, Any]], recipe: str) -> str:
    """What made the low-resolution images: the recipe, and what it was applied to where that was another scan."""
    paired = sorted({one["paired"] for one in series if "paired" in one})
    return f"{recipe} of {' and '.join(paired)}" if paired else recipe


def _scales(sampling: SamplingConfig) -> list[float]:
    """The scales of a training: those of its list, or the ends of their range where any between was drawn."""
    if sampling.scales and not sampling.continuous:
        return sampling.scales
    ends = [sampling.low, sampling.high, *sampling.scales]
    return [min(ends), max(ends)]


def _listed(sampling: SamplingConfig) -> dict[str, Any] | None:
    """The scales drawn more often than others of their range, and in what share of the draws."""
    if not (sampling.scales and sampling.continuous):
        return None
    return {"scales": sampling.scales, "share": round(1.0 - sampling.continuous, 3)}


def _spacings(series: list[dict[str, Any]], coarser: float) -> list[float]:
    """The finest and the coarsest reference pixels that a training showed, mm."""
    found = [along for one in series for along in one["spacing"][1:]]
    return [min(found), max(found) * coarser]
