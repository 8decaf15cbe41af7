"""The process's settings: threads within the container's quota, memory that is reused, imports that change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesr import runtime

FAULTS = """
import resource, sys, threading, torch
if sys.argv[1] == "kept":
    from mesr import runtime
    if not runtime.keep_memory():
        sys.exit(9)
def work():
    for _ in range(20):
        torch.ones(20 << 20)  # 80 MiB, written to
def measure():
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if sys.argv[2] == "main":
    measure()
else:
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_a_container_s_quota_limits_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    for name, content in (("proc/self/cgroup", "0::/pod/box\n"), ("sys/fs/cgroup/pod/cpu.max", text)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda _: set(range(8)))
    assert runtime.processors(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 3)])
def test_a_quota_of_the_first_kind_limits_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    group = "sys/fs/cgroup/cpu,cpuacct/box"
    for name, content in {
        "proc/self/cgroup": "4:memory:/box\n5:cpu,cpuacct:/box\n", f"{group}/cpu.cfs_quota_us": f"{quota}\n",
        f"{group}/cpu.cfs_period_us": "100000\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda _: set(range(8)))
    assert runtime.processors(tmp_path) == expected


def test_a_number_of_threads_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "processors", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runtime.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runtime.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("where", ["main", "thread"])
def test_freed_memory_is_reused_without_page_faults(where: str) -> None:
    """In every thread: slices are computed in one of their own."""

    def faults(mode: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, mode, where],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 9:
            pytest.skip("the allocator here is not glibc's")
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("kept") * 10 < faults("plain")


def test_importing_the_library_changes_no_setting_of_the_process() -> None:
    code = (
        "import torch; torch.set_num_threads(1); import mesr, mesr.inference, mesr.train; "
        "mesr.upscale; print(torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "1"
