"""What a training's log.csv tells of how it went."""

from __future__ import annotations

import csv
from pathlib import Path

from ..errors import InputError


def progress(log: Path) -> list[tuple[int, float]]:
    """Step and PSNR of each validation, dB, mean over sites and scales, from a run's log.csv.

    Raises:
        InputError: the log holds no validation.
    """
    found: dict[int, list[float]] = {}
    with log.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["quantity"].startswith("psnr "):
                found.setdefault(int(line["step"]), []).append(float(line["value"]))
    if not found:
        raise InputError("no-validation", "The training's log holds no validation.", path=log)
    return [(step, sum(values) / len(values)) for step, values in sorted(found.items())]


def slope(log: Path) -> float:
    """Mean norm of the critic's gradient over the last half of its lessons, from a run's log.csv; 0 without any."""
    with log.open(newline="", encoding="utf-8") as file:
        found = [
            float(line["value"])
            for line in csv.DictReader(file)
            if line["quantity"] == "critic gradient norm"
        ]
    late = found[len(found) // 2 :]
    return sum(late) / len(late) if late else 0.0
