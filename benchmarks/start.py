"""From a cold command to its answer: `mesr --help`, and `mesr upscale` of one small slice.

    python benchmarks/start.py --runs 5

The medians of whole processes. The files they read are in the machine's cache after the first, which is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def seconds(command: list[str], runs: int) -> float:
    """Median wall seconds of a command's process.

    Raises:
        CalledProcessError: it failed.
    """
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mesr-lite")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="save what was measured")
    arguments = parser.parse_args()
    mesr = [sys.executable, "-m", "mesr"]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "slice.npy")
        shape = 1, arguments.size, arguments.size
        np.save(source, np.random.default_rng(0).normal(0, 300, shape).astype(np.float32))
        upscale = [*mesr, "upscale", str(source), "-o", str(Path(scratch, "finer.npy")), "--scale", "2"]
        upscale += ["--modality", "ct", "--model", arguments.model, "--force"]
        found = {
            "help": seconds([*mesr, "--help"], arguments.runs),
            "upscale": seconds(upscale, arguments.runs),
        }
    print(f"mesr --help: {found['help']:.2f} s")
    print(f"mesr upscale, one slice of {arguments.size}² at ×2: {found['upscale']:.2f} s")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
