"""Figures that are no measurement of `evaluate`: one of a method on a scan, kept as CSV beside results.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from ..files import atomic_path

Method = tuple[str, str | Path]
"""Its title, and what `weights.load` is given."""


@dataclass(frozen=True)
class Finding:
    """One figure of one method on one scan.

    Attributes:
        scan: what was looked at.
        method: its title.
        measure: its name, with which goes its unit.
        sd: over what it is the mean of; NaN where that is one.
        count: of slices it is the mean of.
        gain, low, high: what it is more than the windowed sinc's on the same slices, and the 95 % interval of that
            (`tables.Difference`); NaN where that is not asked, or of a single slice.
    """

    scan: str
    method: str
    weights_id: str
    measure: str
    value: float
    sd: float = math.nan
    count: int = 1
    gain: float = math.nan
    low: float = math.nan
    high: float = math.nan


class Findings(NamedTuple):
    """What a page tells besides measurements: of `as_is`, of `perception.under_kernels`, of `perception` and of `timing`."""

    native: Sequence[Finding] = ()
    kernels: Sequence[Finding] = ()
    perception: Sequence[Finding] = ()
    seconds: Sequence[Finding] = ()


def write(found: Sequence[Finding], path: Path, keeping: Collection[str] = ()) -> None:
    """As CSV, replacing what is there.

    Args:
        keeping: methods whose figures stay where none are found now, since they cannot be found again.
    """
    kept = {*keeping} - {one.method for one in found}
    found = [*found, *(one for one in read(path) if one.method in kept)]
    with (
        atomic_path(path, force=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        lines = csv.DictWriter(file, [one.name for one in fields(Finding)], lineterminator="\n")
        lines.writeheader()
        lines.writerows(asdict(one) for one in found)


def read(path: Path) -> list[Finding]:
    """What `write` wrote; nothing where it wrote nothing."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [_finding(line) for line in csv.DictReader(file)]


def _finding(line: dict[str, str]) -> Finding:
    numbers = {name: float(line[name]) for name in ("value", "sd", "gain", "low", "high")}
    return Finding(**(line | numbers | {"count": int(line["count"])}))  # type: ignore[arg-type]
