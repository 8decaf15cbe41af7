"""plan.json: what became of every row, so that a second call skips what is done. Written whole, after every row."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .. import locks
from ..errors import InputError, UsageError
from ..files import atomic_path, check_file, made
from ..models.weights import INVENTING
from .rows import Row
from .trainings import Training, settings

FORMAT = 3

PLAN = "plan.json"

LOCK = ".lock.sqlite"
"""In the output folder: held by the call that trains and measures there."""

PAST = 0.1
"""dB below its best validation, from which on a training is said to have gone on for too long."""

Status = Literal["planned", "done", "failed", "absent"]


@dataclass
class Trained:
    """What a training turned out to be.

    Attributes:
        fingerprint: of the settings it was trained with.
        weights_id: sha256 of tensors and spec.
        steps, samples: of this training and those it started from; patches.
        samples_at: patches at ×2, or at its own scale.
        minutes: wall clock, likewise.
        course: at each validation the step of this training and the PSNR on the slices to validate on, dB, mean over
            sites and scales.
        losses: weight of each term.
        slope: mean norm of the critic's gradient over the last half of the steps it learnt in; 0 without a critic.
        computed: in what arithmetic and where.
    """

    fingerprint: str
    weights_id: str
    steps: int
    samples: int
    samples_at: int
    minutes: float
    course: list[tuple[int, float]]
    losses: dict[str, float] = field(default_factory=dict)
    slope: float = 0.0
    computed: str = ""

    @property
    def worse(self) -> bool:
        """Whether its last validation is no better than its first, of PSNR, which some terms give up (`weights.INVENTING`)."""
        return self._for_psnr and len(self.course) > 1 and self.course[-1][1] <= self.course[0][1]

    @property
    def given_up(self) -> float:
        """PSNR below its first validation, dB, that a training with terms of that kind ended with; 0 where it lost none."""
        return 0.0 if self._for_psnr else max(0.0, self.course[0][1] - self.course[-1][1])

    @property
    def past(self) -> tuple[int, float] | None:
        """Step and PSNR of its best validation where the last one is clearly below it: it learned its slices by heart."""
        best = max(self.course, key=lambda point: point[1])
        return best if self._for_psnr and self.course[-1][1] < best[1] - PAST else None

    @property
    def _for_psnr(self) -> bool:
        return not self.losses.keys() & {*INVENTING}


@dataclass
class Fate:
    """What became of a row.

    Attributes:
        status: "absent" for a row that this budget does not train.
        fingerprint: of all that decides its result (`fingerprint`).
        weights_id, commit, precision: of what was measured, of the code that measured it, and in what its convolutions ran.
        measurements: how many it has in results.csv; 0 where that was not counted.
        code, sentence: of the error that ended it.
    """

    status: Status = "planned"
    fingerprint: str = ""
    weights_id: str = ""
    commit: str = ""
    precision: str = ""
    measurements: int = 0
    code: str = ""
    sentence: str = ""


class State:
    """plan.json of an output folder.

    Attributes:
        vgg: that perceptual terms looked at in the trainings it knows; empty before there is one.

    Raises:
        InputError: the file is of another version, or of another budget or other scans.
    """

    def __init__(self, folder: Path, budget: str, data: str) -> None:
        self.folder, self.path = folder, folder / PLAN
        self.budget, self.data, self.vgg = budget, data, ""
        self.rows: dict[str, Fate] = {}
        self.trainings: dict[str, Trained] = {}
        self._read()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """The folder for this call alone, and what is in it now: the plan is written whole.

        Raises:
            UsageError: code `in-use`, another call has it.
        """
        check_file(self.folder / LOCK, force=True)
        try:
            held = locks.take(made(self.folder) / LOCK)
        except BlockingIOError:
            raise UsageError(
                "in-use", "Another call is writing into this output folder.",
                "Wait for it, or choose another folder.", self.folder,
            ) from None  # fmt: skip
        with contextlib.closing(held):
            self._read()
            yield

    def _read(self) -> None:
        if not self.path.exists():
            return
        try:
            held = json.loads(self.path.read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise ValueError
            self.rows = {key: Fate(**value) for key, value in held["rows"].items()}
            self.trainings = {key: _trained(value) for key, value in held["trainings"].items()}
            self.vgg = str(held.get("vgg", ""))
            own = held["budget"], held["data"]
            if not {one.status for one in self.rows.values()} <= {*get_args(Status)}:
                raise ValueError
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise InputError(
                "plan-format", "The plan in the output folder is not of this version.",
                "Choose another output folder.", self.path,
            ) from None  # fmt: skip
        if own != (self.budget, self.data):
            raise InputError(
                "other-plan",
                "The output folder holds a reproduction under another budget or from other scans.",
                "Choose another folder with -o.",
                self.path,
            )

    def save(self) -> None:
        """Write it, atomically."""
        held = {
            "format": FORMAT,
            "budget": self.budget,
            "data": self.data,
            "vgg": self.vgg,
            "rows": {key: dataclasses.asdict(value) for key, value in self.rows.items()},
            "trainings": {key: dataclasses.asdict(value) for key, value in self.trainings.items()},
        }
        with atomic_path(self.path, force=True) as temporary:
            temporary.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")

    def fate(self, row: Row) -> Fate:
        """Of a row; a new one where it is another row than the one that ended."""
        held = self.rows[row.id] = self.known(row)
        return held

    def known(self, row: Row) -> Fate:
        """What became of this very row; "planned" where nothing did, or where another row had its id."""
        own = fingerprint(row)
        if row.absent:
            return Fate("absent", own, sentence=row.absent)
        held = self.rows.get(row.id)
        return held if held is not None and held.fingerprint == own else Fate(fingerprint=own)

    def trained(self, one: Training) -> Trained | None:
        """Of a training with these very settings; None where there is none."""
        held = self.trainings.get(one.name)
        return held if held is not None and held.fingerprint == digest(settings(one)) else None


def vgg_of(folder: Path) -> str:
    """`State.vgg` of an output folder, whatever its budget and scans; empty where it tells none, damaged ones included."""
    try:
        return str(json.loads((folder / PLAN).read_text(encoding="utf-8"))["vgg"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _trained(held: dict[str, Any]) -> Trained:
    course = [(int(step), float(psnr)) for step, psnr in held["course"]]
    if not course:
        raise ValueError("a training without a validation")
    return Trained(**{**held, "course": course})


def fingerprint(row: Row) -> str:
    """sha256 (hex) of a row's trainings and what it is measured at."""
    about: dict[str, Any] = {
        "method": row.method,
        "trainings": [settings(one) for one in row.trainings],
        "scales": row.scales,
        "degradation": row.degradation,
        "sites": row.sites,
        "thorough": row.thorough,
    }
    return digest(about)


def digest(about: Any) -> str:
    """sha256 (hex) of plain values."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
