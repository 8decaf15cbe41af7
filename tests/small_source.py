"""A source of small synthetic scans, and a budget of a few steps, for tests of the reproduction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scans import dicom_series

from mesr.prepare import ScanSpec, SetSpec
from mesr.reproduce.budgets import BUDGETS, Budget
from mesr.reproduce.sources import Source
from mesr.testset import EvaluationSpec, MeasuredScan

BRIEF: Budget = replace(
    BUDGETS["smoke"], steps=4, tuning=4, patch=8, tuning_patch=8, batch=1, scales=("2", "2.5"), slices=1
)
EVERY = [0, 1 << 30]


def small_source(folder: Path) -> Source:
    """Three series: one to train on, one to validate on, one to test on."""
    for n, name in enumerate(("train", "val", "test")):
        series = f"1.2.826.0.1.3680043.8.498.7.{n}"
        dicom_series(folder / name, size=(2, 80, 88), series=series, study=f"{series}.1", seed=n)
    scans = [
        ScanSpec(name, name, f"patient-{name}", "CT", sites={"pelvis": EVERY}) for name in ("train", "val")
    ]
    measured = [
        EvaluationSpec(
            [MeasuredScan(name, "CT", patient=f"patient-{name}", sites={"pelvis": EVERY})], str(folder)
        )
        for name in ("val", "test")
    ]
    return Source(
        "scans", SetSpec(scans), folder, measured[0], measured[1],
        pelvis=("pelvis",), one_site="pelvis", sites=("pelvis",), series=("train",), elsewhere=("pelvis",),
    )  # fmt: skip
