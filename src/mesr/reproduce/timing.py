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
from ..models import weights
from .findings import Finding, Method

SIZE, SCALE, TURNS = 256, Fraction(2), 3
SECONDS = f"seconds for a {SIZE}² input at ×{SCALE}"
CPUS = Path("/proc/cpuinfo")


def findings(methods: Sequence[Method], options: Options = Options()) -> list[Finding]:  # noqa: B008
    """Median seconds of every method, warm, all of them one after the other in each turn."""
    grid = Target.of(scale=SCALE).grid((1, SIZE, SIZE), None)
    noise = np.random.default_rng(0).normal(0, 300, (SIZE, SIZE)).astype(np.float32)
    loaded = [(title, *weights.load(name)) for title, name in methods]
    ready = [(title, card, Upscaler(model, grid, HU_WINDOW, options)) for title, model, card in loaded]
    taken: dict[str, list[float]] = {}
    for turn in range(TURNS + 1):
        for title, _, upscaler in ready:
            began = time.perf_counter()
            upscaler.compute(noise)
            if turn:  # The first one allocates.
                taken.setdefault(title, []).append(time.perf_counter() - began)
    place = machine(resolve_device(options.device))
    return [Finding(place, title, card.weights_id, SECONDS, median(taken[title])) for title, card, _ in ready]


def machine(device: torch.device) -> str:
    """What computes there, `AMD EPYC, 2 threads`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = CPUS.read_text(encoding="utf-8").splitlines() if CPUS.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, '') or platform.machine()}, {counted(torch.get_num_threads(), 'thread', 'threads')}"
