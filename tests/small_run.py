"""A training set of two patients and a run on it that takes a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mesr.progress import Progress
from mesr.recipe import ModelConfig, TrainConfig, ValidationConfig

ARGS = {"blocks": 1, "features": 8, "hidden": 16}


def small_set(root: Path, names: tuple[str, str] = ("train", "val")) -> Path:
    """Make a training set with edges to learn, in a folder that is new; `names` are the ids of its two series."""
    root.mkdir()
    chance = np.random.default_rng(0)
    series = []
    for name, split in zip(names, ("train", "val"), strict=True):
        slices = []
        for n in range(2):
            blocks = chance.integers(-900, 900, (16, 16)).repeat(8, axis=0).repeat(8, axis=1)
            np.save(root / f"{split}{n}.npy", blocks.astype(np.int16))
            slices.append(
                {"file": f"{split}{n}.npy", "site": "chest", "shape": [128, 128], "sha256": f"{split}{n}"}
            )
        series.append(
            {"id": name, "patient": name, "split": split, "modality": "CT", "licence": "none", "source": "made",
             "spacing": [5.0, 0.7, 0.7], "window": [-1000, 1000], "slices": slices}
        )  # fmt: skip
    (root / "manifest.json").write_text(json.dumps({"format": 1, "series": series}))
    return root


def small_run(root: Path, out: Path, **changes: object) -> TrainConfig:
    """Twelve steps of the smallest network on a set, judged twice; `changes` are attributes of the whole."""
    config = TrainConfig(
        name="tiny", set=str(root), out=str(out), model=ModelConfig("mesr", dict(ARGS)), steps=12
    )
    config.sampling.patch, config.sampling.batch = 12, 2
    config.optimiser.warmup = 2
    config.validation = ValidationConfig(every=6, scales=[2.0], slices=1)
    config.precision = "float32"
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def silent(_: Progress) -> None:
    """No reports."""
