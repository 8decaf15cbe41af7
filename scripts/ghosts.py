"""What networks draw on even ground beside a disc, or around a patient, where the truth is exactly flat.

    python scripts/ghosts.py mesr-lite-3 runs/x/x.safetensors
    python scripts/ghosts.py mesr-lite-3 --set set

Digital phantoms, and the air that a scanner or an anonymiser fills in, are even to the last bit, which no scan with noise is; a network
may never have learned to leave them alone. HU, where the range is -1000 to 1000 HU. With `--set`, a training set, its validation slices
with the air around the patient filled in are looked at rather than discs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from mesr import tables
from mesr.data import load_slices, reference_pair
from mesr.models import weights
from mesr.models.contract import SuperResolver
from mesr.volume import FloatImage

SIZE = 420
RADII = (100, 150, 200)
NOISES = (0.0, 20.0)
SCALES = ("1.5", "2", "2.5", "3", "3.5", "4")
FAR = 16
"""Pixels of the result from what is not even on, where its own ringing is over."""

FILLED = 12
"""Validation slices whose air is filled in, evenly spread over the set."""

AIR_BELOW, AROUND = 0.15, 3
"""What counts as air: below -700 HU and joined to the border, but for so many pixels around all else."""

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


def filled(values: FloatImage) -> tuple[FloatImage, FloatImage]:
    """A CT slice (H, W) with the air around the patient filled in; and each pixel's distance from what is not filled in."""
    parts, _ = ndimage.label(values < AIR_BELOW)
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    kept = ndimage.binary_dilation(~np.isin(parts, outer[outer > 0]), iterations=AROUND)
    distance = ndimage.distance_transform_edt(~kept)
    return np.where(kept, values, 0.0).astype(np.float32), distance.astype(np.float32)


def ghosts(model: SuperResolver, scale: str, radius: float, noise: float = 0.0) -> float:
    """The largest error in the air around a disc, HU."""
    values, distance = disc(radius, noise)
    return _error(model, scale, values, distance - radius)


def ghosts_around(model: SuperResolver, scale: str, slices: list[FloatImage]) -> float:
    """The largest error in the filled-in air around patients, HU."""
    return max(_error(model, scale, *filled(one)) for one in slices)


def _error(model: SuperResolver, scale: str, values: FloatImage, distance: FloatImage) -> float:
    pair = reference_pair(torch.from_numpy(values)[None, None], Fraction(scale))
    with torch.inference_mode():
        error = (model.whole(pair.lr, pair.grid) - pair.hr)[0, 0].abs().numpy() * RANGE
    return float(error[distance[: error.shape[0], : error.shape[1]] > FAR].max(initial=0.0))


def _of_discs(model: SuperResolver) -> Iterator[float]:
    for scale in SCALES:
        yield max(ghosts(model, scale, radius, noise) for radius in RADII for noise in NOISES)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", nargs="+", help="names or files")
    parser.add_argument("--set", type=Path, help="training set, whose slices are looked at rather than discs")
    arguments = parser.parse_args()
    slices = []
    if arguments.set:
        every = load_slices(arguments.set, "val", ["CT"])
        spread = np.linspace(0, len(every) - 1, min(FILLED, len(every))).round().astype(int)
        slices = [every[index].patch(slice(None), slice(None)).copy() for index in spread]
    body = []
    for name in arguments.weights:
        model, card = weights.load(name)
        worst = (ghosts_around(model, scale, slices) for scale in SCALES) if slices else _of_discs(model)
        body.append([card.name, *(f"{one:.1f}" for one in worst)])
    print(tables.markdown(["HU", *(f"×{scale}" for scale in SCALES)], body))


if __name__ == "__main__":
    main()
