"""Weights of one random block, small enough to make where a test needs them."""

from __future__ import annotations

from pathlib import Path

import torch

from mesr.models import build, weights

TRAINING = {"modalities": ["CT"], "scales": [1.0, 4.0], "spacing_mm": [0.6, 1.0], "degradation": "bicubic"}


def tiny_weights(path: Path, name: str = "tiny-1", **training: object) -> Path:
    """Write a weights file whose card says `TRAINING`, with changes; give its path."""
    spec = {"name": "mesr", "args": {"blocks": 1, "features": 8, "hidden": 16}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(spec)
    weights.save(path, name, spec, model.state_dict(), {"training": TRAINING | training})
    return path
