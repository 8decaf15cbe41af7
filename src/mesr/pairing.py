"""Patients with a cone-beam CT and a CT to a paired training set: LR is made from the one, HR is the other.

The paper's data (§4.1): the CT on 384 columns, the CBCT laid over it and on the same pixels, slice for slice,
background removed, split by patient. `data` then shrinks crops of the CBCT by the scale of the batch, so that
one set serves every scale. The truth is resampled once, in its own plane; only the CBCT is moved.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import itk, quality
from .data import FORMAT, MANIFEST, digest
from .errors import InputError, InternalError, MesrError, UsageError
from .files import atomic_folder, safe_name
from .intensity import AIR_HU, HU_WINDOW
from .paired import LEAST_SIDE, PairedScan, PairedSlice, PairingConfig
from .patients import PatientSpec, drawn
from .prepare import (
    ScanSpec,
    SetSpec,
    assert_slices,
    assert_split,
    body_extent,
    check_place,
)
from .quality import Quality
from .regions import site_of
from .volume import FloatImage

HIGHEST = 32_767.0
"""What int16 holds."""


@dataclass
class _Written:
    """A patient's part of the set."""

    spec: PatientSpec
    slices: list[dict[str, Any]] = field(default_factory=list)
    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    differences: list[float] = field(default_factory=list)
    digest: str = ""


def prepare_pairs(
    patients: Sequence[PatientSpec],
    out: Path,
    config: PairingConfig,
    *,
    force: bool = False,
    on_patient: Callable[[Quality], None] | None = None,
) -> list[Quality]:
    """Write the paired set: `.npy` slices, the manifest, `quality.json` and `quality.csv`.

    A patient who cannot be paired is refused with a row that says why; the others go on. The split is drawn
    among those who are paired, and asserted by name and by pixels.

    Args:
        patients: see `patients.cohort`.
        out: folder of the set.
        config: how pairs are made.
        force: replace a set that is there.
        on_patient: called with each row; its split is drawn after the last.

    Returns:
        A row for each patient, in their order.

    Raises:
        InputError: code `no-pairs`, all were refused; or `split`, a patient or a slice is in both splits.
        MissingExtra: SimpleITK is not installed.
        OutputError: the set cannot be written there, or would replace something else.
    """
    itk.simpleitk()
    scans = [Path(path) for one in patients for path in (one.ct, one.cbct, one.mask) if path]
    check_place(out, scans, force=force)
    rows: dict[int, Quality] = {}
    made: dict[int, _Written] = {}
    with atomic_folder(out, force=force) as folder:
        for n, spec in enumerate(patients):
            scan, place = PairedScan(spec, config), folder / f"{n:04d}-{safe_name(spec.patient)}"
            problem: MesrError | None = None
            try:
                made[n] = _written(scan, place)
                rows[n] = _row(made[n], scan)
            except (InputError, UsageError) as error:
                problem = error
            except (MesrError, OSError, MemoryError):
                raise
            except Exception as bug:  # The other patients' pairs took hours. Its text may hold patient data.
                problem = InternalError(bug)
            if problem is not None:
                made.pop(n, None)
                rows[n] = Quality.refused(spec.patient, problem, scan.alignment)
                shutil.rmtree(place, ignore_errors=True)
            if on_patient is not None:
                on_patient(rows[n])
        if not made:
            raise InputError("no-pairs", f"None of the {len(rows)} patients could be paired.")
        split = drawn([one.spec for one in made.values()], config.ratio, config.seed)
        assert_split(SetSpec([ScanSpec(one.ct, one.split, one.patient, "CT") for one in split]))
        series = []
        for n, spec in zip(made, split, strict=True):
            series.append(_series(made[n], spec))
            rows[n] = rows[n].with_split(spec.split)
        assert_slices(series)
        text = json.dumps({"format": FORMAT, "series": series}, indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        quality.write(list(rows.values()), folder)
    return list(rows.values())


def stored(values: npt.NDArray[np.float32], body: npt.NDArray[np.bool_], clip: bool) -> npt.NDArray[np.int16]:
    """A slice as the set keeps it: whole HU, air where no body is, clipped to the window if asked for."""
    low, high = (HU_WINDOW.low, HU_WINDOW.high) if clip else (AIR_HU, HIGHEST)
    return np.asarray(np.rint(np.clip(np.where(body, values, low), low, high)), dtype=np.int16)


def _written(scan: PairedScan, folder: Path) -> _Written:
    """A patient's slices on disk, in a folder of their own.

    Raises:
        InputError: code `no-slices`, and those of `PairedScan`.
    """
    entry = _Written(scan.spec)
    folder.mkdir()
    for one in scan:
        rows, columns = body_extent(one.body)
        shape = [rows.stop - rows.start, columns.stop - columns.start]
        if min(shape) < LEAST_SIDE:
            scan.left_out += 1
            continue
        files = [f"{folder.name}/{len(entry.slices):05d}-{kind}.npy" for kind in ("ct", "cbct")]
        kept = [stored(values, one.body, scan.config.clip)[rows, columns] for values in (one.ct, one.cbct)]
        for file, values in zip(files, kept, strict=True):
            np.save(folder.parent / file, values, allow_pickle=False)
        entry.slices.append(
            {
                "file": files[0],
                "paired": files[1],
                "site": site_of(scan.spec.sites, one.number),
                "shape": shape,
                "sha256": _fingerprint(one.ct),
                "paired_sha256": hashlib.sha256(kept[1].tobytes()).hexdigest(),
            }
        )
        entry.spacing = one.spacing
        entry.differences.append(_difference(one))
    entry.digest = digest(scan.pixels)
    if not entry.slices:
        raise InputError("no-slices", "The scan has no slice that can be used.", path=scan.spec.ct)
    return entry


def _fingerprint(ct: FloatImage) -> str:
    """Of a whole CT slice: another fraction's CBCT, which shows more or less of it, does not change it."""
    whole = np.rint(np.clip(ct, -HIGHEST, HIGHEST)).astype(np.int16)
    return hashlib.sha256(whole.tobytes()).hexdigest()


def _difference(one: PairedSlice) -> float:
    """Mean |CBCT − CT| inside the body, HU: not on the air around it, where the two agree."""
    return float(np.abs(one.cbct - one.ct)[one.body & one.inside].mean())


def _series(entry: _Written, spec: PatientSpec) -> dict[str, Any]:
    """The manifest's entry, as `prepare` writes it; and what the low resolution is made from."""
    return {
        "id": safe_name(spec.patient),
        "patient": spec.patient,
        "split": spec.split,
        "modality": "CT",
        "licence": spec.licence,
        "source": spec.source,
        "spacing": list(entry.spacing),
        "window": [HU_WINDOW.low, HU_WINDOW.high],
        "paired": "simulated-cbct" if spec.simulated else "cbct",
        "digest": entry.digest,
        "slices": entry.slices,
    }


def _row(entry: _Written, scan: PairedScan) -> Quality:
    row = Quality(
        entry.spec.patient,
        "simulated" if entry.spec.simulated else "paired",
        slices=len(entry.slices),
        extent_mm=round(len(entry.slices) * entry.spacing[0], 1),
        left_out=scan.left_out,
        difference_hu=round(float(np.mean(entry.differences)), 1),
    )
    return row if scan.alignment is None else row.aligned(scan.alignment)
