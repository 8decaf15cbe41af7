"""A command answers soon: what it does not need it does not import, and the benchmarks that time it run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

HEAVY = ("torch", "numpy", "pydicom", "nibabel", "PIL", "fastapi", "safetensors")


@pytest.mark.parametrize(
    "command", ["--help", "--version", "upscale --help", "train --help", "models --help"]
)
def test_help_imports_nothing_heavy(command: str) -> None:
    """Half a second is Python's own start and the command line's; PyTorch alone takes two."""
    script = (
        "import sys\nfrom mesr.__main__ import main\n"
        f"sys.argv = ['mesr', *{command.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


def test_the_benchmark_of_starting_runs(tmp_path: Path) -> None:
    saved = tmp_path / "start.json"
    options = ["--size", "16", "--runs", "1", "--model", "bicubic", "--json", str(saved)]
    subprocess.run([sys.executable, str(BENCHMARKS / "start.py"), *options], check=True, capture_output=True)
    found = json.loads(saved.read_text())
    assert 0 < found["help"] < found["upscale"]


def test_one_command_runs_the_benchmarks_and_saves_what_they_found(tmp_path: Path) -> None:
    saved = tmp_path / "all.json"
    command = [sys.executable, str(BENCHMARKS), "start", "--model", "bicubic", "--json", str(saved)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "mesr --help" in told
    assert json.loads(saved.read_text())["start"]["help"] > 0
    wrong = subprocess.run([sys.executable, str(BENCHMARKS), "stop"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no such part: stop" in wrong.stderr
