"""Seconds of a training step with the head's fast forms, and with the head as the paper has it.

    python benchmarks/training.py --blocks 16 --steps 10

A step is what `mesr train` does: forward, loss, backward, optimiser. Patches are random numbers, so that no set is needed
and drawing costs nothing. Both ways see the same scales in turns, and medians are printed for each scale and for all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from mesr import runtime
from mesr.device import use_bf16
from mesr.grid import Axis, Grid, fraction
from mesr.losses import pixel
from mesr.models.mesr import Mesr
from mesr.optimiser import OptimiserConfig, make_optimiser

SCALES = ("1.5", "2", "2.5", "3", "3.7", "4")


def step(
    model: Mesr,
    optimiser: torch.optim.Optimizer,
    lr: torch.Tensor,
    hr: torch.Tensor,
    grid: Grid,
    form: str | None,
) -> float:
    """Wall seconds of one step with one form of the head; None for the one that training takes."""
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=use_bf16("auto", lr.device)):
        sr = model.decode(model.encode(lr), grid, form)  # type: ignore[arg-type]
    optimiser.zero_grad(set_to_none=True)
    pixel.log_l1(sr.float(), hr).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--json", type=Path, help="save what was measured")
    arguments = parser.parse_args()
    runtime.keep_memory()
    torch.manual_seed(0)
    model = Mesr(blocks=arguments.blocks)
    optimiser = make_optimiser(model, OptimiserConfig(name="muon"))
    lr = torch.rand(arguments.batch, 1, arguments.patch, arguments.patch)
    all_of: dict[str, list[float]] = {"fast": [], "reference": []}
    for scale in SCALES:
        axis = Axis.scaled(arguments.patch, fraction(scale))
        hr = torch.rand(arguments.batch, 1, axis.size_out, axis.size_out)
        seconds: dict[str, list[float]] = {"fast": [], "reference": []}
        for turn in range(arguments.steps + 1):
            for name, form in (("fast", None), ("reference", "reference")):
                taken = step(model, optimiser, lr, hr, Grid.plane(axis, axis), form)
                if turn:
                    seconds[name].append(taken)
        fast, reference = (statistics.median(one) for one in seconds.values())
        print(
            f"×{scale}: {fast:.3f} s a step, {reference:.3f} s with the reference form, {reference / fast:.1f}×"
        )
        for name, found in seconds.items():
            all_of[name].append(statistics.median(found))
    fast, reference = (statistics.mean(one) for one in all_of.values())
    print(f"all scales: {1 / fast:.2f} steps a second, {1 / reference:.2f} with the reference form")
    if arguments.json is not None:
        scales = {name: dict(zip(SCALES, found, strict=True)) for name, found in all_of.items()}
        arguments.json.write_text(json.dumps({"blocks": arguments.blocks, "seconds": scales}, indent=1))


if __name__ == "__main__":
    main()
