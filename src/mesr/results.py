"""results.csv: one row per slice × scale × method, written as it is measured, so that a killed run goes on.

The columns are a contract (`docs/stability.md`); `Row` is their one definition.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from . import __version__
from .errors import InputError
from .files import atomic_path
from .metrics import Measures


class Key(NamedTuple):
    """What makes two rows the same measurement."""

    commit: str
    weights_id: str
    precision: str
    degradation: str
    seed: int
    scale: str
    scan: str
    slice: int
    data_sha256: str

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Key:
        """From a row's columns, measured or still to be."""
        return cls(*(columns[name] for name in cls._fields))


@dataclass(frozen=True)
class Row:
    """One method on one slice at one scale.

    Attributes:
        commit: of the code (`code_identity`).
        model, weights_id, precision: what computed it, and in what its convolutions ran.
        seed, degradation: of the low-resolution image; the degradation `pair` is a user's own.
        scan, site, patient, slice: where it comes from; the number in the file's name, else the slice's index.
            Patients are the names of the specification.
        modality, unit: of the scan; MAE and RMSE are in this unit.
        scale: as asked for, rows × columns where they differ.
        scale_rows, scale_columns: effective, what the network was given.
        rows, columns: pixels of the reference after its crop.
        data_sha256: of the reference slice before its crop, as float32, and its intensity window.
        psnr … pixels_above: `metrics.Measures`.
        seconds: of the model alone, wall clock.
    """

    commit: str
    model: str
    weights_id: str
    precision: str
    seed: int
    degradation: str
    scan: str
    site: str
    patient: str
    slice: int
    modality: str
    unit: str
    scale: str
    scale_rows: float
    scale_columns: float
    rows: int
    columns: int
    data_sha256: str
    psnr: float
    ssim: float
    nrmse: float
    psnr_body: float
    mae_body: float
    rmse_body: float
    mae_above: float
    pixels_body: int
    pixels_above: int
    seconds: float

    @property
    def key(self) -> Key:
        """What a resumed run looks for."""
        return Key.of(vars(self))

    def measure(self, name: str) -> float:
        """One of the measures, or the seconds, by name."""
        if name not in (*Measures._fields, "seconds"):
            raise ValueError(f"no measure is called {name!r}")
        return float(getattr(self, name))


COLUMNS = tuple(f.name for f in dataclasses.fields(Row))
_TYPES: dict[str, Any] = get_type_hints(Row)


class ResultsFile:
    """results.csv of one folder: what is there already, and a place to add to.

    A line that a killed run left unfinished is dropped on opening.

    Raises:
        InputError: the file holds other columns than this version's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = read_results(path) if path.exists() else []
        self.known = {row.key: row for row in rows}
        with atomic_path(path, force=True) as temporary:
            temporary.write_text(_lines([COLUMNS, *map(_cells, rows)]), encoding="utf-8")

    def add(self, row: Row) -> None:
        """Append a row, in one write."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines([_cells(row)]))
        self.known[row.key] = row


def read_results(path: Path) -> list[Row]:
    """The whole rows of a results.csv; of two with the same key the later.

    Raises:
        InputError: the file cannot be read or holds other columns than this version's.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    whole = text[: text.rfind("\n") + 1]
    lines = csv.reader(io.StringIO(whole))
    try:
        if tuple(next(lines, ())) != COLUMNS:
            raise ValueError
        rows = [Row(**{n: _TYPES[n](c) for n, c in zip(COLUMNS, cells, strict=True)}) for cells in lines]
    except (ValueError, csv.Error):
        raise InputError(
            "results-format",
            "The file is no results.csv of this version: its columns or values differ.",
            "Choose another output folder.",
            path,
        ) from None
    return list({row.key: row for row in rows}.values())


@cache
def code_identity() -> str:
    """The commit this code is at, twelve digits; outside a repository the version.

    Asked once a process, early: whoever commits beside a long run does not change what it computes.

    Where the code differs from the commit (or there is none), a digest of the source follows a plus sign,
    so that results of unlike code never share a name.
    """
    package = Path(__file__).parent
    tracked = _git(package, "ls-files", "--error-unmatch", Path(__file__).name) is not None
    commit = _git(package, "rev-parse", "HEAD") if tracked else None
    if commit and _git(package, "status", "--porcelain", "--", ".") == "":
        return commit[:12]
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    return f"{commit[:12] if commit else __version__}+{digest.hexdigest()[:8]}"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it cannot."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cells(row: Row) -> list[str]:
    values = (getattr(row, name) for name in COLUMNS)
    return [f"{value:.9g}" if isinstance(value, float) else str(value) for value in values]


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
