"""What networks draw on even ground beside a disc, where the truth is exactly flat.

    python scripts/ghosts.py mesr-1 mesr-lite-2 runs/x/x.safetensors

Digital phantoms, and the air that a scanner or an anonymiser fills in, are even to the last bit, which no scan with noise is; a network
may never have learned to leave them alone. HU, where the range is -1000 to 1000 HU.
"""

from __future__ import annotations

import argparse
from fractions import Fraction

import numpy as np
import torch

from mesr import tables
from mesr.data import reference_pair
from mesr.models import weights
from mesr.models.contract import SuperResolver
from mesr.volume import FloatImage

SIZE = 420
RADII = (100, 150, 200)
NOISES = (0.0, 20.0)
SCALES = ("1.5", "2", "2.5", "3", "3.5", "4")
FAR = 16
"""Pixels of the result from the disc's edge on, where its own ringing is over."""

AIR, RANGE = -1000.0, 2000.0


def disc(radius: float, noise: float = 0.0) -> tuple[FloatImage, FloatImage]:
    """(H, W): a disc in 0…1, AIR outside, 1000 HU above it inside, its edge a pixel soft; and each pixel's distance from its centre.

    Args:
        noise: inside the disc, HU (σ).
    """
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    distance = np.hypot(rows, columns)
    values = 1000.0 / (1.0 + np.exp(np.clip(2 * (distance - radius), -50, 50)))
    grains = np.random.default_rng(0).normal(0.0, 1.0, values.shape)
    values += np.where(distance < radius, noise * grains, 0.0)
    return (values / RANGE).clip(0).round(7).astype(np.float32), distance.astype(np.float32)


def ghosts(model: SuperResolver, scale: str, radius: float, noise: float = 0.0) -> float:
    """The largest error in the air around a disc, HU."""
    values, distance = disc(radius, noise)
    pair = reference_pair(torch.from_numpy(values)[None, None], Fraction(scale))
    with torch.inference_mode():
        error = (model.whole(pair.lr, pair.grid) - pair.hr)[0, 0].abs().numpy() * RANGE
    far = distance[: error.shape[0], : error.shape[1]] > radius + FAR
    return float(error[far].max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", nargs="+", help="names or files")
    body = []
    for name in parser.parse_args().weights:
        model, card = weights.load(name)
        worst = (
            max(ghosts(model, scale, radius, noise) for radius in RADII for noise in NOISES)
            for scale in SCALES
        )
        body.append([card.name, *(f"{one:.1f}" for one in worst)])
    print(tables.markdown(["HU", *(f"×{scale}" for scale in SCALES)], body))


if __name__ == "__main__":
    main()
