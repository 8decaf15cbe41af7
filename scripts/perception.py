"""What each weight of the compound loss gives and takes on the validation scans: PSNR and fine detail at ×2, and lattices.

    for w in 0.003 0.01 0.03; do
        mesr train configs/losses.yaml name=perceptual-$w out=runs/perceptual-$w losses.perceptual=$w
    done
    python scripts/perception.py mesr-lite-3 runs/perceptual-*/perceptual-*.safetensors

Means over the middle slices of every site; fine detail is 0 dB where a result shows as much as the truth
(`metrics.fine_detail`). A lattice is a grid in step with the input's pixels, HU on even ground in the body (`metrics.lattice`).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mesr import runtime
from mesr.gallery import restored, shrunk
from mesr.inference import Options
from mesr.metrics import lattice
from mesr.models import weights
from mesr.reproduce import perception
from mesr.reproduce.findings import Finding
from mesr.reproduce.sources import limited, source
from mesr.tables import markdown
from mesr.testset import EvaluationSpec, subjects

LATTICE_SCALES = (2, 3, 4)
EVEN = 30.0
"""HU a pixel, below which the truth is even ground."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="names of weights, or files")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    runtime.keep_memory()
    spec = source(arguments.data).val
    sites = sorted({site for scan in spec.scans for site in scan.sites})
    titles = [weights.load(name)[1].name for name in arguments.models]
    if len(set(titles)) < len(titles):
        parser.error("two of the weights have the same name")
    print(_details(spec, sites, dict(zip(titles, arguments.models, strict=True))))
    print(_lattices(spec, sites, arguments.models))


def _details(spec: EvaluationSpec, sites: Sequence[str], models: Mapping[str, str]) -> str:
    """PSNR and fine detail at ×2, as Markdown."""
    found = perception.findings(spec, sites, list(models.items()))
    header = ["PSNR, dB · fine detail, dB", "mean", *sites]
    return markdown(
        header,
        [[title, _cell(found, title, sites), *(_cell(found, title, [s]) for s in sites)] for title in models],
    )


def _lattices(spec: EvaluationSpec, sites: Sequence[str], models: Sequence[str]) -> str:
    """Of each of the models, the mean over slices at whole scales, as Markdown."""
    loaded = [weights.load(name) for name in models]
    body = [[card.name] for _, card in loaded]
    chosen = [one for one in subjects(limited(spec, perception.SLICES)) if one.site in sites]
    for site in sites:
        for scale in LATTICE_SCALES:
            found = defaultdict(list)
            for one in (one for one in chosen if one.site == site):
                pair = shrunk(one, (Fraction(scale), Fraction(scale)))
                truth = one.window.inverse(pair.hr)
                even = pair.body & (np.hypot(*np.gradient(truth)) < EVEN)
                for number, made in enumerate(restored(loaded, pair, one.window, Options()).values()):
                    found[number].append(lattice(made, truth, scale, even))
            for number, cells in enumerate(body):
                cells.append(f"{np.mean(found[number]):.2f}")
    return markdown(
        ["lattice, HU", *(f"{site} ×{scale}" for site in sites for scale in LATTICE_SCALES)], body
    )


def _cell(found: Sequence[Finding], title: str, sites: Sequence[str]) -> str:
    """`47.12 · -3.40`: the means over sites."""
    psnr, detail = (
        np.mean(
            [one.value for one in found if (one.method, one.measure) == (title, name) and one.scan in sites]
        )
        for name in (perception.PSNR, perception.DETAIL)
    )
    return f"{psnr:.2f} · {detail:+.2f}"


if __name__ == "__main__":
    main()
