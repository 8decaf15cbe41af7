"""What tests may need from outside: named, skipped where absent, failed where `MESR_REQUIRE` lists it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def require(name: str, present: bool) -> None:
    """Skip the test unless `present`; fail it where the environment's `MESR_REQUIRE` (a comma list) has `name`."""
    if present:
        return
    if name in os.environ.get("MESR_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required here, and is missing")
    pytest.skip(f"needs {name}")


def require_program(name: str) -> str:
    """The path of a program, or skip or fail by its name."""
    found = shutil.which(name)
    require(name, found is not None)
    return str(found)


def shared_data() -> Path:
    """`../shared/data`, the real scans; never copied into the repository."""
    require("shared", (_SHARED / "data").is_dir())
    return _SHARED / "data"


@pytest.fixture(name="shared_data")
def _shared_data() -> Path:
    return shared_data()
