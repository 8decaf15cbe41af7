"""The paper's Tables 1 to 3, transcribed once, to stand beside ours (Deng et al. 2023, CC BY 4.0)."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def paper() -> dict[str, Any]:
    """Citation, `doi`, `licence`, and `table1` … `table3`; numbers as printed, `parameters` cells as text."""
    found: dict[str, Any] = json.loads(
        (resources.files("mesr.reproduce") / "paper.json").read_text(encoding="utf-8")
    )
    return found
