"""Slices on their way: made one ahead of who asks for them, so that reading, computing and writing go on side by side,
and timed as they pass."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from .volume import Slice, Slices


class Ahead:
    """Slices that are asked for one after the other, the next of which is made meanwhile, in a thread of its own.

    Every slice of the source is made in that thread, so a source needs no lock. One that is asked for out of order
    is made when it is asked for, and none behind it. An error comes to who asks for the slice that has it.

    Args:
        slices: the source.
        wait: make each only when it is asked for, which keeps one slice less in memory.

    Attributes:
        waited: seconds that who asked had to wait.
    """

    def __init__(self, slices: Slices, *, wait: bool = False) -> None:
        self._slices = slices
        self._wait = wait
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="mesr-ahead")
        self._made: tuple[int, Future[Slice]] | None = None
        self._last = -1
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, k: int, /) -> Slice:
        made, self._made = self._made, None
        future = made[1] if made is not None and made[0] == k else self._begin(k)
        in_order, self._last = k == self._last + 1, k
        if in_order and k + 1 < len(self) and not self._wait:
            self._made = k + 1, self._begin(k + 1)
        began = time.perf_counter()
        try:
            return future.result()
        finally:
            self.waited += time.perf_counter() - began

    def close(self) -> None:
        """Let go of the thread, once the slice that it is at is made."""
        self._made = None
        self._maker.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, k: int) -> Future[Slice]:
        return self._maker.submit(self._slices.__getitem__, k)


class Watched:
    """Slices that remember how long they took and the largest residual they came with.

    Args:
        slices: the source.
        keep: a slice that is remembered, since it will be asked for again.
    """

    def __init__(self, slices: Slices, keep: int | None = None) -> None:
        self._slices = slices
        self._keep = keep
        self._kept: Slice | None = None
        self.seconds = 0.0
        self.residual: float | None = None

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, k: int, /) -> Slice:
        if k == self._keep and self._kept is not None:
            return self._kept
        began = time.perf_counter()
        found = self._slices[k]
        if k == self._keep:
            self._kept = found
        self.seconds += time.perf_counter() - began
        if found.residual is not None:
            self.residual = max(self.residual or 0.0, found.residual)
        return found
