"""Time and peak memory of one slice: `python benchmarks/speed.py --model mesr-lite-3 --size 512 --scale 2`.

Prints the machine's float32 and bfloat16 ceilings beside the medians, so that a figure can be judged.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mesr import runtime
from mesr.grid import Target
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.models import weights


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall time of `runs` calls after one to warm up."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """Tera-operations a second of a matrix product, 2048² on a processor and 8192² on a GPU."""
    side = 8192 if device.type == "cuda" else 2048
    a = torch.rand(side, side, device=device).to(dtype)

    def work() -> None:
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return 2 * side**3 / median_seconds(work, 3) / 1e12


def peak_bytes() -> int:
    """The most memory this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mesr-lite")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--scale", default="2")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision", choices=["auto", "float32", "bf16"], default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="save what was measured")
    arguments = parser.parse_args()
    runtime.keep_memory()  # As the command line does.
    imported = peak_bytes()
    model, card = weights.load(arguments.model)
    grid = Target.of(scale=arguments.scale).grid((1, arguments.size, arguments.size), None)
    upscaler = Upscaler(model, grid, HU_WINDOW, Options(arguments.device, arguments.precision))
    values = np.random.default_rng(0).normal(0, 300, (arguments.size, arguments.size)).astype(np.float32)
    for _ in range(2 if upscaler.device.type == "cuda" else 0):  # Until the kernels are recorded.
        upscaler.compute(values)
    seconds = median_seconds(lambda: upscaler.compute(values), arguments.runs)
    used = (peak_bytes() - imported) / 1e9
    out = grid.size_out[1]
    print(
        f"{card.name}: {arguments.size}² to {out}² in {seconds:.2f} s ({upscaler.precision}, {upscaler.device}, {torch.get_num_threads()} threads)"
    )
    print(f"peak memory above the imported interpreter: {used:.2f} GB")
    ceilings = {name: ceiling(getattr(torch, name), upscaler.device) for name in ("float32", "bfloat16")}
    print("ceilings: " + ", ".join(f"{name} {value:.2f}" for name, value in ceilings.items()) + " TFLOP/s")
    if arguments.json is not None:
        found = {"model": card.name, "size": arguments.size, "scale": arguments.scale, "ceilings": ceilings}
        found |= {"seconds": seconds, "peak_gb": used, "precision": upscaler.precision}
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
