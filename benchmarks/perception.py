"""What each weight of the compound loss gives and takes on the validation scans: PSNR and fine detail at ×2.

    for w in 0.003 0.01 0.03; do mesr train configs/losses.yaml name=p$w out=runs/p$w losses.perceptual=$w; done
    python benchmarks/perception.py mesr-lite-1 runs/p*/p*.safetensors

Means over the middle slices of every site; fine detail is 0 dB where a result shows as much as the truth
(`metrics.fine_detail`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mesr import runtime
from mesr.reproduce import perception
from mesr.reproduce.findings import Finding
from mesr.reproduce.sources import source


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
    methods = [
        (Path(name).stem if name.endswith(".safetensors") else name, name) for name in arguments.models
    ]
    found = perception.findings(spec, sites, methods)
    print("| weights | PSNR, dB | fine detail, dB | " + " | ".join(sites) + " |")
    print("|---" * (3 + len(sites)) + "|")
    for title, _ in methods:
        own = [one for one in found if one.method == title]
        by_site = [
            f"{_of(own, perception.PSNR, (site,)):.2f} · {_of(own, perception.DETAIL, (site,)):+.2f}"
            for site in sites
        ]
        means = f"{_of(own, perception.PSNR, sites):.2f} | {_of(own, perception.DETAIL, sites):+.2f}"
        print(f"| {title} | {means} | " + " | ".join(by_site) + " |")


def _of(found: Sequence[Finding], measure: str, sites: Sequence[str]) -> float:
    """The mean of a measure over sites."""
    return float(np.mean([one.value for one in found if one.measure == measure and one.scan in sites]))


if __name__ == "__main__":
    main()
