"""Where the time of a slice goes, against the machine's ceilings and against other ways to do the same.

    python benchmarks/parts.py --model mesr-lite-3 --sizes 128 256 512 --json parts.json

For each size the body, and for each scale the head in the form that is chosen, the same head as the paper has it (a
kernel a pixel, products in batches), LIIF's head on the same features, and the untrained methods. Everything that is compared is
timed in turns, and the medians are printed; shares are of body and head together. Memory is the peak of a process
that does nothing else, above what it had after its imports. On a GPU (`--device cuda`) times are the device's own.
Around the network, at ×2: a slice whole and in tiles of 256 with their full halo; and a 512² DICOM slice read, and its
result written.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from liif import LiifHead
from study import make_series
from torch import Tensor

import mesr
from mesr import runtime
from mesr.device import computing, convolutions, named, resolve_device
from mesr.grid import Grid, Target
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.models import SuperResolver, weights
from mesr.models.cost import cost
from mesr.models.mesr import Mesr
from mesr.models.weights import untrained
from mesr.volume import ArraySlices

SCALES = ("1.5", "2", "2.5", "3", "3.7", "4", "3.14159265", "1.3x2.2")
TILE = 256
"""Input pixels along a tile, without halo."""

RECORDED = 2
"""Slices before what is measured of whole ones."""

LONG = 3.0
"""Seconds."""

SLOW_PIXELS = 1 << 18
"""Output pixels beyond which the paper's form of the head is not run unless asked: it takes a second for each 2^18."""

Work = Callable[[], object]


