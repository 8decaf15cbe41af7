"""How long to wait after a failure. On the monotonic clock and in memory: after a restart nothing waits."""

from __future__ import annotations

import time


class Backoff:
    """Waits that double from the first to the most, by whatever they are for."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._until: dict[str, float] = {}

    def fail(self, key: str, times: int) -> float:
        """The `times`th failure in a row (from 1): how many seconds to wait from now on."""
        wait = min(self._most, self._first * 2.0 ** min(times - 1, 60))
        self._until[key] = time.monotonic() + wait
        return wait

    def clear(self, key: str) -> None:
        """No failure any more."""
        self._until.pop(key, None)

    def waits(self, key: str) -> bool:
        """Whether it is too early."""
        return time.monotonic() < self._until.get(key, 0.0)
