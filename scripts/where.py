"""Where the error of networks lies: in the body or beside it, on even ground or at steep edges, at one site and scale.

    python scripts/where.py configs/test.yaml --site head --scale 4 --every 5 A.safetensors B.safetensors

Steepness is that of the truth, HU a pixel. Of each part its share of the pixels, every network's mean squared error, HU²,
and its share of that network's error; then the mean of the error itself, HU, by which values drift; then by what factor
all that a network adds to the bicubic image would have to be multiplied to come nearest to the truth: above one where it
sharpens too little, below where it sharpens too much. For finding out why a network is behind; a look at test is written
down as one.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from mesr import runtime
from mesr.evaluate import Pair, degraded, parse_scale
from mesr.inference import Options, Upscaler
from mesr.intensity import Window
from mesr.models import weights
from mesr.models.contract import SuperResolver
from mesr.reproduce.sources import at_sites
from mesr.tables import markdown
from mesr.testset import counted_air, log_look, specification, subjects
from mesr.volume import FloatImage, Mask

STEPS = (10.0, 50.0, 200.0)
"""Bounds of steepness, HU a pixel."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("specification", type=Path)
    parser.add_argument("models", nargs="+", help="names of weights, or files")
    parser.add_argument("--site", required=True)
    parser.add_argument("--scale", default="2")
    parser.add_argument("--every", type=int, default=1, help="of the slices")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    runtime.keep_memory()
    spec = at_sites(specification(arguments.specification), [arguments.site])
    if spec.split == "test":
        log_look(Path(spec.looks), f"scripts/where.py --site {arguments.site} --scale {arguments.scale}")
    loaded = [weights.load(name) for name in arguments.models]
    pixels: dict[str, int] = defaultdict(int)
    error: dict[tuple[str, str], float] = defaultdict(float)
    drift: dict[tuple[str, str], float] = defaultdict(float)
    along: dict[tuple[str, str], float] = defaultdict(float)
    power: dict[tuple[str, str], float] = defaultdict(float)
    bicubic, _ = weights.load("bicubic")
    for one in list(subjects(spec))[:: arguments.every]:
        reference = counted_air(one.volume.slices[one.k], one.volume.unit, one.window)
        pair = degraded(one.window.forward(reference), parse_scale(arguments.scale))
        inner = (slice(pair.border, -pair.border),) * 2
        truth = np.clip(pair.hr, 0, 1)[inner] * one.window.width
        parts = _parts(truth, pair.body[inner])
        for name, part in parts.items():
            pixels[name] += int(part.sum())
        plain = _made(bicubic, pair, one.window, arguments.device)[inner]
        for model, card in loaded:
            result = _made(model, pair, one.window, arguments.device)[inner]
            missed, added = result - truth, result - plain
            for name, part in parts.items():
                error[card.name, name] += float(np.square(missed[part]).sum())
                drift[card.name, name] += float(missed[part].sum())
                along[card.name, name] += float((added * (truth - plain))[part].sum())
                power[card.name, name] += float(np.square(added[part]).sum())
    names = [card.name for _, card in loaded]
    body = [
        [
            part, f"{count / pixels['all']:.1%}",
            *(f"{error[name, part] / max(count, 1):.1f} ({error[name, part] / error[name, 'all']:.1%})" for name in names),
        ]
        for part, count in pixels.items()
    ]  # fmt: skip
    print(markdown(["part", "of the pixels", *names], body))
    means = [
        [part, *(f"{drift[name, part] / max(count, 1):+.2f}" for name in names)]
        for part, count in pixels.items()
    ]
    print(markdown(["mean error, HU", *names], means))
    factors = [
        [part, *(f"{along[name, part] / max(power[name, part], 1e-9):.3f}" for name in names)]
        for part in pixels
    ]
    print(markdown(["best factor of what is added", *names], factors))


def _made(model: SuperResolver, pair: Pair, window: Window, device: str) -> FloatImage:
    """What a model makes of the shrunk slice, HU above the window's lower end."""
    upscaler = Upscaler(model, pair.grid, window, Options(device=device))
    made = window.forward(upscaler.compute(window.inverse(pair.lr)))
    return np.clip(made, 0, 1) * window.width


def _parts(truth: FloatImage, body: Mask) -> dict[str, Mask]:
    steepness = np.hypot(*np.gradient(truth))
    found = {"all": np.ones_like(body), "body": body, "beside it": ~body}
    for low, high in zip((0.0, *STEPS), (*STEPS, np.inf), strict=True):
        found[f"{low:g} to {high:g} HU a pixel"] = (steepness >= low) & (steepness < high)
    return found


if __name__ == "__main__":
    main()
