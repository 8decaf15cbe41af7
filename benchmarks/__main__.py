"""Everything about speed and memory, one after the other, each in a process of its own.

    python benchmarks --json benchmarks.json
    python benchmarks slice start

Quiet the machine first: two jobs on the same cores measure each other. All of it takes about forty minutes on two
cores without matrix tiles; each part is a script that can be run, and has more options, by itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

PARTS: dict[str, tuple[str, ...]] = {
    "start": ("start.py",),
    "slice": ("speed.py",),
    "exactness": ("exactness.py",),
    "parts": ("parts.py", "--slow", "--memory"),
    "largest": ("speed.py", "--size", "4096", "--runs", "1"),
    "study": ("study.py", "--slices", "300", "--scale", "2", "--body"),
    "long": ("study.py", "--slices", "300", "2000", "--size", "128", "--scale", "2"),
    "training": ("training.py",),
}
"""The command line to a first result; a warm slice; what bfloat16 and tiles change in it; body, head and what else they are compared with; a result of 8192²;
a study from files to files; whether memory grows with its length; a step of training."""


def measured(name: str, model: str) -> Any:
    """Run a part, which prints its table, and give what it saves."""
    script, *rest = PARTS[name]
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch, "found.json")
        command = [sys.executable, str(HERE / script), *rest, "--json", str(saved)]
        if name != "training":
            command += ["--model", model]
        subprocess.run(command, check=True)
        return json.loads(saved.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--model", default="mesr-lite")
    parser.add_argument("--json", type=Path, help="save what was measured")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    for name in arguments.parts or PARTS:
        print(f"\n== {name} ==", flush=True)
        began = time.perf_counter()
        found[name] = measured(name, arguments.model)
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
