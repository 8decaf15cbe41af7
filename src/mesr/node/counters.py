"""What has happened since the node started, counted from many threads, in the words of its metrics."""

from __future__ import annotations

import threading
from collections import Counter

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Numbers that only rise, by name and labels."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Counter[tuple[str, Labels]] = Counter()

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise one."""
        with self._lock:
            self._values[name, tuple(sorted(labels.items()))] += amount  # type: ignore[assignment]

    def values(self) -> dict[tuple[str, Labels], float]:
        """All as they are now."""
        with self._lock:
            return dict(self._values)