def medians(works: Mapping[str, Work], runs: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each of several works that take turns, after one turn to warm up.

    What takes `LONG` or more is run that once: warm or not is then nothing beside it.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(runs + 1):
        for name, work in works.items():
            if turn and times[name] and times[name][0] >= LONG:
                continue
            seconds = _timed(work, device)
            if turn == 1:
                times[name].clear()
            times[name].append(seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def _timed(work: Work, device: torch.device) -> float:
    if device.type == "cuda":
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        work()
        ended.record()
        torch.cuda.synchronize(device)
        return began.elapsed_time(ended) / 1000
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ceilings(device: torch.device, runs: int) -> dict[str, float]:
    """TFLOP/s of a 4096² matrix product in float32 and bfloat16, and GB/s of a copy of 256 MB."""
    side = 4096 if device.type == "cuda" else 2048
    found = {}
    kinds = [torch.float32, torch.bfloat16, *([torch.float16] if device.type == "cuda" else [])]
    for dtype in kinds:
        name = named(dtype)
        a = torch.rand(side, side, device=device).to(dtype)
        found[name] = 2 * side**3 / medians({"": lambda a=a: a @ a}, runs, device)[""] / 1e12
    source = torch.rand(64 << 20, device=device)
    target = torch.empty_like(source)
    found["copy"] = 2 * source.nbytes / medians({"": lambda: target.copy_(source)}, runs, device)[""] / 1e9
    return found


def grid_of(size: int, scale: str) -> Grid:
    return Target.of(scale=scale).grid((1, size, size), None)


def contenders(
    model: SuperResolver, lr: Tensor, features: Tensor, grid: Grid, slow: bool, only: Collection[str] = ()
) -> dict[str, Work]:
    """What is compared at one size and scale, by name; `only` these where it names any."""
    assert isinstance(model, Mesr)
    liif = LiifHead(features.shape[1]).to(lr.device).eval()
    works: dict[str, Work] = {
        "head": lambda: model.head(features, grid.rows, grid.columns),
        "finish": lambda: model.finish(
            lr, lr.new_zeros(1, 1, grid.rows.size_out, grid.columns.size_out), grid
        ),
        "liif": lambda: liif(features.float(), grid),
    }
    if slow or grid.rows.size_out * grid.columns.size_out <= SLOW_PIXELS:
        works["reference"] = lambda: model.head(features, grid.rows, grid.columns, "reference")
    for name in untrained():
        other = weights.load(name)[0].to(lr.device)
        works[name] = lambda other=other: other.whole(lr, grid)
    return {name: work for name, work in works.items() if not only or name in ("head", *only)}


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, as it is saved."""
    device = resolve_device(arguments.device)
    dtype = convolutions(arguments.precision, device)
    model, card = weights.load(arguments.model)
    model = model.to(device)
    found: dict[str, Any] = {
        "model": card.name,
        "precision": named(dtype),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "ceilings": ceilings(device, arguments.runs),
        "sizes": {},
    }
    work = 2 * body_products(card.spec)
    for size in arguments.sizes:
        lr = torch.rand(1, 1, size, size, device=device)
        with torch.inference_mode(), computing(device, dtype):
            body = medians({"": lambda lr=lr: model.encode(lr)}, arguments.runs, device)[""]
            features = model.encode(lr).features
            assert features is not None
            scales = {
                scale: medians(
                    contenders(model, lr, features, grid_of(size, scale), arguments.slow, arguments.only),
                    arguments.runs,
                    device,
                )
                for scale in arguments.scales
            }
        found["sizes"][size] = {
            "body": body,
            "tflops": work * size**2 / body / 1e12,
            "scales": scales,
            "around": around(model, size, arguments.precision, device, arguments.runs),
        }
    found["files"] = files(arguments.runs)
    return found


def around(
    model: SuperResolver, size: int, precision: str, device: torch.device, runs: int
) -> dict[str, float]:
    """Seconds of a slice at ×2, whole and in tiles."""
    grid = grid_of(size, "2")
    values = np.random.default_rng(0).normal(0, 300, (size, size)).astype(np.float32)
    options = [Options(str(device), precision, tile) for tile in (size, TILE)]  # type: ignore[arg-type]
    whole, tiled = (Upscaler(model, grid, HU_WINDOW, one) for one in options)
    works: dict[str, Work] = {
        "whole": lambda: whole.compute(values),
        "tiled": lambda: tiled.compute(values),
    }
    for _ in range(RECORDED):  # On a GPU the kernels of a shape are recorded when it comes again.
        for work in works.values():
            work()
    return medians(works, runs, device)


def files(runs: int) -> dict[str, float]:
    """Seconds a slice of reading a 512² DICOM series, and of writing its result at ×2."""
    count = 8
    with tempfile.TemporaryDirectory() as scratch:
        make_series(Path(scratch, "in"), count)
        source = mesr.read(Path(scratch, "in"))
        result = mesr.upscale(source, scale=2, model="nearest")
        result = replace(result, slices=ArraySlices(result.array))
        works: dict[str, Work] = {
            "read": lambda: [mesr.read(Path(scratch, "in")).slices[k] for k in range(count)],
            "write": lambda: mesr.write(result, Path(scratch, "out"), force=True),
        }
        return {name: s / count for name, s in medians(works, runs, torch.device("cpu")).items()}


def body_products(spec: Mapping[str, Any]) -> float:
    """Multiply-adds of the body for one input pixel: of the whole at ×1, less its head of one kernel a pixel."""
    features = dict(spec.get("args") or {}).get("features", 64)
    return cost(spec, 1).pixel - 9 * features


def peak(model: str, size: int, scale: str, name: str) -> float:
    """Megabytes at the peak of a process that answers one slice, above its imports."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (model, size, scale, name))


def _peak(model_name: str, size: int, scale: str, name: str) -> float:
    runtime.keep_memory()
    before = peak_megabytes()
    with torch.inference_mode():
        lr = torch.rand(1, 1, size, size)
        grid = grid_of(size, scale)
        model = weights.load(model_name)[0]
        features = model.encode(lr).features
        assert features is not None
        if name == "whole":
            model.whole(lr, grid)
        else:
            contenders(model, lr, features, grid, True)[name]()
    return peak_megabytes() - before


def peak_megabytes() -> float:
    """The most that this process ever had resident. Linux's `ru_maxrss` would count the parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def table(found: Mapping[str, Any]) -> str:
    """What was measured, to read."""
    top = found["ceilings"]
    lines = [
        f"{found['model']} in {found['precision']} on {found['device']}, {found['threads']} threads",
        f"ceilings: float32 {top['float32']:.2f}, bfloat16 {top['bfloat16']:.2f} TFLOP/s, copy {top['copy']:.1f} GB/s",
    ]
    for size, one in found["sizes"].items():
        body = one["body"]
        share = one["tflops"] / top[found["precision"]]
        lines.append(
            f"\n{size}²: body {body * 1e3:.0f} ms, {one['tflops']:.2f} TFLOP/s counted, {share:.0%} of the ceiling"
        )
        lines.append(
            f"{'scale':>11} {'head ms':>8} {'share':>6} {'reference':>10} {'LIIF':>7}  corrections and untrained, ms"
        )
        for scale, times in one["scales"].items():
            head = times["head"]
            reference = f"{times['reference'] / head:>9.0f}×" if "reference" in times else f"{'':>10}"
            liif = f"{times['liif'] / head:>6.0f}×" if "liif" in times else f"{'':>7}"
            rest = ", ".join(
                f"{name} {seconds * 1e3:.0f}"
                for name, seconds in times.items()
                if name not in ("head", "reference", "liif")
            )
            lines.append(
                f"{scale:>11} {head * 1e3:>8.1f} {head / (head + body):>6.1%} {reference} {liif}  {rest}"
            )
        whole, tiled = one["around"]["whole"], one["around"]["tiled"]
        lines.append(f"a slice at ×2: {whole * 1e3:.0f} ms whole, {tiled * 1e3:.0f} ms in tiles of {TILE}")
    times = found["files"]
    lines.append(
        f"\na 512² DICOM slice: read in {times['read'] * 1e3:.1f} ms, written at ×2 in {times['write'] * 1e3:.1f} ms"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mesr-lite")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--scales", nargs="+", default=list(SCALES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["auto", "float32", "bf16"], default="auto")
    parser.add_argument("--slow", action="store_true", help="run the paper's form of the head at every size")
    parser.add_argument(
        "--only", nargs="+", default=[], help="of what is compared: finish, liif, reference, sinc, …"
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="also the peak memory of each way, at the largest size and first scale",
    )
    parser.add_argument("--json", type=Path, help="save what was measured")
    arguments = parser.parse_args()
    runtime.keep_memory()  # As the command line does.
    found = measured(arguments)
    print(table(found))
    if arguments.memory:
        size, scale = max(arguments.sizes), arguments.scales[0]
        found["peak_mb"] = {
            name: peak(arguments.model, size, scale, name)
            for name in ("whole", "head", "reference", "liif", "sinc")
        }
        told = ", ".join(f"{name} {mb:.0f} MB" for name, mb in found["peak_mb"].items())
        print(f"\npeak memory at {size}² ×{scale}, body included: {told}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
