"""What each weight of the compound loss gives and takes on the validation scans: PSNR and fine detail at ×2.

    for w in 0.003 0.01 0.03; do
        mesr train configs/losses.yaml name=perceptual-$w out=runs/perceptual-$w losses.perceptual=$w
    done
    python scripts/perception.py mesr-lite-1 runs/perceptual-*/perceptual-*.safetensors

Means over the middle slices of every site; fine detail is 0 dB where a result shows as much as the truth
(`metrics.fine_detail`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mesr import runtime
from mesr.models import weights
from mesr.reproduce import perception
from mesr.reproduce.findings import Finding
from mesr.reproduce.sources import source
from mesr.tables import markdown


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
    found = perception.findings(spec, sites, list(zip(titles, arguments.models, strict=True)))
    header = ["PSNR, dB · fine detail, dB", "mean", *sites]
    print(
        markdown(
            header,
            [
                [title, _cell(found, title, sites), *(_cell(found, title, [s]) for s in sites)]
                for title in titles
            ],
        )
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
