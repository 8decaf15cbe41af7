"""Fill the tables in README.md from the results that are committed.

    python scripts/readme.py

A table of gains stands between `<!-- gains: MODEL MEASURE FILE -->` and `<!-- gains: end -->`: the model's gain over
the windowed sinc on the sites of patients' CT, its 95 % interval and its own mean in brackets. One of leads stands
between `<!-- leads: RIVAL PAGE -->` and `<!-- leads: end -->`: where a page of `mesr reproduce` says in short what MESR
is ahead of the rival by. A test asks whether filling would change anything.
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
LEADS = re.compile(
    r"(?P<begin><!-- leads: (?P<rival>\S+) (?P<page>\S+) -->\n).*?(?P<end><!-- leads: end -->)", re.DOTALL
)


def filled(text: str) -> str:
    """The text with each of its tables made anew."""
    for block, table in ((BLOCK, _gains), (LEADS, _leads)):
        text = block.sub(lambda found: f"{found['begin']}\n{table(found)}\n\n{found['end']}", text)  # noqa: B023
    return text


def _leads(found: re.Match[str]) -> str:
    """The first table of the page that has columns of the rival: its first column and those."""
    text = (ROOT / found["page"]).read_text(encoding="utf-8")
    tables_of_page = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    rows = next(lines for lines in tables_of_page if f"minus {found['rival']}" in lines[0])
    head, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in rows)
    kept = [n for n, title in enumerate(head) if not n or f"minus {found['rival']}" in title]
    return tables.markdown([head[n] for n in kept], [[cells[n] for n in kept] for cells in body])


def _gains(found: re.Match[str]) -> str:
    shown = [row for row in _rows(ROOT / found["file"]) if row.modality == "CT" and _of_a_patient(row)]
    return tables.gain_table(shown, found["model"], measure=found["measure"]).split("\n\n", 1)[1]


def _of_a_patient(row: Row) -> bool:
    return "phantom" not in tables.people([row.patient])


@cache
def _rows(path: Path) -> list[Row]:
    return list(read_results(path))


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
