"""How much memory there is, how large a tile it allows, and what running out of it looks like."""

from __future__ import annotations

import os

import torch

from .grid import Grid
from .models import SuperResolver

BYTES_PER_PIXEL = 2048
"""Peak memory of a 64-channel body per low-resolution pixel, measured, rounded up."""

SLICE_BYTES = 600 << 20
"""Memory the features of a slice may take before it is tiled, where there is more: 554² input pixels."""

LEAST_TILE = 32
"""Input pixels along a tile, without halo, that a tile is never cut below."""

_UNKNOWN = 4 << 30


def plan_tile(model: SuperResolver, grid: Grid, device: torch.device = torch.device("cpu")) -> int:  # noqa: B008
    """Input pixels along a tile that keep a slice within its share of the device's free memory."""
    height, width = grid.rows.size_in, grid.columns.size_in
    if model.receptive_field is None or model.parameter_count == 0:
        return max(height, width)
    budget = min(SLICE_BYTES, free_memory(device) // 4)
    side = int((budget / BYTES_PER_PIXEL) ** 0.5)
    if height * width <= side * side:
        return max(height, width)
    return max(2 * LEAST_TILE, side - 2 * model.receptive_field)


def free_memory(device: torch.device = torch.device("cpu")) -> int:  # noqa: B008
    """Bytes this process may still take on a device: of the machine, or of its container where that is less."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return _UNKNOWN
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:  # noqa: PTH123
            text = limit.read().strip()
            if text != "max":
                free = min(free, int(text) - int(used.read()))
    except (OSError, ValueError):
        return int(free)
    return max(0, int(free))


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is no memory left; PyTorch has a type for it on GPUs, on processors a text."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
