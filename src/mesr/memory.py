"""How much memory there is, how large a tile it allows, and what running out of it looks like."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from . import cgroups
from .grid import Grid
from .models import SuperResolver

BYTES_PER_PIXEL = 2048
"""Peak memory of a 64-channel body per low-resolution pixel, measured, rounded up."""

SLICE_BYTES = 600 << 20
"""Memory a slice may take before it is tiled, where there is more: 554² input pixels of features. The images before and
after count as well, so that a result of 8192² is computed in no more than a gigabyte."""

LEAST_BYTES = 80 << 20
"""Of which so much is left to the features of a tile, however large the images are."""

LEAST_TILE = 32
"""Input pixels along a tile, without halo, that a tile is never cut below."""

_UNKNOWN = 4 << 30
_RAN_OUT = ("can't allocate memory", "out of memory", "not enough memory", "ALLOC_FAILED")
"""What PyTorch says on Linux and on Windows, and what CUDA's libraries say."""


def plan_tile(model: SuperResolver, grid: Grid, device: torch.device = torch.device("cpu")) -> int:  # noqa: B008
    """Input pixels along a tile that keep a slice within its share of the device's free memory."""
    height, width = grid.rows.size_in, grid.columns.size_in
    if model.receptive_field is None or model.parameter_count == 0:
        return max(height, width)
    images = 4 * (4 * height * width + grid.rows.size_out * grid.columns.size_out)
    budget = min(max(LEAST_BYTES, SLICE_BYTES - images), free_memory(device) // 4)
    side = int((budget / BYTES_PER_PIXEL) ** 0.5)
    if height * width <= side * side:
        return max(height, width)
    return max(2 * LEAST_TILE, side - 2 * model.receptive_field)


def smaller(tile: int) -> int | None:
    """The tile to try after one that did not fit: half of it; None where that would be too small."""
    return tile // 2 if tile >= 2 * LEAST_TILE else None


def free_memory(device: torch.device = torch.device("cpu"), root: Path = Path("/")) -> int:  # noqa: B008
    """Bytes this process may still take on a device: of the machine, or of its container where that is less.

    What holds files that can be read again counts as free, on the machine and in a container: a study that was just
    read would else leave no memory to compute it in.

    Args:
        root: where Linux's `/proc` and `/sys` are found.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [*_machine(root), *_containers(root)]
    return max(0, min(found)) if found else _UNKNOWN


def _machine(root: Path) -> list[int]:
    """MemAvailable of the machine; nothing where it does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return [int(line.split()[1]) << 10]
    return []


def _containers(root: Path) -> Iterator[int]:
    """What each control group around this process still has room for."""
    for place, first in cgroups.around("memory", root):
        if first:
            yield from _room(place, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            yield from _room(place, "memory.max", "memory.current", "inactive_file")


def _room(place: Path, limit: str, used: str, cache: str) -> list[int]:
    """What a control group has room for; nothing where it has no limit."""
    with contextlib.suppress(OSError, ValueError):
        most = (place / limit).read_text().strip()
        if most != "max":
            told = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
            return [int(most) - int((place / used).read_text()) + int(told.get(cache, 0))]
    return []


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is no memory left; PyTorch has a type for it on GPUs, on processors a text."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _RAN_OUT)
