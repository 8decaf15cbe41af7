"""What became of every patient of a paired set: one row each, as JSON, as CSV and as a sentence."""

from __future__ import annotations

import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from .alignment import Alignment
from .errors import MesrError

JSON, CSV = "quality.json", "quality.csv"
FORMAT = 1

SHORT_MM = 50.0
"""Length along the patient that pairs show, up to which another patient's CT was seen to pass for the CBCT's own
(docs/explanation/pairs.md)."""


@dataclass(frozen=True)
class Quality:
    """One patient. None where it does not apply: a simulated CBCT is not registered, a refused one not paired.

    Attributes:
        patient: name in the set.
        split: "train" or "val"; empty where refused.
        status: "paired", "simulated" or "refused".
        code, sentence: why it was refused; else empty.
        slices: pairs written.
        left_out: CT slices without a pair, most of them beyond the CBCT's ends.
        metric_before, metric_after: mutual information, nats, as the files place the scans and as registered.
        dice_before, dice_after: overlap of the bodies, within the CBCT's field of view.
        detail_before, detail_after: correlation of detail, which registration does not look at.
        angle_x, angle_y, angle_z: rotation of the CBCT about the patient's axes, degrees.
        shift_x, shift_y, shift_z: its shift (LPS), mm, at `centre_x` …, the middle of the body in it.
        deformation_mm: largest displacement beyond the rigid movement, 0 where none was allowed.
        difference_hu: mean |CBCT − CT| inside the body after pairing.
        extent_mm: length along the patient that the pairs show.
    """

    patient: str
    status: str
    split: str = ""
    code: str = ""
    sentence: str = ""
    slices: int = 0
    left_out: int = 0
    metric_before: float | None = None
    metric_after: float | None = None
    dice_before: float | None = None
    dice_after: float | None = None
    detail_before: float | None = None
    detail_after: float | None = None
    angle_x: float | None = None
    angle_y: float | None = None
    angle_z: float | None = None
    shift_x: float | None = None
    shift_y: float | None = None
    shift_z: float | None = None
    centre_x: float | None = None
    centre_y: float | None = None
    centre_z: float | None = None
    deformation_mm: float | None = None
    difference_hu: float | None = None
    extent_mm: float | None = None

    @classmethod
    def refused(cls, patient: str, error: MesrError, alignment: Alignment | None = None) -> Quality:
        """Of a patient who cannot be paired, with what registration found where it came so far."""
        row = cls(patient, "refused", code=error.code, sentence=error.sentence)
        return row if alignment is None else row.aligned(alignment)

    def aligned(self, found: Alignment) -> Quality:
        """With what registration found."""
        values: dict[str, float | None] = {
            "metric_before": found.before.information,
            "metric_after": found.after.information,
            "dice_before": found.before.dice,
            "dice_after": found.after.dice,
            "detail_before": found.before.detail,
            "detail_after": found.after.detail,
            "deformation_mm": found.deformation_mm,
        }
        for name, vector in zip(("angle", "shift", "centre"), found.rigid, strict=True):
            values |= {f"{name}_{axis}": v for axis, v in zip("xyz", vector, strict=True)}
        # JSON has no NaN: what could not be measured is absent.
        known = {key: None if v is None or v != v else round(v, 4) for key, v in values.items()}
        return dataclasses.replace(self, **known)  # type: ignore[arg-type]

    def with_split(self, split: str) -> Quality:
        """With the split that was drawn."""
        return dataclasses.replace(self, split=split)

    def __str__(self) -> str:
        if self.status == "refused":
            return f"{self.patient}: refused ({self.code}): {self.sentence}"
        told = f"{self.patient}: {self.slices} pairs"
        if self.left_out:
            told += f", {self.left_out} CT slices left out"
        if self.dice_after is not None and self.detail_after is not None:
            shift, turn = (
                ", ".join("?" if v is None else f"{v:.1f}" for v in vector)
                for vector in (
                    (self.shift_x, self.shift_y, self.shift_z),
                    (self.angle_x, self.angle_y, self.angle_z),
                )
            )
            told += f"; moved by ({shift}) mm, turned by ({turn})°"
            if self.deformation_mm:
                told += f", deformed by up to {self.deformation_mm:.1f} mm"
            told += f"; bodies overlap by {self.dice_after:.2f}, details agree by {self.detail_after:.2f}"
        told += f"; CBCT and CT differ by {self.difference_hu:.0f} HU on average"
        if self.status == "paired" and self.extent_mm is not None and self.extent_mm <= SHORT_MM:
            told += (
                f"; note: {self.extent_mm:.0f} mm are too short to tell another patient by,"
                " be sure whose scans they are"
            )
        return told


def write(rows: list[Quality], folder: Path) -> None:
    """`quality.json` and `quality.csv` in a folder."""
    entries = [dataclasses.asdict(row) for row in rows]
    text = json.dumps({"format": FORMAT, "patients": entries}, indent=1, allow_nan=False)
    (folder / JSON).write_text(text, encoding="utf-8")
    with (folder / CSV).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [one.name for one in dataclasses.fields(Quality)], lineterminator="\n")
        table.writeheader()
        table.writerows(entries)
