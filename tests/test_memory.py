"""How much memory there is: of the machine, of containers of both kinds, and what counts as free."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mesr.memory import free_memory

CPU = torch.device("cpu")
GIB = 1 << 30


def system(root: Path, files: dict[str, str]) -> Path:
    """A stand-in for the files of a Linux system."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 33554432 kB\nMemFree: 1024 kB\nMemAvailable: 16777216 kB\n"}


def test_what_holds_files_counts_as_free(tmp_path: Path) -> None:
    assert free_memory(CPU, system(tmp_path, MACHINE)) == 16 * GIB


@pytest.mark.parametrize("path", ["/", "/pod/box", "/a/path/of/the/host"])
def test_a_container_is_asked_and_every_group_around_it(tmp_path: Path, path: str) -> None:
    group = "sys/fs/cgroup"
    files = MACHINE | {
        "proc/self/cgroup": f"0::{path}\n",
        f"{group}/memory.max": f"{8 * GIB}\n",
        f"{group}/memory.current": f"{6 * GIB}\n",
        f"{group}/memory.stat": f"anon {2 * GIB}\ninactive_file {4 * GIB}\n",
        f"{group}/pod/box/memory.max": "max\n",
        f"{group}/pod/memory.max": f"{5 * GIB}\n",
        f"{group}/pod/memory.current": f"{2 * GIB}\n",
        f"{group}/pod/memory.stat": "inactive_file 0\n",
    }
    expected = {"/": 6, "/pod/box": 3, "/a/path/of/the/host": 6}[path]
    assert free_memory(CPU, system(tmp_path, files)) == expected * GIB


def test_a_container_of_the_first_kind_is_asked(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/box"
    files = MACHINE | {
        "proc/self/cgroup": "5:cpu,cpuacct:/box\n4:memory:/box\n",
        f"{group}/memory.limit_in_bytes": f"{4 * GIB}\n",
        f"{group}/memory.usage_in_bytes": f"{3 * GIB}\n",
        f"{group}/memory.stat": f"total_inactive_file {GIB}\n",
    }
    assert free_memory(CPU, system(tmp_path, files)) == 2 * GIB


def test_a_group_beyond_its_limit_leaves_nothing_and_an_unknown_system_something(tmp_path: Path) -> None:
    full = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"}
    full |= {"sys/fs/cgroup/memory.current": "2000\n", "sys/fs/cgroup/memory.stat": "inactive_file 0\n"}
    assert free_memory(CPU, system(tmp_path / "full", full)) == 0
    assert free_memory(CPU, tmp_path / "none") > GIB
