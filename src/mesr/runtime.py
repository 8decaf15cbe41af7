"""What a program of ours sets for its whole process: the allocator and the number of threads.

Called at the doors only; `import mesr` in someone else's program changes neither.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
from pathlib import Path

from . import cgroups

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEPT_BYTES = 1 << 30


def keep_memory() -> bool:
    """Let glibc reuse the memory of large tensors: by default each is mapped, zeroed and unmapped anew.

    Up to a gibibyte that was freed is kept, in one arena for all threads: those of other threads give back whatever is
    larger than 64 MiB, and slices are computed in a thread. Returns whether the allocator is one that listens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = ((_TRIM_THRESHOLD, _KEPT_BYTES), (_MMAP_MAX, 0), (_ARENA_MAX, 1))
    return all([bool(mallopt(*one)) for one in wanted])


def processors(root: Path = Path("/")) -> int:
    """How many processors this process may use: of the machine, its affinity and the quotas of the containers around it.

    Args:
        root: where Linux's `/proc` and `/sys` are found.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for place, first in cgroups.around("cpu", root):
        with contextlib.suppress(OSError, ValueError):
            if first:
                quota, period = (
                    (place / "cpu.cfs_quota_us").read_text(),
                    (place / "cpu.cfs_period_us").read_text(),
                )
            else:
                quota, period = (place / "cpu.max").read_text().split()
            if quota.strip() not in ("max", "-1"):
                count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def limit_threads() -> None:
    """Start no more threads than there are processors for; to be called before PyTorch is imported.

    OpenMP knows a process's affinity, but not a container's quota. An OMP_NUM_THREADS that is set stays.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(processors()))
