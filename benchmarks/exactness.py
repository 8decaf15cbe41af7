"""What shortcuts change in a result: bfloat16 against float32, tiles against the whole slice, in HU.

    python benchmarks/exactness.py --model mesr-lite-3 --scale 2

The slice is pydicom's own head CT, shrunk, so that the truth is known and PSNR can be told.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file

import mesr
from mesr import runtime
from mesr.evaluate import degraded, parse_scale
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.metrics import psnr
from mesr.models import weights

WAYS = {
    "bfloat16": Options("cpu", "bf16"),
    "tiles of 96, full halo": Options("cpu", "float32", 96),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mesr-lite")
    parser.add_argument("--scale", default="2")
    parser.add_argument("--json", type=Path, help="save what was measured")
    arguments = parser.parse_args()
    runtime.keep_memory()
    head = Path(str(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)))
    hr = HU_WINDOW.forward(mesr.read(head).slices[0].values)
    pair = degraded(hr, parse_scale(arguments.scale))
    model, _ = weights.load(arguments.model)
    values = HU_WINDOW.inverse(pair.lr)

    def answered(options: Options) -> tuple[np.ndarray, float]:
        image = Upscaler(model, pair.grid, HU_WINDOW, options).compute(values)
        return image, psnr(HU_WINDOW.forward(image), pair.hr, pair.border)

    plain, reached = answered(Options("cpu", "float32", max(pair.lr.shape)))
    print(f"{arguments.model} at ×{arguments.scale}, whole, in float32: {reached:.3f} dB")
    found = {}
    for name, options in WAYS.items():
        image, quality = answered(options)
        change = np.abs(image - plain)
        found[name] = {
            "mean_hu": float(change.mean()),
            "largest_hu": float(change.max()),
            "psnr_db": quality - reached,
        }
        print(
            f"{name}: mean {change.mean():.4f} HU, largest {change.max():.4f} HU, PSNR {quality - reached:+.4f} dB"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
