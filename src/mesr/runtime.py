"""What a program of ours sets for its whole process: the allocator and the number of threads.

Called at the doors only; `import mesr` in someone else's program changes neither.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEPT_BYTES = 1 << 30
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


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


def processors() -> int:
    """How many processors this process may use: of the machine, its affinity and its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return count
    return count


def limit_threads() -> None:
    """Start no more threads than there are processors for; to be called before PyTorch is imported.

    OpenMP knows a process's affinity, but not a container's quota. An OMP_NUM_THREADS that is set stays.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(processors()))
