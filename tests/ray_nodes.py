"""A Ray cluster of two machines on this one: loopback, no dashboard, a folder of its own for what Ray writes."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Of a driver's environment: Ray otherwise makes of 127.0.0.1 an address that others reach."""


@dataclass
class Nodes:
    """The cluster.

    Attributes:
        address: for RAY_ADDRESS.
        folder: where Ray's logs and sessions lie.
        second: Ray's node without the head.
    """

    address: str
    folder: Path
    second: Any
    _cluster: Any

    def workers(self, node: Any) -> list[int]:
        """The processes of the pool that a node has."""
        raylet = node.all_processes["raylet"][0].process.pid
        return [pid for pid in children(raylet) if b"ray::MapWorker" in command(pid)]

    def lose_worker(self) -> int:
        """Kill one of the pool's processes on the second node, when it has one."""
        pid = until(lambda: self.workers(self.second))[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def lose_second(self) -> None:
        """Take the second machine away as a power cut would."""
        self._cluster.remove_node(self.second, allow_graceful=False)


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    # Short, since sockets lie in it; Ray takes it from the environment alone.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / "ray").mkdir()
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = str(folder)
    common: dict[str, Any] = {
        "num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20,
    }  # fmt: skip
    quick = {
        "health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4,
    }  # fmt: skip
    cluster = Cluster()
    try:
        cluster.add_node(**common, _system_config=quick)
        second = cluster.add_node(**common)
        yield Nodes(cluster.address, folder, second, cluster)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before


def until(found: Callable[[], Any]) -> Any:
    """What `found` gives, as soon as that is something."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        there = found()
        if there:
            return there
        time.sleep(0.05)
    raise TimeoutError


def children(parent: int) -> list[int]:
    """The processes a process started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                if int(status.rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return sorted(found)


def command(pid: int) -> bytes:
    """A process's command line; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(parent: int) -> list[int]:
    """The processes below a process."""
    return [pid for child in children(parent) for pid in (child, *descendants(child))]
