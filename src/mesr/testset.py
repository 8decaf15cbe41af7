"""What to measure on: the scans of a YAML file, one slice at a time, and the log of looks at a test set.

A test set is only to report on (`protocol.md`, Data), so every use of one leaves a line in a committed file,
and no network is measured on a scan it was trained on.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .config import load
from .data import digest
from .degrade import Degradation, seed_of
from .errors import InputError, UsageError
from .files import unwritable
from .intensity import AIR_HU, Window, window_for
from .modality import identified
from .models.weights import Card
from .prepare import prepared, slice_number, volumes
from .regions import assert_covered, assert_ranges, covering
from .results import code_identity
from .volume import FloatImage, Modality, Slice, Volume


@dataclass
class MeasuredScan:
    """One scan to measure on.

    Attributes:
        path: file or folder, relative to the root.
        modality: "CT" or "MR"; volumes that say they are another are left out.
        patient: any name; the unit of the intervals. Or, for a folder of many:
        patients: unit to the first and last number in the file names (or slice indices) it covers.
        sites: body region likewise; numbers in no region are left out. Without any the site is "all".
        name: in the results; the path's last part where empty.
        licence, source: for the credits.
    """

    path: str
    modality: Modality
    patient: str = ""
    patients: dict[str, list[int]] = field(default_factory=dict)
    sites: dict[str, list[int]] = field(default_factory=dict)
    name: str = ""
    licence: str = "not stated"
    source: str = "not stated"

    def __post_init__(self) -> None:
        assert_ranges(self.sites, "sites")
        assert_ranges(self.patients, "patients")

    @property
    def label(self) -> str:
        """What the results call it."""
        return self.name or Path(self.path).name

    @property
    def people(self) -> set[str]:
        """The patients it names."""
        return set(self.patients) or {self.patient or self.label}

    def place(self, number: int) -> tuple[str, str] | None:
        """Site and patient of a slice, or None where it is not to be measured."""
        site = covering(self.sites, number) if self.sites else "all"
        patient = covering(self.patients, number) if self.patients else self.patient or self.label
        return (site, patient) if site is not None and patient is not None else None


@dataclass
class EvaluationSpec:
    """What to measure on: a YAML file such as configs/test.yaml.

    Attributes:
        scans: the scans.
        root: folder their paths start from, relative to the file.
        split: "test" sets are only to report on; every look at one is logged.
        looks: the log of those looks, relative to the file; a test set must have one.
    """

    scans: list[MeasuredScan]
    root: str = "."
    split: Literal["val", "test"] = "val"
    looks: str = ""


def specification(path: Path) -> EvaluationSpec:
    """A specification from its YAML file, its paths made absolute.

    Raises:
        UsageError: it cannot be read, a key is unknown, or a test set names no log.
    """
    spec = load(EvaluationSpec, path)
    if spec.split == "test" and not spec.looks:
        raise UsageError(
            "test-looks",
            "A test set needs a log of the looks at it, found none.",
            "Name one in the specification: looks: FILE.csv",
            path,
        )
    spec.root = str((path.parent / spec.root).resolve())
    spec.looks = str((path.parent / spec.looks).resolve()) if spec.looks else ""
    return spec


def of_paths(paths: Sequence[Path], modality: Modality | None) -> EvaluationSpec:
    """A specification of a user's own scans: one patient a path.

    They are numbered, and under another word than a training set numbers its scans: these are others.

    Args:
        modality: of all; None takes what the files say.

    Raises:
        UsageError: code `modality-needed`, a file does not say it.
        InputError: a scan cannot be read.
    """
    scans = [
        MeasuredScan(
            str(path.resolve()),
            modality or _said(path),
            patient=f"measured-{n:04d}",
            name=f"measured-{n:04d}",
        )
        for n, path in enumerate(paths)
    ]
    return EvaluationSpec(scans, "/")


def _said(path: Path) -> Modality:
    said = next(volumes(path)).modality
    if said is None:
        raise UsageError(
            "modality-needed",
            "The file does not say whether it is CT or MR.",
            "Add --modality ct or mr.",
            path,
        )
    return said


class Subject(NamedTuple):
    """A slice to measure on; its pixels are read when its turn comes."""

    scan: MeasuredScan
    volume: Volume
    window: Window
    k: int
    number: int
    site: str
    patient: str

    def about(self, reference: FloatImage) -> dict[str, Any]:
        """The columns that tell which slice it is."""
        pixels = hashlib.sha256(f"{reference.shape} {self.window}".encode())
        pixels.update(np.ascontiguousarray(reference, dtype="<f4").tobytes())
        return {
            "scan": self.scan.label,
            "site": self.site,
            "patient": self.patient,
            "slice": self.number,
            "modality": self.scan.modality,
            "unit": self.volume.unit,
            "data_sha256": pixels.hexdigest(),
        }

    def seen_by(self, degradation: Degradation, reference: FloatImage, seed: int) -> FloatImage:
        """What the degradation shrinks, in the networks' range: the slice, or a simulated scan of it.

        Raises:
            UsageError: the scan cannot be simulated, code `degradation`.
        """
        if degradation.scans:
            geometry = self.volume.geometry
            if self.volume.unit != "HU" or not geometry.known:
                raise UsageError(
                    "degradation",
                    f"The degradation {degradation.name} needs CT in HU with a pixel spacing, found none.",
                )
            reference = degradation.scan(reference, geometry.spacing[1:], seed_of(reference, seed))
        return self.window.forward(reference)


def subjects(spec: EvaluationSpec) -> Iterator[Subject]:
    """Every slice to measure on.

    Raises:
        InputError: a scan cannot be read, or has no slice in one of its sites, code `no-slices`.
    """
    for scan in spec.scans:
        numbers = []
        for volume in volumes(Path(spec.root) / scan.path):
            if volume.modality not in (scan.modality, None):
                continue
            volume = identified(volume, scan.modality)
            window = window_for(volume)
            for k in range(len(volume.slices)):
                number = slice_number(volume, k)
                numbers.append(number)
                place = scan.place(number)
                if place is not None:
                    yield Subject(scan, volume, window, k, number, *place)
        assert_covered(scan.sites, numbers, scan.label)
        assert_covered(scan.patients, numbers, scan.label, "patients")


def counted_air(one: Slice, unit: str, window: Window) -> FloatImage:
    """A slice as the protocol measures it: padding and CT values under −1024 HU are air (MR: the window's low)."""
    air = np.float32(AIR_HU if unit == "HU" else window.low)
    values = one.values if one.padding is None else np.where(one.padding, air, one.values)
    return np.maximum(values, air) if unit == "HU" else values


def log_look(path: Path, command: str) -> None:
    """Add date, commit and command to the log of looks at a test set.

    Raises:
        OutputError: code `unwritable`.
    """
    with unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            if fresh:
                lines.writerow(["date", "commit", "command"])
            today = datetime.datetime.now(datetime.UTC).date()
            lines.writerow([today.isoformat(), code_identity(), command])


def assert_unseen(spec: EvaluationSpec, cards: Sequence[Card]) -> None:
    """No network is measured on what it was trained on, by the names its card lists, or the pixels.

    Raises:
        UsageError: one would be, code `trained-on`.
        InputError: a scan cannot be read.
    """
    names = {name for scan in spec.scans for name in (scan.label, scan.patient, *scan.patients) if name}
    learnt = [(card.name, one) for card in cards for one in card.about.get("data", [])]
    digests: set[str] = set()
    if any(one.get("digest") for _, one in learnt):
        digests = {_digest(Path(spec.root) / scan.path, scan.modality) for scan in spec.scans}
    for name, one in learnt:
        if one.get("id") in names or one.get("digest") in digests:
            raise UsageError(
                "trained-on",
                f"The network {name} was trained on a scan it is to be measured on.",
                "Measure on other patients.",
            )


def _digest(path: Path, modality: Modality) -> str:
    """As a training set of the scan would have it; of nothing where a training set would not take it."""
    try:
        return digest([one.sha256 for one in prepared(path, modality)])
    except InputError as error:
        if error.code != "modality":
            raise
        return ""
