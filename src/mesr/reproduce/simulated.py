"""A training set of simulated cone-beam CT beside CT, made from a set that is prepared: LR from the one, HR the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import FORMAT, MANIFEST, read_manifest, scan_digest, spread
from ..degrade import recipe, seed_of
from ..errors import InputError
from ..files import atomic_folder
from ..volume import FloatImage


def simulate_set(
    prepared: Path,
    out: Path,
    degradation: str,
    *,
    sites: Sequence[str] = (),
    series: Sequence[str] = (),
    count: int = 0,
    on_slice: Callable[[int, int], None] | None = None,
) -> None:
    """Write a paired set (`data.TrainingSlice.paired`) of the CT slices of a prepared one, replacing one that is there.

    Args:
        prepared: by `mesr prepare`.
        degradation: a recipe that scans whole slices, such as `cbct`.
        sites, series: which of the training slices; every one where empty. Slices to validate on are all taken.
        count: at most so many slices a series, evenly spread; 0 for all.
        on_slice: called with slices done and slices in all.

    Raises:
        InputError: no set, or none of its slices is asked for.
        OutputError: the set cannot be written there.
    """
    scanner = recipe(degradation)
    work: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for one in read_manifest(prepared)["series"]:
        if one["modality"] != "CT":
            continue
        slices = one["slices"]
        if one["split"] == "train":
            asked = not series or one["id"] in series
            slices = [s for s in slices if asked and (not sites or s["site"] in sites)]
        work += [(one, slices[n]) for n in spread(len(slices), count)]
    if not any(one["split"] == "train" for one, _ in work):
        raise InputError("empty-training-set", "The training set holds no slice to simulate a scan of.")
    held: dict[str, dict[str, Any]] = {}
    with atomic_folder(out, force=True) as folder:
        for done, (one, entry) in enumerate(work):
            values = np.load(prepared / entry["file"], allow_pickle=False)
            reference = np.asarray(values, dtype=np.float32)
            spacing = (one["spacing"][1], one["spacing"][2])
            scan = scanner.scan(reference, spacing, seed_of(reference, 0))
            kept = _stored(scan)
            seen = dict(entry) | {
                "paired": _beside(entry["file"]),
                "paired_sha256": hashlib.sha256(kept.tobytes()).hexdigest(),
            }
            for file, image in ((entry["file"], values), (seen["paired"], kept)):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                np.save(folder / file, image, allow_pickle=False)
            own = held.setdefault(
                one["id"], dict(one) | {"slices": [], "paired": degradation, "digest": scan_digest(one)}
            )
            own["slices"].append(seen)
            if on_slice is not None:
                on_slice(done + 1, len(work))
        text = json.dumps(
            {
                "format": FORMAT,
                "series": list(held.values()),
                "asked": _asked(degradation, sites, series, count),
            },
            indent=1,
            sort_keys=True,
        )
        (folder / MANIFEST).write_text(text, encoding="utf-8")


def is_simulated(
    folder: Path, degradation: str, *, sites: Sequence[str] = (), series: Sequence[str] = (), count: int = 0
) -> bool:
    """Whether a folder holds what `simulate_set` makes of these."""
    there = (folder / MANIFEST).is_file()
    return there and read_manifest(folder).get("asked") == _asked(degradation, sites, series, count)


def _asked(degradation: str, sites: Sequence[str], series: Sequence[str], count: int) -> list[Any]:
    return [degradation, [*sites], [*series], count]


def _beside(file: str) -> str:
    return f"{file.removesuffix('.npy')}-scan.npy"


def _stored(hu: FloatImage) -> npt.NDArray[np.int16]:
    whole: npt.NDArray[np.int16] = np.rint(np.clip(hu, -32_768, 32_767)).astype(np.int16)
    return whole
