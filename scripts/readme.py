"""Fill the tables of gains in README.md from the results that are committed.

    python scripts/readme.py

A table stands between `<!-- gains: MODEL MEASURE FILE -->` and `<!-- gains: end -->`: the model's gain over the
windowed sinc on the sites of patients' CT, its 95 % interval and its own mean in brackets. A test asks whether filling
would change anything.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from mesr import tables
from mesr.results import Row, read_results

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?P<begin><!-- gains: (?P<model>\S+) (?P<measure>\S+) (?P<file>\S+) -->\n).*?(?P<end><!-- gains: end -->)",
    re.DOTALL,
)


def filled(text: str) -> str:
    """The text with each of its tables made anew."""
    return BLOCK.sub(lambda found: f"{found['begin']}\n{_table(found)}\n\n{found['end']}", text)


def _table(found: re.Match[str]) -> str:
    shown = [row for row in _rows(ROOT / found["file"]) if row.modality == "CT" and _of_a_patient(row)]
    return tables.gain_table(shown, found["model"], measure=found["measure"]).split("\n\n", 1)[1]


def _of_a_patient(row: Row) -> bool:
    return "phantom" not in tables.people([row.patient])


@cache
def _rows(path: Path) -> list[Row]:
    return list(read_results(path))


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
