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
    """The tables that the page has in short with columns of the rival: of each its first column and those."""
    page = (ROOT / found["page"]).read_text(encoding="utf-8")
    in_short = page.partition("\n## In short\n")[2].partition("\n#")[0]
    told = [part.splitlines() for part in in_short.split("\n\n") if part.startswith("|")]
    rival = f"minus {found['rival']}"
    return "\n\n".join(_columns(lines, rival) for lines in told if rival in lines[0])


def _columns(lines: list[str], of: str) -> str:
    """A table's first column and those whose titles hold a text."""
    head, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    kept = [n for n, title in enumerate(head) if not n or of in title]
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
