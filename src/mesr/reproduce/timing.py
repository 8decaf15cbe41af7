"""What each method takes for one slice, measured in turns on the machine at hand: medians of runs hours apart compare nothing."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np
import torch

from ..device import resolve_device
from ..files import counted
from ..grid import Target
from ..inference import Options, Upscaler
from ..intensity import HU_WINDOW
from ..models.registry import Spec, build
from ..models.weights import identify
from .findings import Finding

SIZE, SCALE, TURNS = 256, Fraction(2), 3
SECONDS = f"seconds for a {SIZE}² input at ×{SCALE}"
CPUS = Path("/proc/cpuinfo")


def findings(methods: Sequence[tuple[str, Spec]], options: Options = Options()) -> list[Finding]:  # noqa: B008
    """Median seconds of every method, warm, all of them one after the other in each turn.

    Args:
        methods: title and architecture, which takes as long before it has learned anything as after: networks that
            were trained elsewhere are timed beside those at hand.
    """
    grid = Target.of(scale=SCALE).grid((1, SIZE, SIZE), None)
    noise = np.random.default_rng(0).normal(0, 300, (SIZE, SIZE)).astype(np.float32)
    ready = [(title, spec, Upscaler(build(spec).eval(), grid, HU_WINDOW, options)) for title, spec in methods]
    taken: dict[str, list[float]] = {}
    for turn in range(TURNS + 1):
        for title, _, upscaler in ready:
            began = time.perf_counter()
            upscaler.compute(noise)
            if turn:  # The first one allocates.
                taken.setdefault(title, []).append(time.perf_counter() - began)
    place = machine(resolve_device(options.device))
    return [
        Finding(place, title, identify({}, spec), SECONDS, median(taken[title])) for title, spec, _ in ready
    ]


def machine(device: torch.device) -> str:
    """What computes there, `AMD EPYC, 2 threads`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = CPUS.read_text(encoding="utf-8").splitlines() if CPUS.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, '') or platform.machine()}, {counted(torch.get_num_threads(), 'thread', 'threads')}"
