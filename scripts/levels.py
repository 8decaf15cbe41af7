"""What a network loses where values are not on the scale that it was trained on: PSNR on the validation scans, shifted and stretched.

    python scripts/levels.py mesr-lite-3 runs/gated-first/gated-first.safetensors

A cone-beam scanner may be off by 100 HU, and other units by any factor. Input values are shifted or stretched, the results
shifted or stretched back. Means over the middle slices of every site; a network of exact differences has one figure in every column.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np

from mesr import runtime
from mesr.gallery import restored, shrunk
from mesr.metrics import psnr
from mesr.models import weights
from mesr.reproduce.sources import limited, source
from mesr.tables import markdown
from mesr.testset import subjects

SCALES = (2, 3)
SLICES = 2
"""Of every site, from its middle."""
MOVED = ((1.0, 0.0), (1.0, 100.0), (1.0, -100.0), (1.0, 300.0), (1.0, -300.0), (0.5, 0.0), (1.2, 0.0))
"""Factors, and HU that are added then."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="names of weights, or files")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    runtime.keep_memory()
    models = [weights.load(name) for name in arguments.models]
    found: dict[tuple[str, int, tuple[float, float]], list[float]] = defaultdict(list)
    for one in subjects(limited(source(arguments.data).val, SLICES)):
        for scale in SCALES:
            pair = shrunk(one, (Fraction(scale), Fraction(scale)))
            hu = one.window.inverse(pair.lr)
            for factor, offset in MOVED:
                seen = pair._replace(lr=one.window.forward(factor * hu + offset))
                for name, image in restored(models, seen, one.window).items():
                    result = one.window.forward((image - offset) / factor)
                    found[name, scale, (factor, offset)].append(psnr(result, pair.hr, pair.border))
    body = [
        [f"{card.name}, ×{scale}", *(f"{np.mean(found[card.name, scale, moved]):.2f}" for moved in MOVED)]
        for _, card in models
        for scale in SCALES
    ]
    print(markdown(["PSNR, dB", *(f"× {factor:g} {offset:+g} HU" for factor, offset in MOVED)], body))


if __name__ == "__main__":
    main()
